"""The first task of every DAG that works on days: it alone asks which days, and writes the answer for the others."""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from pydantic import ValidationError

from contracts.datasets import dataset as dataset_named
from contracts.settings import load_settings
from contracts.windows import Window
from dags.operators.runs import run_folder

log = logging.getLogger(__name__)

#: Run types whose data interval says which days they are for; a manual run's interval means nothing.
_BY_INTERVAL = ("scheduled", "backfill")


def window_params(no_days: str) -> dict[str, Param]:
    """Two dates for the trigger form. Both empty means ``no_days``, which the form says."""
    about = "Days are days of arrival in UTC. Give both or neither."
    day: dict[str, Any] = {"type": ["null", "string"], "format": "date"}
    return {
        "first_day": Param(None, title="First day", description=f"{about} Neither: {no_days}", **day),
        "last_day": Param(None, title="Last day", description=about, **day),
    }


def resolve_window(dataset: str, reach_days: int = 1) -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The task ``resolve_window``: fixes the run's window in ``window.json`` of the run folder.

    Unless the params name both days, the window holds at least the ``reach_days`` days up to its last day. A scheduled
    run or a backfill for days before anything of ``dataset`` had arrived is skipped: switching a DAG on starts a
    scheduled run for yesterday.
    """

    @task(task_id="resolve_window")
    def resolve() -> dict[str, str]:
        context = get_current_context()
        run = context["dag_run"]
        window = window_of(run, context["params"], reach_days)
        if window.decided_by == "data_interval":
            skip_before(first_arrival(dataset_named(dataset).path(load_settings().lake)), window, dataset)
        path = run_folder(run.dag_id, run.run_id) / "window.json"
        window.write(path)
        log.info("first_day=%s last_day=%s decided_by=%s", window.first_day, window.last_day, window.decided_by)
        return {**window.model_dump(mode="json"), "path": str(path)}

    return resolve()


def window_of(dag_run: Any, params: Mapping[str, Any], reach_days: int = 1) -> Window:  # noqa: ANN401 - the SDK's DagRun
    """Decide by params, then the data interval, then the events that triggered the run, then the day the run is for.

    Nothing here asks for the time, so a retry or a cleared task finds the same window again.
    """
    given = [params.get("first_day"), params.get("last_day")]
    if any(given):
        return _from_params(*given)
    if dag_run.run_type in _BY_INTERVAL and dag_run.data_interval_end is not None:
        # Only days that had ended by the end of the interval: at half past four, today is not a day yet.
        last = _day(dag_run.data_interval_end) - timedelta(days=1)
        first, decided_by = min(_day(dag_run.data_interval_start), last), "data_interval"
    elif dag_run.consumed_asset_events:
        first, last = _from_events(dag_run.consumed_asset_events)
        decided_by = "asset"
    else:
        first = last = _day(dag_run.run_after)
        decided_by = "today"
    return Window(first_day=min(first, last - timedelta(days=reach_days - 1)), last_day=last, decided_by=decided_by)


def first_arrival(table: Path) -> date | None:
    """The oldest day in the folder of a table partitioned by ``arrived_on``; None before anything has arrived."""
    days = [path.name.partition("=")[2] for path in table.glob("arrived_on=*")]
    return min((date.fromisoformat(day) for day in days if day[:1].isdigit()), default=None)


def skip_before(first: date | None, window: Window, dataset: str) -> None:
    """Skip when the whole window lies before the first arrival. An empty day after it is for ``validate`` to refuse."""
    if first is None or window.last_day < first:
        since = f"its first rows arrived on {first}" if first else "nothing has arrived yet"
        raise AirflowSkipException(f"no {dataset} for {window.first_day} to {window.last_day}: {since}")


def _day(instant: datetime) -> date:
    return instant.astimezone(UTC).date()


def _from_params(first: str | None, last: str | None) -> Window:
    try:
        return Window.model_validate({"first_day": first, "last_day": last, "decided_by": "params"})
    except ValidationError as error:
        raise AirflowFailException(
            f"Resolving the window: found first_day={first} last_day={last}; required two dates, the first not after "
            f"the last, or neither. Nothing was changed. Trigger the DAG again with both. ({error.errors()[0]['msg']})"
        ) from error


def _from_events(events: Iterable[Any]) -> tuple[date, date]:
    """The days of all events together, of data and of drift: Airflow folds several events into one run."""
    extras = [event.extra for event in events]
    try:
        days = [(date.fromisoformat(extra["first_day"]), date.fromisoformat(extra["last_day"])) for extra in extras]
    except (KeyError, TypeError, ValueError) as error:
        raise AirflowFailException(
            f"Resolving the window: found asset events {extras}; required first_day and last_day in each. Nothing was "
            "changed. Let access_log_daily announce the data, or drift_check_<pipeline> the drift; or trigger this DAG "
            "by hand with both days."
        ) from error
    return min(first for first, _ in days), max(last for _, last in days)
