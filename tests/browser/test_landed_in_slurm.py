"""A landed dataset is trained twice from Airflow's form: on the platform's own cluster and in the Slurm partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.settings import REPOSITORY
from infra.slurm import packages
from tests.browser import airflow

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.local_stack import Stack

# Every search of four algorithms twice, beside the rest of the stack on two cores.
pytestmark = [pytest.mark.stack, pytest.mark.hpc, pytest.mark.timeout(7200)]

DAG = "retrain_higgs"


def test_collisions_measure_the_same_wherever_they_are_trained(
    stack: Stack, browser: Browser, screenshots: Path
) -> None:
    if lacking := packages.missing("filetxt"):
        pytest.skip(f"needs Debian packages: {packages.install_line(lacking)}")
    for part in ("higgs_rows_0_9999*", "higgs_random_10984*"):
        (path,) = (REPOSITORY / "samples" / "higgs").glob(part)
        run = stack("ingest", "higgs", str(path))
        assert run.returncode == 0, run.stdout + run.stderr
    here = airflow.trained_from_the_form(stack, browser, DAG, "cluster", screenshots / "higgs_cluster.png")
    there = airflow.trained_from_the_form(stack, browser, DAG, "hpc", screenshots / "higgs_hpc.png")
    assert (here["tasks"]["fit_on_hpc"], there["tasks"]["fit_on_hpc"]) == ("skipped", "success")
    airflow.assert_fitted_alike(stack, DAG, here, there)
