"""What the DAG tests share: the parsed DAGs, and a place for run folders. No database, no network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dags import home

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


@pytest.fixture(scope="session", autouse=True)
def _leave_nothing_behind() -> Iterator[None]:
    yield
    shutil.rmtree(home.SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def dag_bag() -> "DagBag":
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(home.REPOSITORY / "dags")


@pytest.fixture
def runs() -> Iterator[Path]:
    """Root of the run folders, empty before and after."""
    from contracts.settings import load_settings

    folder = load_settings().runs
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
