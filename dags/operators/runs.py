"""The run folder of a DAG run, for templates and tasks: where the steps of one run leave files for each other."""

from pathlib import Path
from typing import Any

from contracts.results import RunContext
from contracts.settings import load_settings


def run_folder(dag_id: str, run_id: str) -> Path:
    """``runs/<dag>/<run>``. DAGs of the platform have it as a template macro."""
    return RunContext(dag_id=dag_id, run_id=run_id, task_id="any").run_folder(load_settings().runs)


def run_file(name: str) -> str:
    """A template for the file ``name`` in the folder of whichever run renders it."""
    return f"{{{{ run_folder(dag.dag_id, run_id) }}}}/{name}"


def run_context(context: Any) -> RunContext:  # noqa: ANN401 - Airflow's context is a dictionary of anything
    """Which try of which task is running, from Airflow's context."""
    ti = context["ti"]
    return RunContext(
        dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index, try_number=ti.try_number
    )
