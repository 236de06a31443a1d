"""The first task of a DAG that works on a whole table: which version of it, written down for the other tasks."""

import logging
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from contracts.datasets import dataset as dataset_named
from contracts.settings import load_settings
from contracts.windows import TableVersion
from dags.operators.runs import run_folder

log = logging.getLogger(__name__)


def resolve_version(dataset: str) -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The task ``resolve_version``: fixes the table's newest version in ``version.json`` of the run folder.

    A retry or a cleared task keeps the version that the run began with. Nothing landed yet: skipped.
    """

    @task(task_id="resolve_version")
    def resolve() -> dict[str, Any]:
        run = get_current_context()["dag_run"]
        path = run_folder(run.dag_id, run.run_id) / "version.json"
        if not path.exists():
            newest = newest_version(dataset_named(dataset).path(load_settings().lake))
            if newest is None:
                raise AirflowSkipException(f"no {dataset} yet: nothing has been ingested (bin/millrace ingest)")
            TableVersion(dataset=dataset, table_version=newest).write(path)
        version = TableVersion.read(path)
        log.info("dataset=%s table_version=%d", dataset, version.table_version)
        return {**version.model_dump(), "path": str(path)}

    return resolve()


def newest_version(table: Path) -> int | None:
    """The highest commit in the log of a Delta table; None where there is no table, or one without rows."""
    commits = [int(path.stem) for path in (table / "_delta_log").glob("*.json") if path.stem.isdigit()]
    newest = max(commits, default=0)
    return newest or None  # version 0 is the table just made
