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


def announce(dataset: str, judged_by: str = "validate") -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The task ``announce``. An outlet fires on every success, so it is a task of its own, after all that may fail.

    The event's extra: ``first_day``, ``last_day``, and of the dataset ``content_hash``, ``table_version``, ``verdict``.
    """
    outlet = asset(dataset)

    @task(task_id="announce", outlets=[outlet])
    def emit() -> dict[str, Any]:
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
        context["outlet_events"][outlet].extra = extra
        log.info("asset=%s %s", dataset, " ".join(f"{key}={value}" for key, value in extra.items()))
        return extra

    return emit()
