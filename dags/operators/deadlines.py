"""When a run is announced as late."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
from airflow.sdk.definitions.deadline import BaseDeadlineReference, deadline_reference

from dags.operators import alerts

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@deadline_reference(DeadlineReference.TYPES.DAGRUN_QUEUED)
class DagRunFirstQueuedDeadline(BaseDeadlineReference):
    """A deadline counted from when a run was first queued; clearing its tasks does not move it.

    ``DeadlineReference.DAGRUN_QUEUED_AT`` would be moved, but Airflow 3.3.2 fails at that: clearing a task of a run
    whose deadline is still to come answers 500 (``timedelta(seconds=...)`` of an interval that is stored as a dict).
    The plugin of ``dags/plugins`` makes the class known to the scheduler.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        queued: datetime | None = session.scalar(
            select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        )
        return queued


def late_after(interval: timedelta) -> DeadlineAlert:
    """Tells people that a run is not over so long after it was queued."""
    said = {"deadline_min": round(interval.total_seconds() / 60)}
    return DeadlineAlert(
        reference=DagRunFirstQueuedDeadline(), interval=interval, callback=AsyncCallback(alerts.late, said)
    )
