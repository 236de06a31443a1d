"""The outbox: what was fitted when MLflow had gone away is registered by the next try, which fits nothing."""

import json
import math
import shutil
from argparse import Namespace
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
import requests
from pyspark.ml import PipelineModel

from contracts import pipelines
from contracts.errors import ConfigurationError, DependencyUnavailableError
from contracts.settings import Settings
from spark_apps import evaluate, fit, train
from spark_apps.io import ledger, model_runs, ops, outbox, registry, snapshots, tracking, verdicts
from spark_apps.io.outbox import Record
from spark_apps.io.pointers import Candidate, Decision, Snapshot
from spark_apps.io.registry import CHALLENGER, CHAMPION
from spark_apps.io.rollback import roll_back
from spark_apps.io.runs import Outcome
from spark_apps.io.tracking import mlflow
from spark_apps.io.verdicts import Verdict
from spark_apps.ml import families, features
from spark_apps.ml.clustering.profiles import Profile
from spark_apps.ml.fitted import Fitted
from spark_apps.ml.measuring.evidence import Evidence, Interval, Point, Subgroup
from spark_apps.ml.measuring.metrics import Errors, Probabilities
from spark_apps.ml.trials import Trial

SPEC = pipelines.load("access_log_volume")
START = datetime(1995, 7, 9, 4, tzinfo=UTC)
TAGS = {"run_key": "dag/run/train/-1", "snapshot": "features.p/abc", "spec_hash": "d" * 64, "split": "{}"}


@pytest.fixture(scope="module")
def judged(_spark_session, tmp_path_factory) -> tuple[Settings, Path]:
    """A snapshot of 385 minutes with a daily-like swell that passed its validation, and the pointer to it."""
    folder = tmp_path_factory.mktemp("outbox")
    settings = Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")
    expected = [round(10 + 5 * math.sin(m / 40)) + m % 3 for m in range(400)]
    rows = [(START + timedelta(minutes=m, seconds=60 * k / n), 0) for m, n in enumerate(expected) for k in range(n)]
    requested = _spark_session.createDataFrame(rows, "requested_at timestamp, utc_offset_min int")
    built = features.trainable(features.build(requested, SPEC), SPEC)
    snapshot = snapshots.write(built, SPEC.snapshot_name, settings, key=SPEC.key, provenance={"spec_hash": SPEC.hash})
    verdicts.record(ops.connect(settings.ops_database), verdict(snapshot))
    snapshot.write_pointer(folder / "snapshot.json")
    return settings, folder / "snapshot.json"


def verdict(snapshot: Snapshot) -> Verdict:
    return Verdict(
        dataset=snapshot.name, content_hash=snapshot.hash, suite_hash="s", passed=True, run_key="k", judged_at=START,
        report="", rows=snapshot.rows,
    )  # fmt: skip


def asked(pointer: Path, folder: Path, run: str) -> Namespace:
    """What Airflow asks train, evaluate and promote for in this run."""
    return Namespace(
        pipeline=SPEC, snapshot=pointer, candidate=folder / "candidate.json", decision=folder / "decision.json",
        fitted=None, dag_id="retrain", run_id=run, task_id="train", map_index=-1, try_number=1,
    )  # fmt: skip


def gone(*_args: object, **_named: object) -> None:
    raise requests.ConnectionError("MLflow has gone away")


def fitted_again(*_: object) -> None:
    pytest.fail("fitted again")


def kept(settings: Settings) -> list[str]:
    return sorted(str(path.relative_to(settings.state / "outbox")) for path in settings.state.glob("outbox/*/*/*/*/*"))


def test_a_record_survives_its_text_whatever_its_measures_are():
    errors = {
        "mean": Errors(rows=9, mae=math.inf, rmse=2.5, poisson_deviance=0.1, r2=None, bias=-1.0),
        "candidate": Probabilities(
            rows=9, roc_auc=0.7, roc_auc_sd=0.1, pr_auc=0.6, log_loss=0.5, brier=0.2, ece=0.1, ece_limit=0.2
        ),
    }
    fitted = Fitted(
        None, ["a", "b"], errors, "forest", {"depth": 3, "share": 0.5, "kind": "auto"},
        [Trial("forest", {"depth": 3}, (0.5, 0.25), 1.5, "done"), Trial("forest", {}, (), 0.0, "failed", "no rows")],
        Evidence(
            interval=Interval(metric="log_loss", low=0.4, high=0.6),
            subgroups=(Subgroup(column="a", value="1", rows=4, measure=None),), curves={"roc": (Point(x=0, y=1),)},
        ),
        (Profile(cluster=1, rows=9, share=1.0, means={"a": 0.5}),),
    )  # fmt: skip
    found = Record.model_validate(json.loads(Record.of(fitted, TAGS).to_json()))
    assert found.fitted(None) == fitted
    assert list(found.errors) == ["mean", "candidate"]
    assert found.tags == TAGS


@pytest.mark.spark
def test_a_model_that_mlflow_did_not_take_is_registered_by_the_next_try_without_a_fit(
    spark, judged, tmp_path, monkeypatch
):
    settings, pointer = judged
    args = asked(pointer, tmp_path, "first")
    # The last thing that a training asks of MLflow.
    with monkeypatch.context() as patched:
        patched.setattr(mlflow, "register_model", gone)
        with pytest.raises(DependencyUnavailableError) as refusal:
            train.main(args, settings, spark)
    assert refusal.value.exit_code == 5
    assert "(--run-id first) registers it, and fits nothing" in str(refusal.value)
    assert "found MLflow has gone away" in str(refusal.value)
    assert not args.candidate.exists()
    assert kept(settings) == ["access_log_volume/retrain/first/train/-1"]
    monkeypatch.setattr(families, "fit_and_rate", fitted_again)
    with monkeypatch.context() as patched:
        patched.setattr(mlflow.spark, "log_model", gone)
        with pytest.raises(DependencyUnavailableError):
            train.main(args, settings, spark)
    assert len(kept(settings)) == 1
    # The code may be another by now, but not the one that fitted.
    monkeypatch.setattr(train.specs, "git_revision", lambda: "later")
    outcome = train.main(args, settings, spark)
    assert kept(settings) == []
    candidate = Candidate.read(args.candidate, pipeline=SPEC.name)
    assert candidate.version == outcome.facts["model_version"]
    with tracking.connected(settings) as client:
        version = registry.by_alias(client, SPEC.name, CHALLENGER)
        assert version == registry.by_number(client, SPEC.name, candidate.version)
        model = model_runs.load(settings, version)
        table = json.loads(Path(client.download_artifacts(version.run_id, "metrics.json")).read_text())
        assert {each.path for each in client.list_artifacts(version.run_id)} >= {
            "evidence.json", "model_card.html", "plots", "spec.json", "trials.json",
        }  # fmt: skip
    assert version.tags["git_revision"] != "later"
    assert (version.tags["run_key"], version.split) == ("retrain/first/train/-1", candidate.split)
    assert table["rows"] == outcome.facts["errors"]
    # The model that came back says what the one that was fitted says.
    monkeypatch.undo()
    frame = snapshots.read(spark, candidate.snapshot, settings)
    mae = families.judge(
        candidate.split.train(frame), candidate.split.holdout(frame), {"again": model}, SPEC
    ).measures()["again"].mae  # fmt: skip
    assert mae == pytest.approx(outcome.metrics["mae"], rel=1e-12)


@pytest.mark.spark
@pytest.mark.parametrize("other", ["snapshot", "spec_hash", "split"])
def test_what_was_kept_for_something_else_is_removed_and_ignored(spark, settings, other):
    place = outbox.keep(settings, "p", Fitted(PipelineModel([]), [], {}, "none", {}, []), TAGS)
    assert outbox.find(settings, "p", {**TAGS, "run_key": "dag/another/train/-1"}) is None
    assert outbox.find(settings, "p", TAGS)
    assert outbox.find(settings, "p", {**TAGS, other: "another"}) is None
    assert not place.exists()


@pytest.mark.spark
@pytest.mark.parametrize("text", ['{"tags": {}}', "{", None])
def test_a_record_that_cannot_be_read_is_removed_and_ignored(spark, settings, text):
    place = outbox.keep(settings, "p", Fitted(PipelineModel([]), [], {}, "none", {}, []), TAGS)
    if text is None:
        (place / "record.json").unlink()
    else:
        (place / "record.json").write_text(text)
    assert outbox.find(settings, "p", TAGS) is None
    assert not place.exists()


@pytest.mark.spark
def test_a_try_that_was_killed_while_it_kept_a_model_leaves_nothing_that_is_found(spark, settings, monkeypatch):
    fitted = Fitted(PipelineModel([]), [], {}, "none", {}, [])
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "write_atomically", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            outbox.keep(settings, "p", fitted, TAGS)
    assert not (settings.state / "outbox" / "p" / TAGS["run_key"]).exists()
    assert outbox.find(settings, "p", TAGS) is None
    outbox.keep(settings, "p", fitted, TAGS)
    found, tags = outbox.find(settings, "p", TAGS)
    assert (replace(found, model=None), tags) == (replace(fitted, model=None), TAGS)
    outbox.remove(settings, "p", TAGS["run_key"])
    assert outbox.find(settings, "p", TAGS) is None


@pytest.mark.spark
def test_evaluate_after_a_rollback_compares_with_the_champion_that_came_back(spark, judged, tmp_path):
    settings, pointer = judged
    engine = ops.connect(settings.ops_database)
    args = asked(pointer, tmp_path, "second")
    older, newer = (train.main(args, settings, spark).facts["model_version"] for _ in range(2))
    with tracking.connected(settings) as client:
        for version, champion in ((older, None), (newer, older)):
            decision = Decision(
                pipeline=SPEC.name, promote=True, reason="", candidate_version=version, champion_version=champion,
                snapshot_hash="c", evidence={"by": "hand"},
            )  # fmt: skip
            registry.carry_out(client, engine, decision, run_key="k")
        roll_back(client, engine, SPEC.name, run_key="k")
    outcome = evaluate.main(args, settings, spark)
    assert (outcome.facts["candidate_version"], outcome.facts["champion_version"]) == (newer, older)
    assert outcome.facts["decision"] == "keep"
    with tracking.connected(settings) as client:
        assert registry.by_alias(client, SPEC.name, CHAMPION).version == older
    assert ledger.champion(ledger.history(engine, SPEC.name), datetime.now(UTC)).action == "rollback"


@pytest.fixture(scope="module")
def node(_spark_session, judged, tmp_path_factory) -> tuple[Path, Outcome]:
    """What a node leaves that has a copy of the snapshot, and neither a verdict nor MLflow."""
    _, pointer = judged
    folder = tmp_path_factory.mktemp("node")
    rows = shutil.copytree(Snapshot.read_pointer(pointer).path, folder / "rows")
    args = asked(pointer, folder, "elsewhere")
    args.rows, args.out = rows, folder / "out"
    far = Settings(state=folder / "state", mlflow_uri="http://127.0.0.1:9")
    return folder / "out", fit.main(args, far, _spark_session)


@pytest.mark.spark
def test_a_model_that_was_fitted_on_another_machine_is_registered_with_its_measures(
    spark, judged, node, tmp_path, monkeypatch
):
    settings, pointer = judged
    out, left = node
    args = asked(pointer, tmp_path, "local")
    local = train.main(args, settings, spark)
    args = asked(pointer, tmp_path, "registered")
    args.fitted = out / fit.FITTED
    monkeypatch.setattr(families, "fit_and_rate", fitted_again)
    registered = train.main(args, settings, spark)
    assert registered.metrics == left.metrics == pytest.approx(local.metrics, rel=1e-9)
    with tracking.connected(settings) as client:
        tags = registry.by_number(client, SPEC.name, registered.facts["model_version"]).tags
    assert tags["run_key"] == "retrain/registered/train/-1"


@pytest.mark.spark
def test_every_file_of_the_model_comes_with_its_checksum(node):
    out, left = node
    assert {each.path for each in left.artefacts} == {
        str(path.relative_to(out)) for path in (out / fit.FITTED).rglob("*") if path.is_file()
    }
    assert all(sha256((out / each.path).read_bytes()).hexdigest() == each.sha256 for each in left.artefacts)


@pytest.mark.spark
def test_a_model_of_another_snapshot_is_not_registered(spark, judged, node, tmp_path):
    settings, pointer = judged
    record = json.loads((node[0] / fit.FITTED / "record.json").read_text())
    other = shutil.copytree(node[0] / fit.FITTED, tmp_path / "other")
    (other / "record.json").write_text(json.dumps(record | {"tags": record["tags"] | {"snapshot": "features.p/abc"}}))
    args = asked(pointer, tmp_path, "stranger")
    args.fitted = other
    with pytest.raises(ConfigurationError, match="a model of something else"):
        train.main(args, settings, spark)
