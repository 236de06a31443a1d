"""What follows a check of drift: nothing, an alert, a question to a person, or the asset that starts a training."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from contracts.windows import TableVersion, Window
from dags.operators import alerts
from dags.operators.announcements import drift_asset, emit
from dags.operators.approvals import PATIENCE, Question, is_approved, markdown_table
from dags.operators.runs import run_folder

log = logging.getLogger(__name__)

#: Action of a check to the task that carries it out; with None everything is skipped.
_NEXT = {"none": None, "alert": "alert", "ask": "ask", "retrain": "announce_drift"}
#: What an event says of the check, beside the rows that it is about.
_SAID = ("state", "reason", "window", "report", "reference", "champion_version")

#: State of a check to what it means.
_MEANS = {"drift": "the rows have drifted", "broken": "the data look broken"}
_BROKEN = """\
**The data look broken: training on them is not advised.** A model would learn the fault. Find where it comes from,
reject, and have the rows corrected at their source.

"""


def what_follows(pipeline: str) -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The branch ``what_follows``, by the action that ``check_drift`` decided on; it also words the question."""

    @task.branch(task_id="what_follows")
    def decide() -> str | None:
        ti = get_current_context()["ti"]
        facts = _facts(ti)
        follows = next_task(facts["action"])
        log.info("state=%s action=%s next=%s reason=%s", facts["state"], facts["action"], follows, facts["reason"])
        if follows == "ask":
            question(pipeline, facts).push(ti)
        return follows

    return decide()


def next_task(action: str) -> str | None:
    """The task that carries out an action; None where nothing is to be done."""
    if action not in _NEXT:
        raise AirflowFailException(
            f"Choosing what follows a check of drift: found the action {action!r}; required one of {', '.join(_NEXT)}. "
            "Nothing was announced. check_drift and the DAGs are of different versions: deploy them together."
        )
    return _NEXT[action]


def question(pipeline: str, facts: dict[str, Any]) -> Question:
    """Whether to train on the rows of this check, with what a person needs to say so."""
    is_broken = facts["state"] == "broken"
    known = [
        ("state", facts["state"]),
        ("rows", facts["window"]),
        ("compared with", f"{facts['reference']}, which champion version {facts['champion_version']} was trained on"),
        ("report", facts["report"]),
    ]
    advice = "Training on them is not advised: train all the same?" if is_broken else "Train on them?"
    body = (
        f"{_BROKEN if is_broken else ''}{facts['reason']}\n\n{markdown_table(('', ''), known)}\n\n"
        f"**Approve** starts `retrain_{pipeline}`, whose candidate must still pass the gate. **Reject**, or no answer "
        f"within {PATIENCE.days} days: nothing is trained. What each means: `docs/runbooks/drift_check.md`."
    )
    return Question(f"{_news(pipeline, facts)}. {advice}", body)


def alert(pipeline: str) -> Any:  # noqa: ANN401 - as above
    """The task ``alert``: tells people, and changes nothing."""

    @task(task_id="alert")
    def tell() -> None:
        ti = get_current_context()["ti"]
        facts = _facts(ti)
        text = f"{facts['reason']}\nReport: {facts['report']}"
        alerts.send(_news(pipeline, facts), text, {"dag_id": ti.dag_id, "run_id": ti.run_id, **facts})

    return tell()


def announce_drift(pipeline: str) -> Any:  # noqa: ANN401 - as above
    """The task ``announce_drift``, the only one whose success is an event of ``drift/<pipeline>``.

    The event's extra: ``pipeline``, ``state``, ``reason``, ``window``, ``report``, ``reference``,
    ``champion_version``, and of the rows ``first_day`` and ``last_day``, or ``table_version``.
    """
    outlet = drift_asset(pipeline)

    # Nobody is asked where the policy says to train: then `ask` is skipped, and this runs.
    @task(task_id="announce_drift", outlets=[outlet], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def announce() -> dict[str, Any]:
        context = get_current_context()
        run, ti = context["dag_run"], context["ti"]
        facts = _facts(ti)
        skip_unless_wanted(facts["action"], ti.xcom_pull(task_ids="ask"))
        return emit(context, outlet, event(pipeline, facts, run_folder(run.dag_id, run.run_id)))

    return announce()


def skip_unless_wanted(action: str, answer: dict[str, Any] | None) -> None:
    """Skip unless the check says to train, or a person says so: also where somebody clears this task alone."""
    if action != "retrain" and not (action == "ask" and is_approved(answer)):
        raise AirflowSkipException(f"nothing is announced: the check's action is {action}, and nobody approved")


def event(pipeline: str, facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The extra of the event of a check whose run folder is ``folder``."""
    return {"pipeline": pipeline, **{name: facts[name] for name in _SAID}, **_rows(folder)}


@dataclass(frozen=True)
class Announced:
    """Drift of one window beside one champion, and why it is drift."""

    window: str
    champion_version: int | None
    reason: str

    @property
    def about(self) -> str:
        """Equal for two announcements of the same drift."""
        return f"{self.window} beside version {self.champion_version}"


def announced(events: Iterable[Any], pipeline: str) -> list[Announced]:
    """What the pipeline's drift asset announced, by the events that started a run; each once."""
    name = drift_asset(pipeline).name
    extras = [event.extra for event in events if event.asset.name == name]
    found = [
        Announced(str(extra.get("window")), extra.get("champion_version"), str(extra.get("reason", "no reason given")))
        for extra in extras
    ]
    return list(dict.fromkeys(found))


def _rows(folder: Path) -> dict[str, Any]:
    version = folder / "version.json"
    if version.exists():
        return TableVersion.read(version).model_dump(include={"table_version"})
    return Window.read(folder / "window.json").model_dump(mode="json", include={"first_day", "last_day"})


def _news(pipeline: str, facts: dict[str, Any]) -> str:
    return f"{pipeline}: {_MEANS.get(facts['state'], facts['state'])}"


def _facts(ti: Any) -> dict[str, Any]:  # noqa: ANN401 - Airflow's task instance
    facts: dict[str, Any] = ti.xcom_pull(task_ids="check_drift")["facts"]
    return facts
