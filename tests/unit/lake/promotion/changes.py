"""Champions made and changed as tests want them, a death between two effects, and what ledger and registry say then."""

from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from contracts.settings import Settings
from spark_apps.io import ledger, ops, registry, tracking
from spark_apps.io.ledger import Entry
from spark_apps.io.pointers import Decision
from spark_apps.io.registry import ARCHIVED, CHALLENGER, CHAMPION, STAGE, STAGES
from spark_apps.io.rollback import roll_back
from spark_apps.io.tracking import MlflowClient

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: What a change of the champion does to ledger and registry, in its order; the last but one only where it drops one.
EFFECTS = [
    "write", "set_model_version_tag", "set_registered_model_alias", "set_registered_model_alias",
    "set_model_version_tag", "delete_registered_model_alias", "mark_applied",
]  # fmt: skip
OF_A_ROLLBACK = [effect for effect in EFFECTS if effect != "delete_registered_model_alias"]


class KilledError(BaseException):
    """Nothing of ours may catch it, as nothing catches a kill."""


def registered(settings: Settings, name: str, versions: int) -> None:
    """Versions as train leaves them, without their files: the newest is the challenger."""
    with tracking.connected(settings) as client:
        client.create_registered_model(name)
        for number in range(1, versions + 1):
            client.create_model_version(name, source=str(settings.state), tags={STAGE: STAGES[CHALLENGER]})
            client.set_registered_model_alias(name, CHALLENGER, str(number))


def decided(name: str, candidate: int | None, champion: int | None, *, promote: bool = True) -> Decision:
    return Decision(
        pipeline=name, promote=promote, reason=f"better than {champion}", candidate_version=candidate,
        champion_version=champion, snapshot_hash="c" * 64, evidence={"mae": 1.5},
    )  # fmt: skip


def carried_out(settings: Settings, decision: Decision) -> bool:
    with (
        registry.alone(settings, decision.pipeline, "Promoting"),
        tracking.connected(settings) as client,
    ):
        return registry.carry_out(client, ops.connect(settings.ops_database), decision, run_key="dag/run/promote/-1")


def champions(settings: Settings, name: str, versions: int) -> None:
    """Every version was promoted, one after the other."""
    registered(settings, name, versions)
    for number in range(1, versions + 1):
        assert carried_out(settings, decided(name, number, number - 1 or None))


def rolled_back(settings: Settings, name: str, to: int | None = None) -> tuple[Entry, bool]:
    with registry.alone(settings, name, "Rolling back"), tracking.connected(settings) as client:
        return roll_back(client, ops.connect(settings.ops_database), name, to=to, why="it drifts", run_key="cli/x/y/-1")


def written(settings: Settings, name: str) -> list[Entry]:
    return ledger.history(ops.connect(settings.ops_database), name)


def changes(settings: Settings, name: str) -> list[tuple[str, int | None, int | None, bool]]:
    return [(e.action, e.from_version, e.to_version, e.applied_at is not None) for e in written(settings, name)]


def standing(settings: Settings, name: str) -> tuple[dict[str, int], dict[int, str]]:
    """Versions by alias, and the stage of each version as its tag says it."""
    with tracking.connected(settings) as client:
        found = {alias: registry.by_alias(client, name, alias) for alias in (CHALLENGER, CHAMPION, ARCHIVED)}
        versions = client.search_model_versions(f"name = '{name}'")
    return (
        {alias: version.version for alias, version in found.items() if version},
        {int(each.version): each.tags[STAGE] for each in versions},
    )


def assert_sound(settings: Settings, name: str) -> None:
    """Never two champions, never one without a row that says what it rests on."""
    aliases, stages = standing(settings, name)
    assert Counter(stages.values())["Production"] <= 1
    if CHAMPION in aliases:
        made = [each for each in written(settings, name) if each.to_version == aliases[CHAMPION]]
        assert any(each.action in ("promote", "rollback") and each.evidence for each in made)


@contextmanager
def dying(step: int):
    """The process dies before effect number ``step``; yields the effects that it had."""
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patched:

        def watch(owner: object, name: str) -> None:
            real = getattr(owner, name)

            def effect(*args, **kwargs):
                if len(done) == step:
                    raise KilledError(name)
                done.append(name)
                return real(*args, **kwargs)

            patched.setattr(owner, name, effect)

        for name in ("write", "mark_applied"):
            watch(ledger, name)
        for name in {*EFFECTS} - {"write", "mark_applied"}:
            watch(MlflowClient, name)
        yield done


def entry(action: str, from_version: int | None, to_version: int, minute: int, *, done: int | None = 0) -> Entry:
    """A row written ``minute`` minutes after noon, and done ``done`` minutes later, or not."""
    at = NOON + timedelta(minutes=minute)
    return Entry(
        decision=f"{action}-{minute}", at=at, pipeline="p", model="p", action=action, from_version=from_version,
        to_version=to_version, why="", evidence={"mae": 1}, run_key="", who="somebody",
        applied_at=None if done is None else at + timedelta(minutes=done),
    )  # fmt: skip


def versions(entries: list[Entry]) -> list[int | None]:
    return [each.to_version for each in entries]
