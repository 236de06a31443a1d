"""Going back to an earlier champion: a change of the champion like a promotion, in the ledger like one."""

import json
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import Engine

from contracts.errors import ConfigurationError, QualityGateError
from spark_apps.io import ledger, registry
from spark_apps.io.ledger import Entry
from spark_apps.io.tracking import MlflowClient


def roll_back(
    client: MlflowClient, engine: Engine, pipeline: str, *, to: int | None = None, why: str = "", run_key: str
) -> tuple[Entry, bool]:
    """Make the champion before the present one, or version ``to``, champion again; call it under ``registry.alone``.

    Returns the ledger's row about the champion, and False where version ``to`` was champion already. Like a promotion
    it is written down, carried out and marked, so that running it again finishes what a crash left.
    """
    finished = registry.settle(client, engine, pipeline)
    if finished and finished.action == "rollback" and to in (None, finished.to_version):
        return finished, True
    entries = ledger.history(engine, pipeline)
    champions = ledger.line(entries)
    _require_champion(client, pipeline, champions)
    if to == champions[-1].to_version:
        return champions[-1], False
    earlier = _promotion(pipeline, entries, _before(pipeline, champions) if to is None else to)
    registry.by_number(client, pipeline, int(earlier.to_version or 0))
    wanted = _entry(champions[-1], earlier, why, run_key)
    entry = ledger.find(engine, wanted.decision) or ledger.write(engine, wanted)
    registry.apply(client, engine, entry)
    return entry, True


def _require_champion(client: MlflowClient, pipeline: str, champions: list[Entry]) -> None:
    """QualityGateError unless ledger and MLflow say the same version is champion."""
    now = registry.by_alias(client, pipeline, registry.CHAMPION)
    said = (champions[-1].to_version if champions else None, now.version if now else None)
    if said == (None, None):
        raise _refused(pipeline, "no champion", "one to replace", "Train and promote a version first.")
    if said[0] != said[1]:
        in_ledger, in_mlflow = (f"champion {version}" if version else "no champion" for version in said)
        raise _refused(
            pipeline, f"{in_ledger} in the ledger and {in_mlflow} in MLflow", "both to say the same",
            "Somebody moved the alias by hand: set alias champion in MLflow to what the ledger says, then try again.",
        )  # fmt: skip


def _before(pipeline: str, champions: list[Entry]) -> int:
    """The version that a rollback without a number goes back to."""
    present = champions[-1].to_version
    earlier = [each.to_version for each in champions if each.to_version != present]
    if not earlier or earlier[-1] is None:
        raise _refused(
            pipeline, f"champion {present}, and none before it", "an earlier champion in the ledger",
            "Name one that was rolled back with --to, or train and promote another version.",
        )  # fmt: skip
    return earlier[-1]


def _promotion(pipeline: str, entries: list[Entry], version: int) -> Entry:
    """Why that version was champion once."""
    found = ledger.promotion_of(entries, version)
    if found is None:
        once = {each.to_version or 0 for each in entries if each.action == "promote" and each.applied_at}
        raise ConfigurationError(
            f"Rolling back {pipeline} to version {version}", found="a version that never was champion",
            required=f"one of {', '.join(map(str, sorted(once)))}",
            next_step=f"See bin/millrace registry history {pipeline}.",
        )  # fmt: skip
    return found


def _entry(present: Entry, earlier: Entry, why: str, run_key: str) -> Entry:
    # The same champion is left for the same version once: a second try finds the row of the first.
    asked = ["rollback", present.pipeline, present.decision, earlier.to_version]
    return Entry(
        decision=sha256(json.dumps(asked).encode()).hexdigest(), at=datetime.now(UTC), pipeline=present.pipeline,
        model=present.model, action="rollback", from_version=present.to_version, to_version=earlier.to_version,
        why=why or "No reason was given.",
        evidence={"rolled_back": present.said, "promoted_before": earlier.said}, run_key=run_key, who=ledger.who(),
    )  # fmt: skip


def _refused(pipeline: str, found: str, required: str, next_step: str) -> QualityGateError:
    return QualityGateError(f"Rolling back {pipeline}", found=found, required=required, next_step=next_step)
