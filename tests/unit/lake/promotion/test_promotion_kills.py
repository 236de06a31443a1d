"""Killed between any two effects, at the same time, without MLflow: never two champions, never one without evidence."""

import signal
import socket
import subprocess
import sys
from argparse import Namespace
from datetime import UTC, datetime
from threading import Thread

import pytest
import requests

from contracts.errors import LockHeldError, QualityGateError
from contracts.settings import Settings
from spark_apps import promote
from spark_apps.io import ledger, locks, registry
from spark_apps.io.pointers import Decision
from spark_apps.io.registry import ARCHIVED, CHAMPION
from spark_apps.io.tracking import MlflowClient
from tests.unit.lake.promotion.changes import (
    EFFECTS,
    OF_A_ROLLBACK,
    KilledError,
    assert_sound,
    carried_out,
    champions,
    changes,
    decided,
    dying,
    registered,
    rolled_back,
    standing,
    versions,
    written,
)


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
