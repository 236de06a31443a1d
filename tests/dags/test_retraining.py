"""When a training is due, judged from the run results of earlier runs."""

import json
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from contracts.pipelines import load_all
from contracts.results import RunContext, RunResult
from contracts.windows import Window
from dags.operators import retraining
from dags.operators.announcements import asset, drift_asset
from dags.operators.retraining import Training, force_param, is_due, trainings

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SIX_HOURS = timedelta(hours=6)
WINDOW = Window(first_day=date(2026, 11, 1), last_day=date(2026, 11, 19), decided_by="asset")
OTHER = WINDOW.model_copy(update={"last_day": date(2026, 11, 18)})


def trained(window: Window, hours_ago: float, spec_hash: str = "new") -> Training:
    return Training("earlier", window.about, NOW - timedelta(hours=hours_ago), spec_hash)


def asked(*earlier: Training, force: bool = False) -> tuple[bool, str]:
    return is_due(WINDOW.about, list(earlier), NOW, spec_hash="new", cool_down=SIX_HOURS, force=force)


def test_the_first_training_is_due():
    assert asked() == (True, "nothing was trained on 2026-11-01 to 2026-11-19")


def test_the_same_days_are_not_trained_twice_however_long_ago_and_whatever_decided_them():
    due, reason = asked(trained(WINDOW.model_copy(update={"decided_by": "params"}), hours_ago=1000))
    assert not due
    assert "run earlier already trained on 2026-11-01 to 2026-11-19" in reason


def test_other_days_wait_for_the_cool_down():
    due, reason = asked(trained(OTHER, hours_ago=5.9))
    assert not due
    assert "less than 6:00:00 ago" in reason
    assert asked(trained(OTHER, hours_ago=6.0))[0]


def test_the_newest_training_counts_for_the_cool_down_not_the_first_in_the_list():
    assert not asked(trained(OTHER, hours_ago=100), trained(OTHER, hours_ago=1), trained(OTHER, hours_ago=50))[0]


def test_force_trains_in_any_case():
    assert asked(trained(WINDOW, hours_ago=0.1), force=True) == (True, "forced")


def test_a_pipeline_file_that_was_changed_trains_the_same_days_again_at_once():
    due, reason = asked(trained(WINDOW, hours_ago=0.1, spec_hash="old"))
    assert (due, reason.endswith("since the pipeline's file was changed")) == (True, True)
    assert not asked(trained(WINDOW, 20, spec_hash="old"), trained(WINDOW, 10))[0]


def test_a_pipeline_file_that_was_changed_back_trains_again():
    assert asked(trained(WINDOW, 20), trained(WINDOW, 10, spec_hash="old"))[0]


def test_a_result_that_does_not_name_its_pipeline_file_counts():
    assert not asked(trained(WINDOW, hours_ago=100, spec_hash=""))[0]


def leave(runs, run_id, *, status="done", window=WINDOW, hours_ago=1.0, **which):
    """What a run leaves behind in its folder."""
    task = which.setdefault("task_id", "evaluate")
    context = RunContext(dag_id="retrain_x", run_id=run_id, **which)
    finished = NOW - timedelta(hours=hours_ago)
    RunResult(
        context=context, application=task, status=status, started_at=finished, finished_at=finished,
        exit_code=0 if status != "failed" else 4, hashes={"spec": f"of {run_id}"} if task == "train" else {},
    ).write(runs)  # fmt: skip
    folder = context.run_folder(runs)
    window.write(folder / "window.json")
    return folder


def test_earlier_trainings_are_read_from_their_run_results(runs):
    mine = leave(runs, "mine", hours_ago=0)
    leave(runs, "older", window=OTHER, hours_ago=30)
    leave(runs, "newer", status="failed", try_number=1, hours_ago=3)
    leave(runs, "newer", try_number=2, hours_ago=2)
    leave(runs, "newer", task_id="train", hours_ago=4)
    assert trainings(mine) == [
        Training("newer", WINDOW.about, NOW - timedelta(hours=2), "of newer"),
        Training("older", OTHER.about, NOW - timedelta(hours=30), ""),
    ]


@pytest.mark.parametrize("status", ["failed", "not_enough_data", "skipped"])
def test_a_run_that_came_to_no_decision_does_not_count(runs, status):
    mine = leave(runs, "mine")
    leave(runs, "other", status=status)
    assert trainings(mine) == []


def test_a_run_that_only_trained_does_not_count(runs):
    mine = leave(runs, "mine")
    leave(runs, "other", task_id="train")
    assert trainings(mine) == []


def test_a_damaged_run_folder_is_left_out_and_logged(runs, caplog):
    mine = leave(runs, "mine")
    (leave(runs, "broken") / "window.json").write_text("{", encoding="utf-8")
    leave(runs, "good")
    assert [training.run for training in trainings(mine)] == ["good"]
    assert "broken" in caplog.text


@pytest.fixture
def should_retrain(dag_bag, runs, monkeypatch):
    """Ask the task of the run ``retrain_x/mine`` for the pipeline access_log_volume: its answer and its reason."""

    def ask(*events, force=False):
        WINDOW.write(runs / "retrain_x" / "mine" / "window.json")
        run = SimpleNamespace(dag_id="retrain_x", run_id="mine", run_after=NOW, consumed_asset_events=list(events))
        pushed = {}
        ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
        context = {"dag_run": run, "ti": ti, "params": {"force": force}}
        monkeypatch.setattr(retraining, "get_current_context", lambda: context)
        return dag_bag.dags["retrain_access_log_volume"].get_task("should_retrain").python_callable(), pushed["reason"]

    return ask


def event(of, **extra):
    return SimpleNamespace(asset=SimpleNamespace(name=of.name), extra=extra)


def drift(window: str = "today", version: int = 3):
    said = {"reason": "requests shifted by 0.210.", "window": window, "champion_version": version}
    return event(drift_asset("access_log_volume"), **said)


DRIFT = drift()
DATA = event(asset("silver.access_log"), verdict="7")


def test_a_training_after_drift_says_so_and_quotes_why(should_retrain):
    due, reason = should_retrain(DRIFT)
    assert due
    assert reason == (
        "drift was announced (requests shifted by 0.210.): nothing was trained on 2026-11-01 to 2026-11-19"
    )


@pytest.mark.parametrize("window", [WINDOW, OTHER])
def test_drift_trains_on_days_that_were_trained_on_and_soon_after_a_training_of_another_cause(
    should_retrain, runs, window
):
    leave(runs, "other", window=window, hours_ago=1)
    due, reason = should_retrain(DRIFT)
    assert due
    assert reason.endswith("nothing was trained because of it")


@pytest.mark.parametrize(
    ("hours_ago", "announced", "why"),
    [
        (1000, DRIFT, "run other already trained because of it"),
        (23.9, drift("yesterday"), "trained because of drift at 2026-11-19 12:06 UTC, less than 1 day, 0:00:00 ago"),
        (23.9, drift(version=4), "less than 1 day"),
    ],
)
def test_drift_trains_once_for_each_window_and_champion_and_not_within_its_cool_down(
    should_retrain, runs, hours_ago, announced, why
):
    folder = leave(runs, "other", hours_ago=hours_ago)
    (folder / "drift.json").write_text('["today beside version 3"]', encoding="utf-8")
    due, reason = should_retrain(announced)
    assert not due
    assert reason.startswith("drift was announced (requests shifted by 0.210.): ")
    assert why in reason
    assert should_retrain(announced, force=True)[0]


def test_a_run_remembers_which_drift_started_it(should_retrain, runs):
    should_retrain(DRIFT, drift("yesterday"))
    said = json.loads((runs / "retrain_x" / "mine" / "drift.json").read_text(encoding="utf-8"))
    assert said == ["today beside version 3", "yesterday beside version 3"]


def test_other_events_and_the_drift_of_another_pipeline_are_no_drift(should_retrain):
    other = event(drift_asset("higgs"), reason="m_bb shifted")
    for events in [(), (DATA,), (DATA, other)]:
        assert should_retrain(*events) == (True, "nothing was trained on 2026-11-01 to 2026-11-19")


def test_the_same_reason_is_quoted_once_and_an_event_without_one_is_drift_too(should_retrain):
    _, reason = should_retrain(DRIFT, DATA, DRIFT, event(drift_asset("access_log_volume")))
    assert reason.startswith("drift was announced (requests shifted by 0.210. no reason given): ")


def test_the_form_takes_force_only_as_yes_or_no():
    assert force_param()["force"].resolve() is False
    with pytest.raises(ValueError, match="not of type 'boolean'"):
        force_param()["force"].resolve("yes please")


def test_every_pipeline_names_how_far_back_it_trains_and_how_often():
    for spec in load_all().values():
        assert spec.schedule.window_days >= 1
        assert spec.schedule.cool_down_hours >= 0
