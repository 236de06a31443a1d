"""The model registry and the promotion ledger: what is registered, who is champion, and what is written about it."""

import json
import math
import os
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from contracts import pipelines
from contracts.errors import ConfigurationError, DependencyUnavailableError, QualityGateError
from contracts.settings import Settings
from spark_apps.io import ledger, model_runs, ops, registry, specs, tracking
from spark_apps.io.pointers import Candidate, Decision, Snapshot
from spark_apps.io.registry import ARCHIVED, CHALLENGER, CHAMPION, STAGE
from spark_apps.ml import features, training
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.splitting import splits

SPEC = pipelines.load("access_log_volume")
START = datetime(1995, 7, 9, 4, tzinfo=UTC)
SNAPSHOT = Snapshot(
    name=SPEC.snapshot_name, hash="c" * 64, rows=385, path="", key=("minute_at",), provenance={"table_version": 3}
)


@pytest.fixture(scope="module")
def trained(_spark_session):
    """A frame of 385 minutes with a daily-like swell, its split, and a model of it."""
    expected = [round(10 + 5 * math.sin(m / 40)) + m % 3 for m in range(400)]
    rows = [(START + timedelta(minutes=m, seconds=60 * k / n), 0) for m, n in enumerate(expected) for k in range(n)]
    requests = _spark_session.createDataFrame(rows, "requested_at timestamp, utc_offset_min int")
    built = features.trainable(features.build(requests, SPEC), SPEC)
    frame = _spark_session.createDataFrame(built.collect(), built.schema)
    split = splits.newest_as_holdout(frame, ordered_by="minute_at", holdout_fraction=0.2)
    return frame, split, training.fit_and_rate(frame, split, SPEC)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Settings:
    """One MLflow database for the module: making one takes seconds."""
    folder = tmp_path_factory.mktemp("registry")
    return Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")


def registered(settings: Settings, trained, name: str) -> registry.Version:
    """A new version of model ``name``; every test uses a name of its own."""
    frame, split, fitted = trained
    spec = SPEC.model_copy(update={"name": name})
    tags = model_runs.origin(spec, SNAPSHOT, split, fitted, revision="abc", run_key="dag/run/train/-1")
    with tracking.connected(settings) as client:
        return model_runs.register(client, settings, spec, fitted, split.train(frame), tags=tags, run_name="run")


def decided(name: str, candidate: int | None, champion: int | None, *, promote: bool, snapshot: str = "c") -> Decision:
    return Decision(
        pipeline=name, promote=promote, reason="because", candidate_version=candidate, champion_version=champion,
        snapshot_hash=snapshot * 64, evidence={"mae": 1.5},
    )  # fmt: skip


def carried_out(settings: Settings, decision: Decision) -> bool:
    with tracking.connected(settings) as client:
        return registry.carry_out(client, ops.connect(settings.ops_database), decision, run_key="dag/run/promote/-1")


def aliases(settings: Settings, name: str) -> dict[str, int]:
    with tracking.connected(settings) as client:
        found = {alias: registry.by_alias(client, name, alias) for alias in (CHALLENGER, CHAMPION, ARCHIVED)}
    return {alias: version.version for alias, version in found.items() if version}


def written(settings: Settings, name: str) -> list[ledger.Entry]:
    return ledger.history(ops.connect(settings.ops_database), name)


@pytest.mark.spark
def test_a_registered_model_says_where_it_came_from_and_predicts_the_same(shared, trained):
    frame, split, fitted = trained
    scratch = shared.state / "tmp"
    before = sorted(scratch.iterdir()) if scratch.exists() else []
    version = registered(shared, trained, "origin")
    assert sorted(scratch.iterdir()) == before
    assert (version.version, aliases(shared, "origin")) == (1, {CHALLENGER: 1})
    with tracking.connected(shared) as client:
        found = registry.by_number(client, "origin", 1)
        run = client.get_run(version.run_id)
        table = json.loads(Path(client.download_artifacts(version.run_id, "metrics.json")).read_text())
        loaded = model_runs.load(shared, found)
    assert found.tags["snapshot"] == f"{SPEC.snapshot_name}/{SNAPSHOT.hash}"
    assert (found.tags["git_revision"], found.tags["seed"], found.tags[STAGE]) == ("abc", "20", "Staging")
    assert found.tags["spec_hash"] == SPEC.model_copy(update={"name": "origin"}).hash
    assert json.loads(found.tags["snapshot_provenance"]) == {"table_version": 3}
    assert (found.split, found.columns) == (split, fitted.columns)
    assert run.data.params["reg_param"] == "0.01"
    assert run.data.metrics["mae"] == fitted.errors["candidate"].mae
    assert [row["predictor"] for row in table["rows"]] == ["mean", "persistence", "rolling_mean_5", "candidate"]
    both = fitted.model.transform(frame).select("minute_at", F.col(PREDICTION).alias("a")).join(
        loaded.transform(frame).select("minute_at", F.col(PREDICTION).alias("b")), on="minute_at", how="inner"
    )  # fmt: skip
    assert both.where("abs(a - b) > 1e-12").count() == 0
    assert both.count() == frame.count()


@pytest.mark.spark
def test_a_champion_forecasts_with_the_features_it_was_trained_on(shared, trained):
    version = registered(shared, trained, "as_trained")
    changed = SPEC.model_copy(update={"features": SPEC.features.model_copy(update={"lags_min": (1,)})})
    assert version.as_trained(changed).features == SPEC.features


@pytest.mark.spark
def test_a_version_answers_only_the_question_it_was_trained_for(shared, trained):
    version = registered(shared, trained, "question")
    assert version.can_answer(SPEC, [*SPEC.features.columns, "more"])
    assert not version.can_answer(SPEC, ["lag_1"])
    assert not version.can_answer(SPEC.model_copy(update={"label": "errors"}), SPEC.features.columns)
    series = pipelines.load("uk_traffic").features
    assert not version.can_answer(SPEC.model_copy(update={"features": series}), SPEC.features.columns)
    with pytest.raises(QualityGateError, match="Train and promote a new version"):
        version.as_trained(SPEC.model_copy(update={"features": series}))


@pytest.mark.spark
def test_promotions_move_the_aliases_and_write_the_ledger_once(shared, trained):
    name = "promoted"
    for _ in range(2):
        registered(shared, trained, name)
    first = decided(name, 1, None, promote=True)
    assert carried_out(shared, first)
    assert aliases(shared, name) == {CHALLENGER: 2, CHAMPION: 1}
    assert not carried_out(shared, first)
    second = decided(name, 2, 1, promote=True)
    assert carried_out(shared, second)
    assert aliases(shared, name) == {CHAMPION: 2, ARCHIVED: 1}
    # An old decision that is carried out again must not bring the old champion back.
    assert not carried_out(shared, first)
    assert aliases(shared, name) == {CHAMPION: 2, ARCHIVED: 1}
    entries = written(shared, name)
    assert [(e.action, e.from_version, e.to_version) for e in entries] == [
        ("promote", None, 1),
        ("promote", 1, 2),
    ]
    assert {(e.why, e.run_key, e.evidence["mae"]) for e in entries} == {("because", "dag/run/promote/-1", 1.5)}
    assert all(e.who and e.applied_at >= e.at for e in entries)
    with tracking.connected(shared) as client:
        assert [registry.by_number(client, name, v).tags[STAGE] for v in (1, 2)] == ["Archived", "Production"]


@pytest.mark.spark
def test_a_candidate_that_was_not_chosen_is_archived_and_written_down(shared, trained):
    name = "kept"
    for _ in range(2):
        registered(shared, trained, name)
    carried_out(shared, decided(name, 1, None, promote=True))
    assert carried_out(shared, decided(name, 2, 1, promote=False))
    assert aliases(shared, name) == {CHAMPION: 1}
    # The champion asked about itself: it stays what it is.
    assert carried_out(shared, decided(name, 1, 1, promote=False))
    with tracking.connected(shared) as client:
        assert [registry.by_number(client, name, v).tags[STAGE] for v in (1, 2)] == ["Production", "Archived"]
    assert [(e.action, e.to_version) for e in written(shared, name)] == [("promote", 1), ("keep", 1), ("keep", 1)]


@pytest.mark.spark
def test_a_decision_about_another_champion_is_refused(shared, trained):
    name = "overtaken"
    for _ in range(3):
        registered(shared, trained, name)
    carried_out(shared, decided(name, 1, None, promote=True))
    carried_out(shared, decided(name, 2, 1, promote=True))
    with pytest.raises(QualityGateError, match="found champion 2; required champion 1"):
        carried_out(shared, decided(name, 3, 1, promote=True))
    assert aliases(shared, name)[CHAMPION] == 2
    assert len(written(shared, name)) == 2


@pytest.mark.spark
def test_a_promotion_that_crashed_between_ledger_and_alias_is_finished_by_the_next_try(shared, trained, monkeypatch):
    name = "crashed"
    registered(shared, trained, name)
    decision = decided(name, 1, None, promote=True)
    with monkeypatch.context() as planted:
        planted.setattr(registry, "apply", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            carried_out(shared, decision)
    assert (aliases(shared, name), written(shared, name)[0].applied_at) == ({CHALLENGER: 1}, None)
    assert carried_out(shared, decision)
    assert aliases(shared, name) == {CHAMPION: 1}
    assert [e.applied_at is None for e in written(shared, name)] == [False]


def test_no_champion_is_none_and_not_an_error(shared):
    assert aliases(shared, "never_trained") == {}


def test_nothing_to_decide_is_kept_without_a_model(shared):
    assert carried_out(shared, decided("empty", None, None, promote=False))
    assert [(e.action, e.from_version, e.to_version) for e in written(shared, "empty")] == [("keep", None, None)]


def test_a_server_that_is_down_is_named_at_once(settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    down = settings.model_copy(update={"mlflow_uri": f"http://127.0.0.1:{port}"})
    began = time.monotonic()
    with (
        pytest.raises(DependencyUnavailableError, match=f"an answer from http://127.0.0.1:{port}") as refusal,
        tracking.connected(down),
    ):
        pytest.fail("the block must not run")
    assert refusal.value.exit_code == 5
    assert time.monotonic() - began < 10


def test_a_server_that_answers_health_and_then_hangs_is_given_up(settings, monkeypatch):
    """A real server socket that never answers again; the first answer is what the health check got."""
    tries, timeout_s = (
        int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) + 1,
        int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]),
    )
    assert tries * (timeout_s + 2) + 2 * 5 < 60
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            healthy, _ = server.accept()
            healthy.recv(4096)
            healthy.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
            healthy.close()

        threading.Thread(target=serve, daemon=True).start()
        hanging = settings.model_copy(update={"mlflow_uri": f"http://127.0.0.1:{server.getsockname()[1]}"})
        began = time.monotonic()
        with pytest.raises(DependencyUnavailableError), tracking.connected(hanging) as client:
            registry.by_alias(client, SPEC.name, CHAMPION)
        assert time.monotonic() - began < 20


def test_a_decision_is_the_same_whenever_it_was_asked():
    decision = decided("p", 2, 1, promote=True)
    assert decision.model_copy(update={"reason": "other words", "evidence": {}}).id == decision.id
    others = [
        decided("q", 2, 1, promote=True), decided("p", 3, 1, promote=True), decided("p", 2, None, promote=True),
        decided("p", 2, 1, promote=False), decided("p", 2, 1, promote=True, snapshot="d"),
    ]  # fmt: skip
    assert len({decision.id, *[other.id for other in others]}) == 6


def test_pointers_survive_a_round_trip_and_refuse_another_pipeline(tmp_path):
    split = splits.TimeBounds(
        ordered_by="minute_at", train_from=START, train_until=START, holdout_from=START + timedelta(minutes=1),
        holdout_until=START + timedelta(minutes=2), train_rows=1, holdout_rows=2,
    )  # fmt: skip
    candidate = Candidate(
        pipeline="p",
        status="registered",
        reason="",
        snapshot=SNAPSHOT,
        version=1,
        run_id="r",
        split=split,
    )
    candidate.write(tmp_path / "candidate.json")
    assert Candidate.read(tmp_path / "candidate.json", pipeline="p") == candidate
    with pytest.raises(ConfigurationError, match="of pipeline p; required one of pipeline q"):
        Candidate.read(tmp_path / "candidate.json", pipeline="q")
    with pytest.raises(ConfigurationError, match=r"decision\.json"):
        Decision.read(tmp_path / "decision.json", pipeline="p")
    assert Decision.without_candidate(candidate).facts["decision"] == "keep"


def test_the_git_revision_is_the_commit_marked_when_files_differ(tmp_path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", "-C", tmp_path, *who, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert specs.git_revision(tmp_path) == "unknown"
    git("init", "-q")
    assert specs.git_revision(tmp_path) == "unknown"
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    assert specs.git_revision(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("2")
    assert specs.git_revision(tmp_path) == git("rev-parse", "HEAD") + "+dirty"
