"""Looking at the streaming driver from outside: what it says of itself, against limits. Restarts nothing."""

import json
import logging
import urllib.request
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from contracts.files import read_json, write_atomically
from contracts.settings import load_settings
from dags.operators.alerts import send

log = logging.getLogger(__name__)

#: An unchanged trouble is announced again after this time, so that a lost message is not the end of it.
REMINDER = timedelta(hours=6)

#: Trouble by kind: ``stopped``, ``unreadable``, ``freshness``, ``lag``, ``quarantine``. The text holds the figures.
Troubles = dict[str, str]


def limit_params() -> dict[str, Param]:
    """The limits, for the trigger form; the schedule uses the defaults."""
    waiting, unwritten = (
        "Seconds since the last commit while records wait.",
        "Records in Kafka that no batch has written.",
    )
    return {
        "max_freshness_s": Param(120, type="number", minimum=1, title="Oldest commit (s)", description=waiting),
        "max_lag_records": Param(1_000_000, type="integer", minimum=0, title="Longest lag", description=unwritten),
        "max_quarantine_ratio": Param(
            0.05,
            type="number",
            minimum=0,
            maximum=1,
            title="Quarantined share",
            description="Of the last micro-batches.",
        ),
    }


def check_stream() -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The task ``check_stream``: red while there is trouble; people are told when it changes, not every time."""

    # A retry would find the same stream half a minute later: the next run is soon enough.
    @task(task_id="check_stream", retries=0, execution_timeout=timedelta(minutes=1), on_failure_callback=None)
    def check() -> dict[str, Any]:
        context = get_current_context()
        settings = load_settings()
        status = ask(settings.stream_status)
        found = troubles(status, context["params"])
        if context["dag_run"].run_type == "scheduled":
            # A look by hand, perhaps with other limits, is nobody else's alarm.
            tell(found, context["dag_run"].run_after, settings.runs / "stream_watchdog" / "told.json")
        if found:
            raise AirflowFailException("; ".join(found.values()))
        facts = {key: status[key] for key in ("state", "freshness_s", "lag_records", "quarantine_ratio", "last_batch")}
        log.info("stream is well: %s", " ".join(f"{key}={value}" for key, value in facts.items()))
        return facts

    return check()


def ask(url: str) -> dict[str, Any]:
    """The driver's status at ``url``; one that does not answer is reported as state ``unreachable`` with the error."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            status = json.load(answer)
    except (OSError, ValueError) as error:
        return {"state": "unreachable", "error": str(error)}
    return status if isinstance(status, dict) else {"state": "unreachable", "error": f"it answered {status!r}"}


def troubles(status: Mapping[str, Any], limits: Mapping[str, Any]) -> Troubles:
    """What is wrong, by kind; empty when all is well. A driver that has not committed anything yet is not late."""
    if status["state"] != "running":
        error = f" ({status['error']})" if status.get("error") else ""
        return {
            "stopped": f"the streaming driver does not run: {status['state']}{error}. See: bin/millrace logs stream"
        }
    missing = {"freshness_s", "lag_records", "quarantine_ratio"} - set(status)
    if missing:
        return {"unreadable": f"the streaming driver does not say {', '.join(sorted(missing))}: another version of it"}
    found = {}
    age, lag, share = status["freshness_s"], status["lag_records"], status["quarantine_ratio"]
    oldest, longest, largest = limits["max_freshness_s"], limits["max_lag_records"], limits["max_quarantine_ratio"]
    if age is not None and age > oldest:
        found["freshness"] = f"the last commit is {age:.0f} s old while {lag} records wait; allowed are {oldest} s"
    if lag > longest:
        found["lag"] = f"{lag} records wait in Kafka; allowed are {longest}"
    if share > largest:
        found["quarantine"] = f"{share:.1%} of the last lines are in quarantine; allowed are {largest:.1%}"
    return found


def tell(found: Troubles, now: datetime, memory: Path) -> bool:
    """Send one alert when the kinds of trouble differ from those last told, or a reminder is due; returns whether so.

    ``memory`` is a file ``{"kinds", "told_at"}``: it survives restarts of Airflow and of the stream.
    """
    last = read_json(memory, "what the watchdog told last") if memory.exists() else {"kinds": [], "told_at": None}
    kinds = sorted(found)
    reminder = bool(kinds) and last["told_at"] is not None and now - datetime.fromisoformat(last["told_at"]) >= REMINDER
    if kinds == last["kinds"] and not reminder:
        return False
    if kinds:
        send("The live stream needs attention", "; ".join(found.values()), {"dag_id": "stream_watchdog", **found})
    else:
        send("The live stream is well again", f"It was: {', '.join(last['kinds'])}.", {"dag_id": "stream_watchdog"})
    write_atomically(memory, json.dumps({"kinds": kinds, "told_at": now.isoformat()}))
    return True
