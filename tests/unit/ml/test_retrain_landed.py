"""From landed files to a champion, application by application, on the first rows of the shipped HIGGS files."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts import pipelines
from contracts.datasets import dataset
from contracts.errors import ConfigurationError, QualityGateError
from contracts.pipelines.algorithms import LogisticRegression, RandomForest
from contracts.settings import Settings
from contracts.windows import TableVersion
from spark_apps import build_features, evaluate, ingest, promote, repeat, train, validate
from spark_apps.io import model_runs, registry, tables, tracking

if TYPE_CHECKING:
    from argparse import Namespace

    from pyspark.sql import SparkSession

    from contracts.pipelines import PipelineSpec
    from spark_apps.io.runs import Outcome

pytestmark = [pytest.mark.spark, pytest.mark.long]

FILES = ("higgs_rows_0_9999_rounded.csv", "higgs_random_10984_labelled_last.csv")
ROWS = 3000


class Retraining:
    """The steps of one run, as the DAG calls them."""

    def __init__(self, spark: SparkSession, settings: Settings, folder: Path) -> None:
        self.spark, self.settings, self.folder = spark, settings, folder
        found = pipelines.load("higgs")
        # Few and small: what is tested here is the way, not the figures.
        algorithms = (LogisticRegression(name="logistic_regression"), RandomForest(name="random_forest", num_trees=5))
        gate = found.gate.model_copy(update={"min_skill": 0.1})
        self.spec: PipelineSpec = found.model_copy(update={"algorithms": algorithms, "gate": gate, "calibration": None})

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, app, *arguments: str) -> Outcome:
        args: Namespace = app.parse_args(["--run-id", "r", *arguments])
        if hasattr(args, "pipeline"):
            args.pipeline = self.spec
        return app.main(args, self.settings, self.spark)

    def up_to_snapshot(self) -> Outcome:
        version = tables.version(self.spark, dataset("bronze.higgs"), self.settings.lake)
        TableVersion(dataset="bronze.higgs", table_version=version).write(self.folder / "version.json")
        self.run(validate, "--dataset", "bronze.higgs", "--at", self.file("version.json"))
        built = self.run(
            build_features, "--pipeline", "higgs", "--at", self.file("version.json"),
            "--snapshot", self.file("snapshot.json"),
        )  # fmt: skip
        self.run(validate, "--snapshot", self.file("snapshot.json"))
        return built

    def train(self) -> Outcome:
        paths = ("--snapshot", self.file("snapshot.json"), "--candidate", self.file("candidate.json"))
        return self.run(train, "--pipeline", "higgs", *paths)

    def decide(self) -> Outcome:
        paths = ("--candidate", self.file("candidate.json"), "--decision", self.file("decision.json"))
        return self.run(evaluate, "--pipeline", "higgs", *paths)


@pytest.fixture(scope="module")
def landed(_spark_session, samples, tmp_path_factory) -> Retraining:
    """A lake with the first rows of both files."""
    folder = tmp_path_factory.mktemp("landed")
    settings = Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")
    cut = []
    for name in FILES:
        with gzip.open(samples / "higgs" / f"{name}.gz", "rt") as file:
            lines = [next(file) for _ in range(ROWS + 1)]
        (folder / name).write_text("".join(lines))
        cut.append(str(folder / name))
    made = Retraining(_spark_session, settings, folder)
    made.run(ingest, "higgs", *cut)
    return made


def test_a_candidate_of_two_algorithms_becomes_champion_by_its_own_record(landed):
    built = landed.up_to_snapshot()
    assert built.rows == {"validated": 2 * ROWS, "candidates": 2 * ROWS, "snapshot": 2 * ROWS}
    trained = landed.train()
    assert trained.rows["train"] == ROWS
    assert trained.facts["trials"] == 2
    assert trained.facts["algorithm"] in ("logistic_regression", "random_forest")
    predictors = [row["predictor"] for row in trained.facts["errors"]]
    other = {"logistic_regression", "random_forest"} - {trained.facts["algorithm"]}
    assert predictors == ["prior", *other, "candidate"]
    decided = landed.decide()
    assert decided.facts["decision"] == "promote"
    evidence = json.loads((landed.folder / "decision.json").read_text())["evidence"]
    assert evidence["against_baseline"]["version 1"]["blocks"] == trained.rows["holdout"]
    # What train measured is what evaluate measures with the model that was stored.
    [ours] = [row for row in evidence["errors"] if row["predictor"] == "version 1"]
    [theirs] = [row for row in trained.facts["errors"] if row["predictor"] == "candidate"]
    assert {name: value for name, value in ours.items() if name != "predictor"} == pytest.approx(
        {name: value for name, value in theirs.items() if name != "predictor"}, abs=1e-9
    )
    landed.run(promote, "--pipeline", "higgs", "--decision", landed.file("decision.json"))
    with tracking.connected(landed.settings) as client:
        champion = registry.by_alias(client, "higgs", registry.CHAMPION)
        trials = json.loads(Path(client.download_artifacts(champion.run_id, "trials.json")).read_text())["trials"]
    assert champion.version == 1
    assert sorted({trial["algorithm"] for trial in trials}) == ["logistic_regression", "random_forest"]
    assert all(len(trial["losses"]) == 3 for trial in trials)


def test_a_version_is_trained_again_from_its_record_and_measures_the_same(landed):
    again = landed.run(repeat, "--pipeline", "higgs", "--version", "1")
    assert again.status == "done"
    assert max(again.facts["differences"].values()) <= repeat.TOLERANCE
    assert again.metrics["roc_auc"] == pytest.approx(again.facts["recorded"]["roc_auc"], abs=repeat.TOLERANCE)


def test_a_record_that_says_something_else_is_told(landed, monkeypatch):
    recorded = model_runs.record

    def other(client, version):
        found = recorded(client, version)
        return replace(found, measures=found.measures | {"brier": found.measures["brier"] + 1e-6})

    monkeypatch.setattr(model_runs, "record", other)
    with pytest.raises(QualityGateError, match=r"brier differs by 1\.00e-06"):
        landed.run(repeat, "--pipeline", "higgs", "--version", "1")


@pytest.mark.parametrize(("recorded", "found", "distance"), [
    (None, None, 0.0), (None, 1.0, math.inf), (1.0, None, math.inf), (math.nan, math.nan, 0.0), (1.0, 1.5, 0.5),
])  # fmt: skip
def test_what_only_one_side_measured_is_a_difference(recorded, found, distance):
    assert repeat.apart(recorded, found) == distance


def test_the_same_rows_train_the_same_model_and_the_champion_stays(landed):
    landed.up_to_snapshot()
    first = json.loads((landed.folder / "decision.json").read_text())["evidence"]["errors"]
    landed.train()
    decided = landed.decide()
    assert decided.facts["decision"] == "keep"
    assert "a gain of 0.0% over champion 1" in decided.message
    again = json.loads((landed.folder / "decision.json").read_text())["evidence"]["errors"]
    [before] = [row["log_loss"] for row in first if row["predictor"] == "version 1"]
    [after] = [row["log_loss"] for row in again if row["predictor"] == "version 2"]
    assert after == pytest.approx(before, abs=1e-9)


def test_a_version_that_nobody_judged_is_not_built_from(landed):
    TableVersion(dataset="bronze.higgs", table_version=0).write(landed.folder / "old.json")
    with pytest.raises(QualityGateError, match=r"version 0 of bronze\.higgs: found no verdict about this version"):
        landed.run(
            build_features, "--pipeline", "higgs", "--at", landed.file("old.json"),
            "--snapshot", landed.file("none.json"),
        )  # fmt: skip
    assert not (landed.folder / "none.json").exists()


def test_days_mean_nothing_to_a_landed_table(landed, capsys):
    with pytest.raises(SystemExit, match="2"):
        landed.run(build_features, "--pipeline", "higgs", "--window", "window.json", "--snapshot", "none.json")
    assert "higgs needs --at: its dataset is taken whole" in capsys.readouterr().err


def test_a_version_of_another_table_is_refused(landed):
    TableVersion(dataset="bronze.jobs", table_version=1).write(landed.folder / "other.json")
    with pytest.raises(ConfigurationError, match=r"required a version of bronze\.higgs"):
        landed.run(validate, "--dataset", "bronze.higgs", "--at", landed.file("other.json"))
    with pytest.raises(ConfigurationError, match=r"found version 1 of bronze\.jobs; required"):
        landed.run(
            build_features, "--pipeline", "higgs", "--at", landed.file("other.json"),
            "--snapshot", landed.file("none.json"),
        )  # fmt: skip


def test_a_snapshot_of_what_the_file_said_before_is_not_trained_on(landed):
    landed.up_to_snapshot()
    before = landed.spec
    landed.spec = before.model_copy(update={"seed": 7})
    try:
        with pytest.raises(ConfigurationError, match="which its file says now"):
            landed.train()
    finally:
        landed.spec = before


def test_a_side_without_files_is_not_enough_data_and_nothing_is_registered(landed):
    before = landed.spec
    split = before.split.model_copy(update={"holdout": "nothing*"})
    landed.spec = before.model_copy(update={"split": split})
    try:
        landed.up_to_snapshot()
        found = landed.train()
    finally:
        landed.spec = before
    assert found.status == "not_enough_data"
    assert found.message == (
        f"{ROWS} rows to train on and 0 to judge on; 1000 and 1000 are required; no file is called nothing*"
    )
