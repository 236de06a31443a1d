"""Runs of DAGs through Airflow's REST API: trigger, wait with progress, list, show why one failed."""

import json
import time
from collections.abc import Callable
from typing import Any

from contracts.errors import DependencyUnavailableError, ExitCode, PlatformError
from infra.local import credentials
from infra.local.airflow_api import AirflowApi
from infra.local.places import Places

Say = Callable[[str], None]

#: Lines of a failed task's log that are shown.
_LOG_LINES = 25


class RunFailedError(PlatformError):
    """A DAG run ended as failed; the log of the task that failed was shown."""

    exit_code = ExitCode.REFUSED


def connect(places: Places) -> AirflowApi:
    """Log in to this stack's Airflow; DependencyUnavailableError when it does not run."""
    return AirflowApi.login(places.settings.ports.airflow, credentials.load(places.state).airflow_password)


def trigger(api: AirflowApi, dag: str, conf: dict[str, Any], say: Say) -> str:
    """Start a run of ``dag`` by hand and return its id; a paused DAG is unpaused, or its run would wait for ever."""
    if api.call("GET", f"/dags/{dag}")["is_paused"]:
        api.unpause(dag)
        say(f"  {dag} was paused: unpaused")
    run_id = api.trigger(dag, conf)
    say(f"  {dag}: run {run_id}   {api.run_url(dag, run_id)}")
    return run_id


def wait(api: AirflowApi, dag: str, run_id: str, timeout_s: float, say: Say) -> None:
    """Wait until the run is over, saying what moves; RunFailedError after showing the last log lines of what failed."""
    started = time.monotonic()
    before: dict[str, str] = {}

    def on_change(tasks: dict[str, str]) -> None:
        moved = [f"{task} {state}" for task, state in tasks.items() if before.get(task) != state and state != "waiting"]
        if moved:
            say(f"  {time.monotonic() - started:6.1f} s  {dag}: {', '.join(moved)}")
        before.clear()
        before.update(tasks)

    if api.wait(dag, run_id, timeout_s, on_change) == "success":
        return
    failed = [task for task in api.tasks(dag, run_id) if task["state"] == "failed"]
    for task in failed:
        say(f"\nLast lines of {task['task_id']}, try {task['try_number']}:")
        for line in api.log(dag, run_id, task["task_id"], task["try_number"], task["map_index"])[-_LOG_LINES:]:
            say(f"  | {line}")
    raise RunFailedError(
        f"Running {dag} {run_id}",
        found=f"failed: {', '.join(task['task_id'] for task in failed) or 'the run itself'}",
        required="success",
        next_step=f"Read the lines above, or {api.run_url(dag, run_id)}",
        changed="What succeeded stays.",
    )


def table(api: AirflowApi, dag: str, limit: int) -> list[dict[str, Any]]:
    """The newest runs with the state of their tasks."""
    return [
        {
            "run_id": run["dag_run_id"], "state": run["state"], "type": run["run_type"], "queued_at": run["queued_at"],
            "started_at": run["start_date"], "ended_at": run["end_date"], "conf": run["conf"],
            "tasks": {task["task_id"]: task["state"] for task in api.tasks(dag, run["dag_run_id"])},
        }
        for run in api.runs(dag, limit)
    ]  # fmt: skip


def show(rows: list[dict[str, Any]], *, as_json: bool, say: Say) -> None:
    if as_json:
        say(json.dumps(rows, indent=2))
        return
    if not rows:
        say("no runs")
    for row in rows:
        tasks = " ".join(f"{task}={state or 'waiting'}" for task, state in row["tasks"].items())
        say(f"{row['run_id']}  {row['state']}  {row['type']}  {(row['started_at'] or '')[:19]}\n    {tasks}")


def wait_for_dags(api: AirflowApi, dags: tuple[str, ...], timeout_s: float) -> None:
    """Return when Airflow knows ``dags``; otherwise DependencyUnavailableError with what keeps it from reading them."""
    deadline = time.monotonic() + timeout_s
    while missing := sorted(set(dags) - set(api.dag_ids())):
        errors = api.import_errors()
        if errors or time.monotonic() > deadline:
            found = "; ".join(
                f"{error['filename']}: {str(error['stack_trace']).strip().splitlines()[-1]}" for error in errors
            )
            raise DependencyUnavailableError(
                f"Looking for the DAGs {', '.join(missing)}",
                found=found or f"not there after {timeout_s:.0f} s",
                required="the DAG processor to have read them",
                next_step="Run: bin/millrace logs airflow-dag-processor",
            )
        time.sleep(1)
