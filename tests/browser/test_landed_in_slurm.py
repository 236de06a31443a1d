"""A landed dataset is trained twice from Airflow's form: on the platform's own cluster and in the Slurm partition."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from contracts.settings import REPOSITORY
from infra.slurm import packages
from tests.browser import airflow
from tests.local_stack import Stack, free_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

# Every search of four algorithms twice, on two cores.
pytestmark = [pytest.mark.stack, pytest.mark.hpc, pytest.mark.timeout(7200)]

DAG = "retrain_higgs"
#: What a landed dataset takes: no broker, no stream.
SERVICES = (
    "mlflow", "spark-worker-1", "spark-worker-2", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer",
)  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if lacking := packages.missing("filetxt"):
        pytest.skip(f"needs Debian packages: {packages.install_line(lacking)}")
    found = Stack(tmp_path_factory.mktemp("landed") / "state", free_base())
    run = found("up", "--hpc", *SERVICES)
    assert run.returncode == 0, run.stdout + run.stderr
    yield found
    found("down")


def test_collisions_measure_the_same_wherever_they_are_trained(
    stack: Stack, browser: Browser, screenshots: Path
) -> None:
    for part in ("higgs_rows_0_9999*", "higgs_random_10984*"):
        (path,) = (REPOSITORY / "samples" / "higgs").glob(part)
        run = stack("ingest", "higgs", str(path))
        assert run.returncode == 0, run.stdout + run.stderr
    # Whichever run is first trains: this one, or one that the schedule owes since the DAG was switched on.
    run = stack("trigger", DAG, "--wait", "--timeout", "3600")
    assert run.returncode == 0, run.stdout + run.stderr
    runs = json.loads(stack("runs", DAG, "--json").stdout)
    here = next(each for each in runs if each["tasks"].get("train") == "success")
    there = airflow.trained_from_the_form(stack, browser, DAG, "hpc", screenshots / "higgs_hpc.png")
    assert (here["tasks"]["fit_on_hpc"], there["tasks"]["fit_on_hpc"]) == ("skipped", "success")
    airflow.assert_fitted_alike(stack, DAG, here, there)
