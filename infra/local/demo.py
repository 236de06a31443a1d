"""The main job on the shipped sample, end to end: replay, drain, both DAGs, a summary. It can be run again."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from contracts.errors import DependencyUnavailableError
from contracts.results import RunContext, RunResult
from contracts.settings import REPOSITORY
from infra.local import credentials, health, runs, stack
from infra.local.airflow_api import AirflowApi
from infra.local.places import Places, spark_environment

Say = Callable[[str], None]

SAMPLE = REPOSITORY / "samples" / "nasa_http" / "access_09jul1995_am.log"
DAILY, RETRAIN = "access_log_daily", "retrain_access_log_volume"
_RUN_TIMEOUT_S = 900


def run(places: Places, say: Say) -> None:
    """Every step with its seconds; the first one that fails ends the demo with its error, and the stack stays up."""
    began = time.monotonic()
    with _step("1/5 start the stack", say):
        stack.up(places, [], 300, say)
    api = runs.connect(places)
    with _step(f"2/5 replay {SAMPLE.relative_to(REPOSITORY)} into Kafka", say):
        sent = _json_of(places, "streaming.replay", ["--json", str(SAMPLE)])
        say(f"  {sent['lines']:,} lines sent{'' if sent['lines'] else ': an earlier run sent them all'}")
    with _step("3/5 wait until bronze, silver and gold hold it", say):
        runs.wait_for_dags(api, (DAILY, RETRAIN), 90)
        # The scheduler first looks at yesterday, which nobody needs here; that is over before the stream is.
        api.unpause(DAILY)
        tables = _json_of(places, "streaming.drain", ["--json"])
    stream = health.fetch_json(f"http://127.0.0.1:{places.settings.ports.stream_metrics}/status")
    # Arrival days are days in UTC, and the sample arrives now.
    day = datetime.now(UTC).date().isoformat()
    window = {"first_day": day, "last_day": day}
    with _step("4/5 validate and reconcile the day", say):
        daily = _run_dag(places, api, DAILY, window, say)
    with _step("5/5 retrain on it", say):
        retrain = _run_dag(places, api, RETRAIN, window | {"force": True}, say)
    say("\n".join(["", "Summary", *_rows(sent, tables, stream), *_verdicts(daily), *_model(retrain), *_login(places)]))
    say(f"\ndemo: done in {time.monotonic() - began:.0f} s. The stack keeps running; stop it with bin/millrace down")


@contextmanager
def _step(name: str, say: Say) -> Iterator[None]:
    started = time.monotonic()
    say(f"\n{name}")
    yield
    say(f"{name.split(maxsplit=1)[0]} took {time.monotonic() - started:.1f} s")


def _json_of(places: Places, module: str, arguments: list[str]) -> dict[str, Any]:
    """Run a module of the environment ``spark``; its last line of standard output is one JSON object."""
    command = [str(places.python("spark")), "-m", module, *arguments]
    run = subprocess.run(command, env=spark_environment(places), stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        raise DependencyUnavailableError(
            f"Running {module}",
            found=f"exit status {run.returncode}",
            required="0",
            next_step="Its message is above; then bin/millrace doctor.",
            changed="Lines that were sent stay sent.",
        )
    answer: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return answer


def _run_dag(places: Places, api: AirflowApi, dag: str, conf: dict[str, Any], say: Say) -> dict[str, RunResult]:
    """Run ``dag`` to its end; returns the newest result of each of its applications."""
    run_id = runs.trigger(api, dag, conf, say)
    runs.wait(api, dag, run_id, _RUN_TIMEOUT_S, say)
    folder = RunContext(dag_id=dag, run_id=run_id, task_id="any").run_folder(places.settings.runs)
    results = (RunResult.read(path) for path in folder.glob("*/*/*/result.json"))
    return {result.context.task_id: result for result in sorted(results, key=lambda result: result.finished_at)}


def _rows(sent: dict[str, Any], tables: dict[str, Any], stream: dict[str, Any]) -> list[str]:
    rows = tables["tables"]
    return [
        f"  lines sent      {sent['lines']:>10,}",
        *(f"  {layer:<15} {rows[layer]:>10,} rows" for layer in ("bronze", "silver", "quarantine")),
        f"  duplicates      {tables['duplicates']:>10,} rows of bronze (bronze = silver + quarantine + duplicates)",
        f"  waiting         {stream['lag_records']:>10,} records, freshness {stream['freshness_s'] or 0:.1f} s",
    ]


def _login(places: Places) -> list[str]:
    ports = places.settings.ports
    password = credentials.load(places.state).airflow_password
    return [
        "",
        f"  live page   http://127.0.0.1:{ports.page}",
        f"  Airflow     http://127.0.0.1:{ports.airflow}   user {credentials.AIRFLOW_USER}, password {password}",
        f"  Spark       http://127.0.0.1:{ports.spark_master_ui}",
        f"  MLflow      http://127.0.0.1:{ports.mlflow}",
    ]


def _verdicts(daily: dict[str, RunResult]) -> list[str]:
    return [
        f"  {task:<15} {daily[task].status:>10} {daily[task].message or _judged(daily[task])}"
        for task in ("validate", "reconcile")
        if task in daily
    ]


def _judged(verdict: RunResult) -> str:
    rows = ", ".join(f"{rows:,} rows of {dataset}" for dataset, rows in verdict.rows.items())
    rules = sum(len(found) for found in verdict.facts.get("unexpected", {}).values())
    return f"passed: {rules} rules on {rows}"


def _model(retrain: dict[str, RunResult]) -> list[str]:
    """The candidate's error on the holdout beside the baselines, as the run results have them."""
    if "evaluate" not in retrain:
        return ["  model           no evaluation in this run"]
    found = retrain["evaluate"]
    lines = [f"  model version   {found.facts.get('candidate_version') or '-':>10} {found.message}"]
    for errors in found.facts.get("errors", []):
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in errors.items() if isinstance(value, float))
        lines.append(f"    {errors['predictor']:<26} {numbers}")
    if "promote" in retrain:
        lines.append(f"  promotion       {retrain['promote'].status:>10} {retrain['promote'].message}")
    return lines
