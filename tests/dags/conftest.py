"""What the DAG tests share: the parsed DAGs, and a place for run folders. No database, no network."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts import pipelines
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
def spec_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped specs, which the DAG files read instead of them."""
    copied = tmp_path / "pipelines"
    shutil.copytree(pipelines.PIPELINES, copied)
    for name in ("load_all", "load_readable", "names"):
        monkeypatch.setattr(pipelines, name, partial(getattr(pipelines, name), folder=copied))
    return copied


@pytest.fixture
def bag_with(spec_files: Path) -> "Callable[..., DagBag]":
    """``bag_with(higgs=text)``: the DAGs of the shipped specs, with text at the end of some of them."""

    def made(**more: str) -> "DagBag":
        from airflow.dag_processing.dagbag import DagBag

        for name, text in more.items():
            path = spec_files / f"{name}.yaml"
            path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
        bag = DagBag(home.REPOSITORY / "dags")
        assert bag.import_errors == {}
        return bag

    return made


@pytest.fixture
def runs() -> Iterator[Path]:
    """Root of the run folders, empty before and after."""
    from contracts.settings import load_settings

    folder = load_settings().runs
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
