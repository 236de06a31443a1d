"""Asset events: one last task says that a window is good, and what exactly was judged."""

import logging
from typing import Any

from airflow.sdk import Asset, get_current_context, task

from contracts.windows import Window
from dags.operators.runs import run_folder

log = logging.getLogger(__name__)


def asset(dataset: str) -> Asset:
    """The asset of a dataset: its event means that a window of it passed validation."""
    return Asset(name=dataset, uri=f"millrace://lake/{dataset.replace('.', '/')}", group="millrace")


def drift_asset(pipeline: str) -> Asset:
    """Its event means that the pipeline's champion no longer fits the rows that come in, and that it should train."""
    return Asset(name=f"drift/{pipeline}", uri=f"millrace://drift/{pipeline}", group="millrace")


def candidate_asset(pipeline: str) -> Asset:
    """Its event means that a candidate passed the gate, and that a person must say whether it becomes champion."""
    return Asset(name=f"candidate/{pipeline}", uri=f"millrace://candidate/{pipeline}", group="millrace")


def emit(context: Any, outlet: Asset, extra: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - Airflow's context
    """Give the event that ``outlet`` gets from the running task its ``extra``, and log it."""
    context["outlet_events"][outlet].extra = extra
    log.info("asset=%s %s", outlet.name, " ".join(f"{key}={value}" for key, value in extra.items()))
    return extra


def announce(dataset: str, judged_by: str = "validate") -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The task ``announce``. An outlet fires on every success, so it is a task of its own, after all that may fail.

    The event's extra: ``first_day``, ``last_day``, and of the dataset ``content_hash``, ``table_version``, ``verdict``.
    """
    outlet = asset(dataset)

    @task(task_id="announce", outlets=[outlet])
    def announced() -> dict[str, Any]:
        context = get_current_context()
        run = context["dag_run"]
        window = Window.read(run_folder(run.dag_id, run.run_id) / "window.json")
        judged = context["ti"].xcom_pull(task_ids=judged_by)
        extra = {
            "first_day": window.first_day.isoformat(),
            "last_day": window.last_day.isoformat(),
            "content_hash": judged["hashes"][dataset],
            "table_version": judged["facts"]["table_versions"][dataset],
            "verdict": judged["facts"]["verdicts"][dataset],
        }
        return emit(context, outlet, extra)

    return announced()
