"""What follows a check of drift: who is told, who is asked, and what makes a pipeline train again."""

import re
from types import SimpleNamespace

import pytest
from airflow.sdk import AssetAny, CronDataIntervalTimetable, CronTriggerTimetable, TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from contracts.pipelines import load_all
from contracts.pipelines.drift import DriftPolicy
from contracts.windows import TableVersion, Window
from dags.drift_check import drift_check
from dags.operators import alerts, approvals, drift
from dags.operators.announcements import drift_asset
from dags.operators.approvals import PATIENCE, QuestionAlert, is_approved, markdown_table

WATCHED = {name: spec for name, spec in load_all().items() if spec.drift}
YES, NO = {"chosen_options": ["Approve"]}, {"chosen_options": ["Reject"]}
FACTS = {
    "state": "drift", "action": "ask", "reason": "2 of 30 comparisons are drift: m_bb by 0.210, m_jj by 0.140.",
    "window": "10984 rows of version 3", "reference": "features.higgs/ab12", "champion_version": 4,
    "report": "/reports/higgs/1.html",
}  # fmt: skip
BROKEN = FACTS | {"state": "broken", "reason": "The data changed, not the world: m_bb is gone."}


@pytest.fixture
def sent(monkeypatch):
    """Subject, text and facts of every alert."""
    found = []
    for module in (alerts, approvals):
        monkeypatch.setattr(module, "send", lambda *said: found.append(said))
    return found


def run_of(task, facts=FACTS, answer=None):
    """The context of a task after ``check_drift``, and the XComs that it pushes."""
    pulled, pushed = {"check_drift": {"status": "done", "facts": facts}, "ask": answer}, {}
    ti = SimpleNamespace(
        dag_id="drift_check_higgs", run_id="r1", task_id=task, xcom_pull=lambda task_ids: pulled[task_ids],
        xcom_push=lambda key, value: pushed.update({key: value}), log_url="http://a/dags/d/runs/r1/tasks/ask?try_number=1",
    )  # fmt: skip
    run = SimpleNamespace(dag_id="drift_check_higgs", run_id="r1")
    return {"ti": ti, "dag_run": run, "outlet_events": {drift_asset("higgs"): SimpleNamespace(extra={})}}, pushed


def executed(dag_bag, monkeypatch, task_id, context):
    """What the body of a task of drift_check_higgs returns."""
    monkeypatch.setattr(drift, "get_current_context", lambda: context)
    return dag_bag.dags["drift_check_higgs"].get_task(task_id).python_callable()


def test_a_pipeline_without_a_policy_is_not_watched(dag_bag):
    checks = {dag_id for dag_id in dag_bag.dags if dag_id.startswith("drift_check_")}
    assert checks == {f"drift_check_{name}" for name in WATCHED}
    assert {"access_log_volume", "higgs", "uk_traffic"} == set(WATCHED)


@pytest.mark.parametrize("name", WATCHED)
def test_a_check_runs_when_its_policy_says(dag_bag, name):
    policy, timetable = WATCHED[name].drift, dag_bag.dags[f"drift_check_{name}"].timetable
    kind = CronDataIntervalTimetable if WATCHED[name].is_daily else CronTriggerTimetable
    assert type(timetable).__name__ == kind.__name__
    assert (timetable.expression, str(timetable.timezone)) == (policy.cron, policy.timezone)


@pytest.mark.parametrize("name", WATCHED)
def test_rows_are_judged_before_they_are_compared_and_what_follows_is_one_branch(dag_bag, name):
    dag = dag_bag.dags[f"drift_check_{name}"]
    downstream = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    first = "resolve_window" if WATCHED[name].is_daily else "resolve_version"
    assert downstream == {
        first: {"validate"}, "validate": {"check_drift"}, "check_drift": {"what_follows"},
        "what_follows": {"alert", "ask", "announce_drift"}, "ask": {"announce_drift"}, "alert": set(),
        "announce_drift": set(),
    }  # fmt: skip


def test_only_the_announcement_has_the_outlet_and_it_runs_where_nobody_had_to_be_asked(dag_bag):
    dag = dag_bag.dags["drift_check_higgs"]
    outlets = {task.task_id: [outlet.name for outlet in task.outlets] for task in dag.tasks if task.outlets}
    assert outlets == {"announce_drift": ["drift/higgs"]}
    # Plain all_success would skip it together with the question that a policy of "retrain" does not ask.
    assert dag.get_task("announce_drift").trigger_rule == TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
    assert dag.get_task("what_follows").trigger_rule == TriggerRule.ALL_SUCCESS


def test_the_page_says_what_the_policy_asks_for(dag_bag):
    assert "what the pipeline's file asks for when they differ (`retrain`)" in dag_bag.dags["drift_check_higgs"].doc_md


def test_the_second_table_of_a_pipeline_is_judged_too():
    spec, policy = load_all()["movielens_tastes"], DriftPolicy(cron="0 1 * * 1")
    dag = drift_check(spec.model_copy(update={"drift": policy}), policy)
    assert dag.get_task("check_drift").upstream_task_ids == {"validate", "validate_beside"}
    assert dag.get_task("validate_beside").upstream_task_ids == {"resolve_version"}


@pytest.mark.parametrize("name", sorted(load_all()))
def test_a_training_starts_on_drift_where_its_pipeline_is_watched_and_as_before_where_not(dag_bag, name):
    spec, timetable = load_all()[name], dag_bag.dags[f"retrain_{name}"].timetable
    condition = getattr(timetable, "asset_condition", None)
    names = [asset.name for asset in condition.objects] if condition else []
    assert names == [spec.dataset] * spec.is_daily + [f"drift/{name}"] * (spec.drift is not None)
    if spec.is_daily and spec.drift:
        # Of all its assets it would wait for both.
        assert type(condition).__name__ == AssetAny.__name__
    clock = getattr(timetable, "timetable", timetable)
    assert (clock.expression, str(clock.timezone)) == (spec.schedule.cron, spec.schedule.timezone)


@pytest.mark.parametrize(
    ("action", "follows"), [("none", None), ("alert", "alert"), ("ask", "ask"), ("retrain", "announce_drift")]
)
def test_each_action_has_one_task_that_follows(dag_bag, action, follows):
    assert drift.next_task(action) == follows
    assert follows is None or follows in dag_bag.dags["drift_check_higgs"].get_task("what_follows").downstream_task_ids


def test_an_action_that_nobody_knows_fails_at_once_and_announces_nothing():
    with pytest.raises(AirflowFailException, match="found the action 'panic'; required one of none, alert, ask"):
        drift.next_task("panic")


def test_the_branch_words_the_question_only_where_there_is_one(dag_bag, monkeypatch):
    context, pushed = run_of("what_follows")
    assert executed(dag_bag, monkeypatch, "what_follows", context) == "ask"
    asked = drift.question("higgs", FACTS)
    assert pushed == {"subject": asked.subject, "body": asked.body}
    context, pushed = run_of("what_follows", FACTS | {"action": "retrain"})
    assert executed(dag_bag, monkeypatch, "what_follows", context) == "announce_drift"
    assert pushed == {}


def test_a_question_holds_what_there_is_to_know():
    asked = drift.question("higgs", FACTS)
    assert asked.subject == "higgs: the rows have drifted. Train on them?"
    for known in ("reason", "window", "reference", "report"):
        assert FACTS[known] in asked.body
    assert "champion version 4" in asked.body
    assert "**Approve** starts `retrain_higgs`" in asked.body
    assert "not advised" not in asked.body


def test_a_question_about_broken_data_advises_against_training():
    asked = drift.question("higgs", BROKEN)
    assert asked.subject == "higgs: the data look broken. Training on them is not advised: train all the same?"
    assert asked.body.startswith("**The data look broken: training on them is not advised.**")
    assert "m_bb is gone" in asked.body


def test_every_question_is_an_alert_too_that_says_where_to_answer(sent):
    for facts in (FACTS, BROKEN):
        context, _ = run_of("ask")
        asked = drift.question("higgs", facts)
        QuestionAlert()(context | {"task": asked})
        subject, text, said = sent.pop()
        assert subject == asked.subject
        assert facts["reason"] in text
        assert f"within {PATIENCE.days} days" in text
        assert said["answer_at"] == "http://a/dags/d/runs/r1/tasks/ask/required_actions"


def test_the_question_is_read_from_the_branch_told_to_people_and_answered_no_by_silence(dag_bag):
    task = dag_bag.dags["drift_check_higgs"].get_task("ask")
    assert re.findall(r"task_ids='(\w+)', key='(\w+)'", task.subject + task.body) == [
        ("what_follows", "subject"), ("what_follows", "body"),
    ]  # fmt: skip
    assert [type(notifier) for notifier in task.notifiers] == [QuestionAlert]
    assert (task.defaults, task.response_timeout, task.fail_on_reject) == (["Reject"], PATIENCE, False)
    # The wait is bounded by the run as well, and by no limit of a process.
    assert task.response_timeout < task.dag.dagrun_timeout


def test_an_alert_names_reason_and_report(dag_bag, monkeypatch, sent):
    context, _ = run_of("alert", FACTS | {"action": "alert"})
    executed(dag_bag, monkeypatch, "alert", context)
    [(subject, text, said)] = sent
    assert subject == "higgs: the rows have drifted"
    assert text == f"{FACTS['reason']}\nReport: {FACTS['report']}"
    assert (said["dag_id"], said["run_id"], said["champion_version"]) == ("drift_check_higgs", "r1", 4)


@pytest.mark.parametrize(("action", "answer"), [("retrain", None), ("ask", YES)])
def test_drift_is_announced_where_the_policy_trains_or_a_person_says_yes(dag_bag, monkeypatch, runs, action, answer):
    TableVersion(dataset="bronze.higgs", table_version=3).write(runs / "drift_check_higgs" / "r1" / "version.json")
    context, _ = run_of("announce_drift", FACTS | {"action": action}, answer)
    executed(dag_bag, monkeypatch, "announce_drift", context)
    assert context["outlet_events"][drift_asset("higgs")].extra == {
        "pipeline": "higgs", "state": "drift", "reason": FACTS["reason"], "window": FACTS["window"],
        "report": FACTS["report"],
        "reference": "features.higgs/ab12", "champion_version": 4, "table_version": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "answer"), [("none", None), ("alert", None), ("ask", None), ("ask", NO), ("none", YES), ("alert", YES)]
)
def test_nothing_is_announced_otherwise_also_when_the_task_is_cleared_alone(dag_bag, monkeypatch, action, answer):
    context, _ = run_of("announce_drift", FACTS | {"action": action}, answer)
    with pytest.raises(AirflowSkipException, match=f"action is {action}, and nobody approved"):
        executed(dag_bag, monkeypatch, "announce_drift", context)
    assert context["outlet_events"][drift_asset("higgs")].extra == {}


def test_an_event_about_days_names_them_as_the_training_reads_them(tmp_path):
    Window(first_day="2026-11-18", last_day="2026-11-19", decided_by="data_interval").write(tmp_path / "window.json")
    extra = drift.event("access_log_volume", FACTS, tmp_path)
    assert (extra["first_day"], extra["last_day"]) == ("2026-11-18", "2026-11-19")
    assert "table_version" not in extra


def test_only_an_approval_is_one():
    assert is_approved(YES)
    assert not is_approved(NO)
    assert not is_approved(None)


def test_a_cell_cannot_end_its_table():
    table = markdown_table(("site", "mae"), [("A|B\nC", 18.61234), (None, 2)])
    assert table.splitlines() == ["| site | mae |", "| --- | --- |", "| A\\|B C | 18.61 |", "|  | 2 |"]
