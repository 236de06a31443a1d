"""Pipelines whose candidates a person must approve: no shipped one does, so these are specs of the tests' own."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from contracts import pipelines
from dags.operators import promotion
from dags.operators.announcements import candidate_asset
from dags.operators.approvals import PATIENCE
from dags.operators.spark import SparkApplication
from dags.promote import promote
from dags.retrain import retrain
from infra.docs import dag_pages
from tests.dags.rendering import command

FACTS = {"decision": "promote", "reason": "It is 5 % better.", "candidate_version": 5, "champion_version": 4}
DECISION = {
    "pipeline": "higgs", "promote": True, "reason": "It is 5 % better.", "candidate_version": 5, "champion_version": 4,
    "snapshot_hash": "ab12",
    "evidence": {
        "errors": [
            {"predictor": "prior", "roc_auc": 0.5, "log_loss": 0.69159},
            {"predictor": "candidate", "roc_auc": 0.81234, "log_loss": 0.52, "skill_vs_prior": 0.62},
            {"predictor": "champion 4", "roc_auc": 0.77, "log_loss": 0.55, "skill_vs_prior": None},
        ]
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def asking():
    """The DAGs of higgs and access_log_volume, if these asked a person before they promote."""
    shipped = pipelines.load_all()
    specs = [shipped[name].model_copy(update={"promotion": "ask"}) for name in ("higgs", "access_log_volume")]
    return {dag.dag_id: dag for spec in specs for dag in (retrain(spec), promote(spec))}


def event(decision, minute=0, **extra):
    at = datetime(2026, 11, 20, 12, minute, tzinfo=UTC)
    return SimpleNamespace(asset=candidate_asset("higgs"), timestamp=at, extra={"decision": str(decision)} | extra)


def context_of(dag_id, monkeypatch, *events):
    pulled, pushed = {"evaluate": {"facts": FACTS}}, {}
    ti = SimpleNamespace(
        xcom_pull=lambda task_ids: pulled[task_ids], xcom_push=lambda key, value: pushed.update({key: value})
    )
    run = SimpleNamespace(dag_id=dag_id, run_id="r1", consumed_asset_events=list(events))
    context = {"ti": ti, "dag_run": run, "outlet_events": {candidate_asset("higgs"): SimpleNamespace(extra={})}}
    monkeypatch.setattr(promotion, "get_current_context", lambda: context)
    return context, pushed


def test_no_shipped_pipeline_asks_and_each_promotes_as_before(dag_bag):
    assert {spec.promotion for spec in pipelines.load_all().values()} == {"automatic"}
    assert not [dag_id for dag_id in dag_bag.dags if dag_id.startswith("promote_")]
    for name in pipelines.names():
        assert dag_bag.dags[f"retrain_{name}"].get_task("evaluate").downstream_task_ids == {"promote"}


def test_who_promotes_and_how_a_champion_is_watched_are_no_part_of_what_a_model_is_made_of(spec_files):
    shipped = pipelines.load("higgs")
    path = spec_files / "higgs.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "promotion: ask\n", encoding="utf-8")
    asks = pipelines.load("higgs", spec_files)
    assert (asks.promotion, asks.hash) == ("ask", shipped.hash)
    assert shipped.drift is not None
    assert shipped.model_copy(update={"drift": None}).hash == shipped.hash


def test_a_training_that_asks_ends_with_an_announcement_instead_of_a_promotion(asking):
    dag = asking["retrain_higgs"]
    assert dag.get_task("evaluate").downstream_task_ids == {"announce_candidate"}
    assert dag.get_task("announce_candidate").downstream_task_ids == set()
    assert not dag.has_task("promote")
    outlets = {task.task_id: [outlet.name for outlet in task.outlets] for task in dag.tasks if task.outlets}
    assert outlets == {"announce_candidate": ["candidate/higgs"]}
    assert "which a person must approve in `promote_higgs`" in dag.doc_md
    assert "skipped `announce_candidate` that the champion stays" in dag.doc_md


def test_where_a_person_promotes_the_champion_of_the_moment_still_forecasts(asking):
    assert asking["retrain_access_log_volume"].get_task("score").upstream_task_ids == {"validate", "announce_candidate"}


def test_only_pipelines_that_ask_have_a_dag_that_asks(bag_with):
    dags = bag_with(higgs="promotion: ask\n").dags
    assert [dag_id for dag_id in dags if dag_id.startswith("promote_")] == ["promote_higgs"]
    assert dags["retrain_higgs"].has_task("announce_candidate")
    assert not dags["retrain_uk_traffic"].has_task("announce_candidate")


def test_a_promotion_starts_on_the_candidate_asks_and_carries_out_what_was_asked_about(asking):
    dag = asking["promote_higgs"]
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["candidate/higgs"]
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "resolve_decision": {"ask"}, "ask": {"promote"}, "promote": set(),
    }  # fmt: skip
    ask = dag.get_task("ask")
    assert "task_ids='resolve_decision'" in ask.subject
    assert (ask.defaults, ask.response_timeout) == (["Reject"], PATIENCE)
    assert ask.response_timeout < dag.dagrun_timeout
    words = command(dag, dag.get_task("promote")).splitlines()
    assert words[words.index("--pipeline") + 1] == "higgs"
    assert words[words.index("--decision") + 1].startswith("{state}/runs/promote_higgs/")
    assert words[words.index("--decision") + 1].endswith("/decision.json")


def test_its_page_says_where_it_starts_and_that_it_asks(asking):
    page = dag_pages._section(asking["promote_higgs"])
    assert "| Starts | on the asset `candidate/higgs` |" in page
    assert "| `ask` | asks a person |  | 72 h | all success |" in page
    assert "docs/runbooks/promote.md" in page


def test_spark_tasks_of_a_promotion_are_those_of_the_platform(asking):
    applications = [task for task in asking["promote_higgs"].tasks if isinstance(task, SparkApplication)]
    assert [(task.task_id, task.profile) for task in applications] == [("promote", "small")]


def test_a_candidate_that_passed_is_announced_with_the_file_that_says_why(asking, monkeypatch, runs):
    context, _ = context_of("retrain_higgs", monkeypatch)
    asking["retrain_higgs"].get_task("announce_candidate").python_callable()
    assert context["outlet_events"][candidate_asset("higgs")].extra == {
        "decision": str(runs / "retrain_higgs" / "r1" / "decision.json"), "candidate_version": 5, "champion_version": 4,
        "reason": "It is 5 % better.",
    }  # fmt: skip


def test_a_candidate_that_did_not_pass_is_not_announced(asking, monkeypatch):
    monkeypatch.setitem(FACTS, "decision", "keep")
    context, _ = context_of("retrain_higgs", monkeypatch)
    with pytest.raises(AirflowSkipException, match=r"the champion stays: It is 5 % better\."):
        asking["retrain_higgs"].get_task("announce_candidate").python_callable()
    assert context["outlet_events"][candidate_asset("higgs")].extra == {}


@pytest.fixture
def resolve(asking, monkeypatch, runs):
    """Run the first task of promote_higgs, started by some events: the decision of its run, and the question."""

    def asked(*events):
        _, pushed = context_of("promote_higgs", monkeypatch, *events)
        asking["promote_higgs"].get_task("resolve_decision").python_callable()
        copied = runs / "promote_higgs" / "r1" / "decision.json"
        return json.loads(copied.read_text(encoding="utf-8")), pushed

    return asked


def decided(folder, name, **changes):
    path = folder / name / "decision.json"
    path.parent.mkdir()
    path.write_text(json.dumps(DECISION | changes), encoding="utf-8")
    return path


def test_what_is_approved_is_what_is_carried_out_whatever_the_training_writes_later(tmp_path, resolve):
    path = decided(tmp_path, "training")
    assert resolve(event(path))[0] == DECISION
    path.write_text(json.dumps(DECISION | {"candidate_version": 6}), encoding="utf-8")
    decision, asked = resolve(event(path))
    assert decision == DECISION
    assert asked["subject"] == "higgs: make version 5 the champion?"


def test_of_several_candidates_in_one_run_the_last_is_asked_about(tmp_path, resolve):
    older, newer = decided(tmp_path, "older"), decided(tmp_path, "newer", candidate_version=6)
    assert resolve(event(newer, minute=9), event(older, minute=3))[0]["candidate_version"] == 6


def test_a_run_without_a_candidate_fails_at_once_and_says_where_one_comes_from(resolve):
    with pytest.raises(AirflowFailException, match="found no asset event; required an event of candidate/higgs"):
        resolve()
    with pytest.raises(AirflowFailException, match="run retrain_higgs"):
        resolve(SimpleNamespace(timestamp=1, extra={}))


def test_a_decision_that_is_gone_fails_at_once_and_names_the_file(tmp_path, resolve):
    with pytest.raises(AirflowFailException, match=r"found no file .*gone/decision\.json"):
        resolve(event(tmp_path / "gone" / "decision.json"))


def test_a_question_holds_the_reason_and_everybodys_errors(tmp_path, resolve):
    _, asked = resolve(event(decided(tmp_path, "training")))
    assert asked["body"].startswith("It is 5 % better.\n\n")
    assert (
        "| predictor | roc_auc | log_loss | skill_vs_prior |\n| --- | --- | --- | --- |\n"
        "| prior | 0.5 | 0.6916 |  |\n| candidate | 0.8123 | 0.52 | 0.62 |\n| champion 4 | 0.77 | 0.55 |  |\n"
    ) in asked["body"]
    assert "makes version 5 the champion of `higgs` in place of version 4" in asked["body"]


def test_a_question_about_the_first_candidate_says_that_there_is_no_champion():
    assert "in place of no champion yet" in promotion.question(DECISION | {"champion_version": None}).body
