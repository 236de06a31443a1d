"""Candidates that a person must approve: announced by the training, asked about in a DAG of their own."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from contracts.errors import PlatformError
from contracts.files import read_json, write_atomically
from dags.operators.announcements import candidate_asset, emit
from dags.operators.approvals import PATIENCE, Question, markdown_table
from dags.operators.runs import run_folder

log = logging.getLogger(__name__)

#: What evaluate leaves in the folder of its run, and a promotion copies into that of its own.
DECISION = "decision.json"


def announce_candidate(pipeline: str) -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The task ``announce_candidate``: skipped where the champion stays.

    The event's extra: ``decision`` (path of the file), ``candidate_version``, ``champion_version``, ``reason``.
    """
    outlet = candidate_asset(pipeline)

    @task(task_id="announce_candidate", outlets=[outlet])
    def announced() -> dict[str, Any]:
        context = get_current_context()
        run = context["dag_run"]
        facts = context["ti"].xcom_pull(task_ids="evaluate")["facts"]
        skip_unless_better(facts)
        return emit(context, outlet, event(facts, run_folder(run.dag_id, run.run_id)))

    return announced()


def skip_unless_better(facts: dict[str, Any]) -> None:
    """Skip where evaluate decided that the champion stays."""
    if facts["decision"] != "promote":
        raise AirflowSkipException(f"the champion stays: {facts['reason']}")


def event(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The extra of the event of a training whose run folder is ``folder``."""
    said = {name: facts[name] for name in ("candidate_version", "champion_version", "reason")}
    return {"decision": str(folder / DECISION), **said}


def resolve_decision(pipeline: str) -> Any:  # noqa: ANN401 - as above
    """The task ``resolve_decision``: copies the decision of the event into the run folder, and words the question.

    What a person approves is then what is carried out, whatever becomes of the training's run in the meantime.
    """

    @task(task_id="resolve_decision")
    def resolve() -> dict[str, Any]:
        context = get_current_context()
        run = context["dag_run"]
        path = run_folder(run.dag_id, run.run_id) / DECISION
        decision = read_decision(path if path.exists() else announced_file(run.consumed_asset_events, pipeline))
        write_atomically(path, json.dumps(decision, indent=2))
        question(decision).push(context["ti"])
        log.info("candidate=%s champion=%s", decision["candidate_version"], decision["champion_version"])
        return {"path": str(path), "candidate_version": decision["candidate_version"]}

    return resolve()


def announced_file(events: Iterable[Any], pipeline: str) -> Path:
    """The decision that the newest event names: Airflow folds several into one run, and the last training counts."""
    newest = max(events, key=lambda event: event.timestamp, default=None)
    if newest is None or "decision" not in newest.extra:
        raise AirflowFailException(
            f"Resolving the candidate of {pipeline}: found {newest.extra if newest else 'no asset event'}; required an "
            f"event of {candidate_asset(pipeline).name} that names a decision. Nothing was changed. This DAG is not "
            f"started by hand: run retrain_{pipeline}, or clear an earlier run of this DAG to be asked again."
        )
    return Path(newest.extra["decision"])


def read_decision(path: Path) -> dict[str, Any]:
    """What evaluate wrote; a missing or damaged file fails at once."""
    try:
        decision: dict[str, Any] = read_json(path, "the decision of a training")
    except PlatformError as error:
        raise AirflowFailException(str(error)) from error
    return decision


def question(decision: dict[str, Any]) -> Question:
    """Whether the candidate becomes champion, with the errors that everyone compared made on the same rows."""
    pipeline, candidate = decision["pipeline"], decision["candidate_version"]
    champion = f"version {decision['champion_version']}" if decision["champion_version"] else "no champion yet"
    errors = decision["evidence"]["errors"]
    measures = list(dict.fromkeys(name for row in errors for name in row))
    table = markdown_table(measures, [[row.get(name) for name in measures] for row in errors])
    body = (
        f"{decision['reason']}\n\nErrors on the same holdout rows, which none of them was trained on:\n\n{table}\n\n"
        f"**Approve** makes version {candidate} the champion of `{pipeline}` in place of {champion}. **Reject**, or no "
        f"answer within {PATIENCE.days} days: the champion stays. What each means: `docs/runbooks/promote.md`."
    )
    return Question(f"{pipeline}: make version {candidate} the champion?", body)
