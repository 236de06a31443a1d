"""The promotion ledger: who was champion when, the way back, and what is left whole wherever a change is cut short."""

import json
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
import requests

from contracts.errors import ConfigurationError, LockHeldError, QualityGateError
from contracts.settings import Settings
from spark_apps import promote
from spark_apps.commands import registry as command
from spark_apps.io import ledger, locks, ops, registry, tracking
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


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Settings:
    """One MLflow database for the module: making one takes seconds. Every test has a pipeline of its own."""
    folder = tmp_path_factory.mktemp("ledger")
    return Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def typed(shared, monkeypatch, capsys):
    """Type `millrace registry ...`: its exit code and what it said."""

    def run(*words: str, **environment: str) -> tuple[int, str]:
        chosen = {"MILLRACE_STATE": str(shared.state), "MILLRACE_MLFLOW_URI": shared.tracking_uri, **environment}
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        code = command.main(words)
        return code, "".join(capsys.readouterr())

    return run


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


def test_the_champion_of_a_moment_is_the_last_that_was_in_force_by_then():
    rows = [entry("promote", None, 1, 0), entry("keep", 1, 1, 5), entry("promote", 1, 2, 10, done=10)]
    moments = {-1: None, 0: 1, 7: 1, 19: 1, 20: 2, 10_000: 2}
    for minute, version in moments.items():
        found = ledger.champion(rows, NOON + timedelta(minutes=minute))
        assert (found and found.to_version) == version, minute


def test_a_change_that_crashed_and_was_finished_late_counts_from_when_it_was_finished():
    late = entry("promote", 1, 2, 1, done=60)
    rows = [entry("promote", None, 1, 0), late, entry("promote", 1, 3, 30), entry("rollback", 3, 1, 40)]
    assert ledger.unfinished(rows, NOON + timedelta(minutes=2)) == [late]
    assert ledger.unfinished(rows) == []
    found = {minute: ledger.champion(rows, NOON + timedelta(minutes=minute)) for minute in (2, 31, 41, 61)}
    assert {minute: row and row.to_version for minute, row in found.items()} == {2: 1, 31: 3, 41: 1, 61: 2}
    assert versions(ledger.line(rows)) == [1, 2]


def test_a_change_that_never_happened_is_no_longer_unfinished_once_another_has():
    lost = entry("promote", 1, 2, 1, done=None)
    assert ledger.unfinished([entry("promote", None, 1, 0), lost]) == [lost]
    assert ledger.unfinished([entry("promote", None, 1, 0), lost, entry("promote", 1, 3, 2)]) == []


def test_going_back_twice_goes_back_two_promotions_and_brings_nothing_back_that_was_rolled_back():
    rows = [entry("promote", n - 1 or None, n, n) for n in (1, 2, 3)]
    assert versions(ledger.line(rows)) == [1, 2, 3]
    rows.append(entry("rollback", 3, 2, 4))
    assert versions(ledger.line(rows)) == [1, 2]
    assert versions(ledger.line([*rows, entry("rollback", 2, 1, 5)])) == [1]
    # Named, it comes back, and is left for what was there before.
    assert versions(ledger.line([*rows, entry("rollback", 2, 3, 5)])) == [1, 2, 3]
    assert versions(ledger.line([*rows, entry("promote", 2, 4, 5), entry("rollback", 4, 2, 6)])) == [1, 2]


def test_a_rollback_restores_the_champion_before_and_says_so_in_the_ledger(shared):
    name = "restored"
    champions(shared, name, 3)
    row, is_new = rolled_back(shared, name)
    assert (is_new, row.action, row.from_version, row.to_version) == (True, "rollback", 3, 2)
    assert standing(shared, name) == (
        {CHAMPION: 2, ARCHIVED: 3}, {1: "Archived", 2: "Production", 3: "Archived"},
    )  # fmt: skip
    first, second, third, back = written(shared, name)
    assert back.evidence["rolled_back"] == third.said
    assert back.evidence["promoted_before"] == second.said
    assert (back.why, bool(back.who), back.run_key) == ("it drifts", True, "cli/x/y/-1")
    # Once more: further back, and not to what was just left.
    assert rolled_back(shared, name)[0].to_version == first.to_version
    with pytest.raises(QualityGateError, match="found champion 1, and none before it"):
        rolled_back(shared, name)


def test_a_version_that_was_champion_once_can_be_named(shared):
    name = "named"
    champions(shared, name, 3)
    assert rolled_back(shared, name, to=1)[0].to_version == 1
    row, is_new = rolled_back(shared, name, to=1)
    assert (is_new, row.to_version, len(written(shared, name))) == (False, 1, 4)
    assert rolled_back(shared, name, to=3)[0].to_version == 3
    assert_sound(shared, name)


def test_after_a_rollback_the_next_candidate_is_compared_with_the_champion_that_came_back(shared):
    name = "continued"
    champions(shared, name, 2)
    rolled_back(shared, name)
    # The promotion that was undone is not done again by whoever clears its task.
    assert not carried_out(shared, decided(name, 2, 1))
    with tracking.connected(shared) as client:
        client.create_model_version(name, source=str(shared.state), tags={STAGE: STAGES[CHALLENGER]})
    with pytest.raises(QualityGateError, match="found champion 1; required champion 2"):
        carried_out(shared, decided(name, 3, 2))
    assert carried_out(shared, decided(name, 3, 1))
    assert standing(shared, name) == (
        {CHAMPION: 3, ARCHIVED: 1}, {1: "Archived", 2: "Archived", 3: "Production"},
    )  # fmt: skip


def test_an_old_comparison_does_not_archive_the_champion_that_came_back(shared):
    name = "came_back"
    champions(shared, name, 2)
    rolled_back(shared, name)
    assert carried_out(shared, decided(name, 1, 2, promote=False))
    assert standing(shared, name)[1] == {1: "Production", 2: "Archived"}


def test_what_never_was_champion_is_refused_and_nothing_changes(shared):
    name = "refused"
    champions(shared, name, 2)
    with tracking.connected(shared) as client:
        client.create_model_version(name, source=str(shared.state), tags={STAGE: STAGES[CHALLENGER]})
    before = standing(shared, name), written(shared, name)
    with pytest.raises(ConfigurationError, match="found a version that never was champion; required one of 1, 2"):
        rolled_back(shared, name, to=3)
    assert (standing(shared, name), written(shared, name)) == before
    with tracking.connected(shared) as client:
        client.delete_model_version(name, "1")
    with pytest.raises(ConfigurationError, match="found no such version"):
        rolled_back(shared, name)
    assert (standing(shared, name)[0], written(shared, name)) == ({CHAMPION: 2}, before[1])


def test_ledger_and_mlflow_that_disagree_are_both_quoted(shared):
    name = "disagreeing"
    champions(shared, name, 2)
    with tracking.connected(shared) as client:
        client.set_registered_model_alias(name, CHAMPION, "1")
    with pytest.raises(QualityGateError, match="found champion 2 in the ledger and champion 1 in MLflow"):
        rolled_back(shared, name)
    with tracking.connected(shared) as client:
        client.delete_registered_model_alias(name, CHAMPION)
    with pytest.raises(QualityGateError, match="found champion 2 in the ledger and no champion in MLflow"):
        rolled_back(shared, name, to=1)
    assert len(written(shared, name)) == 2


def test_a_promotion_without_evidence_or_of_no_version_is_refused_before_it_is_written_down(shared):
    name = "baseless"
    registered(shared, name, 1)
    for change, said in (
        ({"evidence": {}}, "a decision without candidate_version, or evidence"),
        ({"candidate_version": None}, "a decision without candidate_version, or evidence"),
        ({"candidate_version": 7}, "no such version"),
    ):
        with pytest.raises((QualityGateError, ConfigurationError), match=said):
            carried_out(shared, decided(name, 1, None).model_copy(update=change))
    assert (written(shared, name), standing(shared, name)[0]) == ([], {CHALLENGER: 1})


def test_a_change_of_the_champion_has_exactly_these_effects(shared):
    registered(shared, "effects", 2)
    carried_out(shared, decided("effects", 1, None))
    with dying(99) as done:
        carried_out(shared, decided("effects", 2, 1))
    assert done == EFFECTS
    with dying(99) as done:
        rolled_back(shared, "effects")
    assert done == OF_A_ROLLBACK


@pytest.mark.parametrize("step", range(len(EFFECTS)))
def test_a_promotion_killed_before_any_of_its_effects_is_finished_by_the_next_try(shared, step):
    name = f"promotion_{step}"
    registered(shared, name, 2)
    carried_out(shared, decided(name, 1, None))
    with dying(step), pytest.raises(KilledError):
        carried_out(shared, decided(name, 2, 1))
    assert_sound(shared, name)
    assert carried_out(shared, decided(name, 2, 1))
    assert_sound(shared, name)
    assert standing(shared, name) == ({CHAMPION: 2, ARCHIVED: 1}, {1: "Archived", 2: "Production"})
    assert changes(shared, name) == [("promote", None, 1, True), ("promote", 1, 2, True)]


@pytest.mark.parametrize("step", range(len(OF_A_ROLLBACK)))
def test_a_rollback_killed_before_any_of_its_effects_is_finished_by_the_next_try(shared, step):
    name = f"rollback_{step}"
    champions(shared, name, 3)
    with dying(step), pytest.raises(KilledError):
        rolled_back(shared, name)
    assert_sound(shared, name)
    assert rolled_back(shared, name)[0].to_version == 2
    assert_sound(shared, name)
    assert standing(shared, name)[0] == {CHAMPION: 2, ARCHIVED: 3}
    assert changes(shared, name)[3:] == [("rollback", 3, 2, True)]


@pytest.mark.parametrize("step", range(len(EFFECTS)))
def test_a_rollback_after_a_killed_promotion_starts_from_what_is_in_production(shared, step):
    name = f"emergency_{step}"
    registered(shared, name, 3)
    carried_out(shared, decided(name, 1, None))
    carried_out(shared, decided(name, 2, 1))
    with dying(step), pytest.raises(KilledError):
        carried_out(shared, decided(name, 3, 2))
    served = standing(shared, name)[0][CHAMPION]
    assert rolled_back(shared, name)[0].from_version == served
    assert_sound(shared, name)
    assert standing(shared, name)[0][CHAMPION] == served - 1
    # What retries the promotion now finds it done and undone, or the champion that it was about gone.
    try:
        assert not carried_out(shared, decided(name, 3, 2))
    except QualityGateError:
        assert served == 2
    assert standing(shared, name)[0][CHAMPION] == served - 1


@pytest.mark.parametrize("step", range(1, len(OF_A_ROLLBACK)))
def test_a_promotion_after_a_killed_rollback_is_about_what_is_in_production(shared, step):
    name = f"overtaking_{step}"
    registered(shared, name, 4)
    for number in (1, 2, 3):
        carried_out(shared, decided(name, number, number - 1 or None))
    with dying(step), pytest.raises(KilledError):
        rolled_back(shared, name)
    served = standing(shared, name)[0][CHAMPION]
    assert carried_out(shared, decided(name, 4, served))
    assert_sound(shared, name)
    assert versions(ledger.line(written(shared, name))) == [*range(1, served + 1), 4]


def promoting(settings: Settings, decision: Decision, folder) -> None:
    """The application itself. It asks no session for anything."""
    path = folder / f"{decision.candidate_version}.json"
    decision.write(path)
    run = {"dag_id": "d", "run_id": f"r{decision.candidate_version}", "task_id": "promote"}
    args = Namespace(pipeline=Namespace(name=decision.pipeline), decision=path, map_index=-1, try_number=1, **run)
    promote.main(args, settings, None)


def test_of_two_promotions_at_once_the_second_waits_and_is_then_about_another_champion(shared, tmp_path, monkeypatch):
    name, errors = "at_once", []
    registered(shared, name, 3)
    carried_out(shared, decided(name, 1, None))
    second = decided(name, 3, 1)

    def beside() -> None:
        try:
            promoting(shared, second, tmp_path)
        except LockHeldError as error:
            errors.append(error)

    real = registry.apply

    def apply(*args) -> None:
        # The first is written down and has moved nothing: now comes the second.
        monkeypatch.setattr(registry, "apply", real)
        other = Thread(target=beside)
        other.start()
        other.join()
        real(*args)

    monkeypatch.setattr(registry, "WAIT_S", 0)
    monkeypatch.setattr(registry, "apply", apply)
    promoting(shared, decided(name, 2, 1), tmp_path)
    assert [error.exit_code for error in errors] == [6]
    with pytest.raises(QualityGateError, match="found champion 2; required champion 1"):
        promoting(shared, second, tmp_path)
    assert changes(shared, name) == [("promote", None, 1, True), ("promote", 1, 2, True)]
    assert_sound(shared, name)


def test_the_lock_of_a_pipeline_keeps_other_processes_out(shared):
    path = shared.locks / "models" / "lonely.lock"
    attempt = f"from spark_apps.io import locks; locks._opened_here(__import__('pathlib').Path({str(path)!r})).take()"
    asked = [sys.executable, "-c", f"{attempt} or exit(6)"]
    with registry.alone(shared, "lonely", "Promoting"):
        assert subprocess.run(asked, check=False, timeout=120).returncode == 6
    assert subprocess.run(asked, check=False, timeout=120).returncode == 0


@pytest.mark.spark
def test_a_lock_of_the_jvm_and_a_lock_of_this_process_exclude_each_other(spark, tmp_path):
    path = tmp_path / "both.lock"
    with locks.exclusive(spark, path, "Writing"):
        mine = locks._opened_here(path)
        assert not mine.take()
    assert mine.take()
    mine.close()
    with locks.exclusive(None, path, "Writing"):
        theirs = locks._opened_by_the_jvm(spark, path)
        assert not theirs.take()
    assert theirs.take()
    theirs.close()


def test_a_process_killed_between_ledger_and_alias_leaves_no_lock_and_the_next_finishes_its_rollback(shared, typed):
    name = "killed"
    champions(shared, name, 2)
    assert typed("history", name)[0] == 0  # sets the environment for the process below, too
    program = (
        "import os, signal, sys\n"
        "from spark_apps.commands import registry as command\n"
        "from spark_apps.io import registry\n"
        "registry.apply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "command.main(['rollback', 'killed', '--why', 'first try'])\n"
    )
    died = subprocess.run([sys.executable, "-c", program], check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert changes(shared, name)[2:] == [("rollback", 2, 1, False)]
    assert "killed: a change to version 1 had begun and was not marked as done" in typed("as-of", "2999-01-01")[1]
    assert typed("rollback", name) == (0, "killed: version 1 is champion again, in place of version 2\n")
    assert changes(shared, name)[2:] == [("rollback", 2, 1, True)]
    assert written(shared, name)[2].why == "first try"


def test_mlflow_that_goes_away_in_the_middle_of_a_rollback_is_said_and_the_next_try_finishes_it(
    shared, typed, monkeypatch
):
    name = "interrupted"
    champions(shared, name, 2)
    with monkeypatch.context() as patched:
        gone = requests.ConnectionError("gone")
        patched.setattr(MlflowClient, "set_registered_model_alias", lambda *_: (_ for _ in ()).throw(gone))
        code, said = typed("rollback", name)
    assert code == 5
    assert "What had begun is finished when the same is run again." in said
    assert typed("rollback", name)[0] == 0
    assert changes(shared, name)[2:] == [("rollback", 2, 1, True)]


def test_with_mlflow_down_the_ledger_still_answers_and_a_rollback_changes_nothing(shared, typed):
    name = "down"
    champions(shared, name, 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        down = {"MILLRACE_MLFLOW_URI": f"http://127.0.0.1:{free.getsockname()[1]}"}
        code, said = typed("rollback", name, **down)
        assert (code, "Nothing was changed. Look at bin/millrace status" in said) == (5, True)
        assert typed("as-of", f"{datetime.now(UTC):%Y-%m-%d}", name, **down)[0] == 0
        assert typed("history", name, **down)[0] == 0
    assert len(written(shared, name)) == 2
    assert standing(shared, name)[0][CHAMPION] == 2


def test_as_of_says_who_was_in_production_since_when_and_why(shared, typed):
    name = "asked"
    champions(shared, name, 2)
    rows = written(shared, name)
    between = rows[1].at.isoformat()
    code, said = typed("as-of", between, name, "--json")
    [found] = json.loads(said)["champions"]
    assert (code, found["version"], found["why"], found["who"]) == (0, 1, "better than None", rows[0].who)
    assert (found["unfinished"], found["run_key"]) == ([2], "dag/run/promote/-1")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    said = typed("as-of", today, name)[1].splitlines()
    assert said[0].startswith(f"in production at {today}T")
    assert said[1].split() == ["PIPELINE", "VERSION", "SINCE", "ACTION", "WHO", "WHY"]
    assert said[2].split()[:2] == ["asked", "2"]
    assert said[2].endswith("better than 1")
    assert typed("as-of", "1995-07-09", name) == (0, "no champion of asked at 1995-07-09T23:59:59Z\n")
    assert name in typed("as-of", today)[1]
    # Nobody knows what will be.
    assert "2999" not in typed("as-of", "2999-01-01", name)[1]


def test_history_has_every_decision_the_newest_last(shared, typed):
    name = "told"
    champions(shared, name, 2)
    carried_out(shared, decided(name, 2, 2, promote=False))
    rolled_back(shared, name)
    head, *rows = typed("history", name)[1].splitlines()
    assert head.split() == ["WRITTEN", "DONE", "ACTION", "FROM", "TO", "WHO", "WHY"]
    assert [row.split()[2:5] for row in rows] == [
        ["promote", "-", "1"], ["promote", "1", "2"], ["keep", "2", "2"], ["rollback", "2", "1"],
    ]  # fmt: skip
    found = json.loads(typed("history", name, "--json")[1])
    assert [row["evidence"].get("mae") for row in found] == [1.5, 1.5, 1.5, None]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rollback", "no_such_pipeline"), 2, "found 'no_such_pipeline'; required one of access_log_visitors"),
        (("history", "no_such_pipeline"), 2, "found 'no_such_pipeline'"),
        (("as-of", "2026-01-01", "no_such_pipeline"), 2, "found 'no_such_pipeline'"),
        (("rollback", "higgs"), 4, "Rolling back higgs: found no champion; required one to replace. Nothing was"),
        (("history", "higgs"), 0, "no decision about higgs yet"),
        (("as-of", "2026-01-01", "higgs"), 0, "no champion of higgs at 2026-01-01T23:59:59Z"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_code_that_says_so(typed, words, code, said):
    assert typed(*words)[0] == code
    assert said in typed(*words)[1]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", "2026-01-31T23:59:59.999999+00:00"),
        ("20260131", "2026-01-31T23:59:59.999999+00:00"),
        ("2026-01-31T12:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00+02:00", "2026-01-31T10:00:00+00:00"),
    ],
)
def test_a_day_means_its_end_and_an_instant_itself(text, at):
    assert command.instant(text).isoformat() == at


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", ""])
def test_what_is_no_date_ends_with_2(text, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["as-of", text])
    assert ended.value.code == 2
    assert "is neither a day, 2026-01-31, nor an instant" in capsys.readouterr().err


def test_an_ops_database_that_does_not_open_is_told_with_5(typed, tmp_path):
    (tmp_path / "folder.db").mkdir()
    code, said = typed("as-of", "2026-01-01", MILLRACE_OPS_URL=f"sqlite:///{tmp_path}/folder.db")
    assert (code, "unable to open database file" in said) == (5, True)
