"""Whether a training is due: asked once per run, answered from the run results that earlier runs left behind."""

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, get_current_context, task

from contracts.errors import PlatformError
from contracts.files import read_json, write_atomically
from contracts.pipelines import PipelineSpec
from contracts.results import RunResult
from contracts.windows import TableVersion, Window
from dags.operators import drift
from dags.operators.runs import run_folder

log = logging.getLogger(__name__)

#: The step whose result says that a training came to a decision about its candidate, and the one that says which
#: pipeline file it was made by.
_DECIDED_BY, _TRAINED_BY = "evaluate", "train"
#: In the run folder: which announcements of drift started the run.
_DRIFT = "drift.json"


@dataclass(frozen=True)
class Training:
    """One earlier run that trained a candidate and judged it."""

    run: str
    about: str
    finished_at: datetime
    #: Of the pipeline's file it was trained by; empty where the result does not say.
    spec_hash: str = ""
    #: Announcements of drift that started it.
    drift: tuple[str, ...] = ()


def force_param() -> dict[str, Param]:
    about = "Whatever was trained before, and when."
    return {"force": Param(default=False, type="boolean", title="Train in any case", description=about)}


def should_retrain(spec: PipelineSpec) -> Any:  # noqa: ANN401 - what a decorated task returns is Airflow's affair
    """The task ``should_retrain``: when no training is due it says why and everything after it is skipped."""

    @task.short_circuit(task_id="should_retrain")
    def decide() -> bool:
        context = get_current_context()
        run = context["dag_run"]
        folder = run_folder(run.dag_id, run.run_id)
        earlier = trainings(folder)
        due, reason = is_due(
            about(folder), earlier, run.run_after, spec_hash=spec.hash,
            cool_down=timedelta(hours=spec.schedule.cool_down_hours), force=bool(context["params"]["force"]),
        )  # fmt: skip
        announced = drift.announced(run.consumed_asset_events, spec.name)
        if announced and spec.drift:
            checks = [each.about for each in announced]
            write_atomically(folder / _DRIFT, json.dumps(checks))
            if not due:
                cool_down = timedelta(hours=spec.drift.cool_down_hours)
                due, reason = is_due_by_drift(checks, earlier, run.run_after, cool_down)
            reason = f"drift was announced ({' '.join(each.reason for each in announced)}): {reason}"
        log.info("retrain=%s reason=%s", due, reason)
        context["ti"].xcom_push(key="reason", value=reason)
        return due

    return decide()


def is_due(
    rows: str, trained: list[Training], now: datetime, *, spec_hash: str, cool_down: timedelta, force: bool
) -> tuple[bool, str]:
    """Whether to train on ``rows`` (what `about` says), and why. ``now`` is the instant that the run is for.

    Only trainings since the pipeline's file was last changed count: who changes it wants to see what comes of it.
    """
    if force:
        return True, "forced"
    by_others = [training.finished_at for training in trained if training.spec_hash not in ("", spec_hash)]
    changed = max(by_others, default=None)
    earlier = [training for training in trained if changed is None or training.finished_at > changed]
    for training in earlier:
        if training.about == rows:
            return False, f"run {training.run} already trained on {rows}; the parameter force trains again"
    newest = max(earlier, key=lambda training: training.finished_at, default=None)
    if newest and now - newest.finished_at < cool_down:
        return False, f"run {newest.run} trained at {newest.finished_at:%Y-%m-%d %H:%M} UTC, less than {cool_down} ago"
    if trained and not earlier:
        return True, f"nothing was trained on {rows} since the pipeline's file was changed"
    return True, f"nothing was trained on {rows}"


def is_due_by_drift(
    checks: list[str], trained: list[Training], now: datetime, cool_down: timedelta
) -> tuple[bool, str]:
    """Whether to train because of these announcements, and why: once for each, and not too soon after another.

    What was trained on the same days before does not count: of days that still grow, the check saw what came since.
    """
    by_drift = [training for training in trained if training.drift]
    for training in by_drift:
        if set(checks) <= set(training.drift):
            return False, f"run {training.run} already trained because of it"
    newest = max(by_drift, key=lambda training: training.finished_at, default=None)
    if newest and now - newest.finished_at < cool_down:
        at = f"{newest.finished_at:%Y-%m-%d %H:%M} UTC"
        return False, f"run {newest.run} trained because of drift at {at}, less than {cool_down} ago"
    return True, "nothing was trained because of it"


def about(folder: Path) -> str:
    """Which rows the run of this folder is about: days, or a version of a table."""
    version = folder / "version.json"
    return TableVersion.read(version).about if version.exists() else Window.read(folder / "window.json").about


def trainings(folder: Path) -> list[Training]:
    """What the other runs beside ``folder`` trained, oldest folder name first.

    The run results are the record: there is no second state that could disagree with them. A run that ended for want
    of rows or failed before a decision is none. A damaged file is left out, and logged.
    """
    found = []
    for other in sorted(folder.parent.iterdir()):
        if other == folder:
            continue
        try:
            decided, trained = _newest(other, _DECIDED_BY), _newest(other, _TRAINED_BY)
            if decided:
                spec_hash = trained.hashes.get("spec", "") if trained else ""
                at, by = decided.finished_at, _drift_of(other)
                found.append(Training(decided.context.run_id, about(other), at, spec_hash, by))
        except (PlatformError, ValueError) as error:
            log.warning("left out a run that cannot be read: folder=%s error=%s", other, error)
    return found


def _drift_of(folder: Path) -> tuple[str, ...]:
    path = folder / _DRIFT
    return tuple(read_json(path, "the drift that started a run")) if path.exists() else ()


def _newest(folder: Path, step: str) -> RunResult | None:
    """The last try of this step of a run that did its work."""
    tries = [RunResult.read(path) for path in folder.glob(f"{step}/*/*/result.json")]
    done = [result for result in tries if result.status == "done"]
    return max(done, key=lambda result: result.finished_at, default=None)
