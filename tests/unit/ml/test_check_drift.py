"""A champion is watched: rows that landed later are held against its snapshot, application by application."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import select

from contracts import pipelines
from contracts.datasets import dataset
from contracts.errors import ConfigurationError, QualityGateError
from contracts.pipelines.algorithms import LogisticRegression
from contracts.pipelines.drift import DriftPolicy
from contracts.pipelines.parts import RandomSplit
from contracts.settings import Settings
from contracts.windows import TableVersion
from spark_apps import build_features, check_drift, evaluate, ingest, promote, train, validate
from spark_apps.io import drift_records, ops, tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from contracts.pipelines import PipelineSpec
    from spark_apps.io.runs import Outcome

pytestmark = pytest.mark.spark

FILE = "higgs_random_10984_labelled_last.csv"
KNOWN, FEW, CALM = 3000, 300, 1200
POLICY = DriftPolicy(cron="0 4 * * 1", action="retrain")


class Watched:
    """A lake with collisions, a champion of the first of them, and files that land later."""

    def __init__(self, spark: SparkSession, folder: Path, lines: list[list[str]]) -> None:
        self.spark, self.folder, self.lines = spark, folder, lines
        self.settings = Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")
        found = pipelines.load("higgs")
        split = RandomSplit(kind="random", holdout_fraction=0.4, min_train_rows=500, min_holdout_rows=500)
        self.spec: PipelineSpec = found.model_copy(
            update={
                "algorithms": (LogisticRegression(name="logistic_regression"),), "search": None, "split": split,
                "gate": found.gate.model_copy(update={"min_skill": 0.1}), "calibration": None, "drift": POLICY,
            }
        )  # fmt: skip
        self.runs = 0

    def run(self, app, *arguments: str) -> Outcome:
        args = app.parse_args(["--run-id", f"r{self.runs}", *arguments])
        if hasattr(args, "pipeline"):
            args.pipeline = self.spec
        return app.main(args, self.settings, self.spark)

    def land(self, name: str, lines: list[list[str]]) -> str:
        """Ingest and validate; the pointer of the new version."""
        path = self.folder / name
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([self.lines[0], *lines])
        self.run(ingest, "higgs", str(path))
        version = tables.version(self.spark, dataset("bronze.higgs"), self.settings.lake)
        pointer = self.folder / f"{name}.version.json"
        TableVersion(dataset="bronze.higgs", table_version=version).write(pointer)
        self.run(validate, "--dataset", "bronze.higgs", "--at", str(pointer))
        return str(pointer)

    def train(self, pointer: str, *because_of: str) -> Outcome:
        names = ("snapshot", "candidate", "decision")
        snapshot, candidate, decision = (str(self.folder / f"{name}.json") for name in names)
        named = ("--pipeline", "higgs")
        self.run(build_features, *named, "--at", pointer, *because_of, "--snapshot", snapshot)
        self.run(validate, "--snapshot", snapshot)
        self.run(train, *named, "--snapshot", snapshot, "--candidate", candidate)
        self.run(evaluate, *named, "--candidate", candidate, "--decision", decision)
        return self.run(promote, *named, "--decision", decision)

    def check(self, pointer: str) -> Outcome:
        self.runs += 1
        return self.run(check_drift, "--pipeline", "higgs", "--at", pointer)


def moved(lines: list[list[str]], column: str, by: float, head: list[str]) -> list[list[str]]:
    at = head.index(column)
    return [[*line[:at], str(float(line[at]) + by), *line[at + 1 :]] for line in lines]


def by_another_rule(lines: list[list[str]], head: list[str]) -> list[list[str]]:
    """Signal is what has a large m_bb, and one row in five is the contrary."""
    at = head.index("m_bb")
    return [[*line[:-1], str(int((float(line[at]) > 0.87) != (n % 5 == 0)))] for n, line in enumerate(lines)]


@pytest.fixture(scope="module")
def watched(_spark_session, samples, tmp_path_factory) -> Watched:
    with gzip.open(samples / "higgs" / f"{FILE}.gz", "rt") as file:
        head, *lines = list(csv.reader(file))
    lines = [lines[n] for n in np.random.default_rng(3).permutation(len(lines))]
    made = Watched(_spark_session, tmp_path_factory.mktemp("watched"), [head, *lines])
    assert made.check(made.land("known.csv", lines[:KNOWN])).status == "skipped"  # no champion yet
    assert made.train(str(made.folder / "known.csv.version.json")).status == "done"
    return made


@pytest.fixture(scope="module")
def checks(watched: Watched) -> dict[str, Outcome]:
    """Three files, landed one after the other: too few rows, enough of the same, and a third that is shifted."""
    head, rest = watched.lines[0], watched.lines[1 + KNOWN :]
    few = watched.check(watched.land("few.csv", rest[:FEW]))
    calm = watched.check(watched.land("calm.csv", rest[FEW : FEW + CALM]))
    shifted = moved(rest[FEW + CALM : FEW + CALM + 2000], "m_bb", 0.5, head)
    return {"few": few, "calm": calm, "drifted": watched.check(watched.land("drifted.csv", shifted))}


def test_few_new_rows_are_no_ground_for_a_judgement(checks):
    few = checks["few"]
    assert (few.status, few.facts["state"], few.facts["action"]) == ("not_enough_data", "not_enough_data", "none")
    assert few.rows == {"window": FEW}


def test_more_of_the_same_is_stable(checks):
    calm = checks["calm"]
    assert (calm.status, calm.facts["state"], calm.facts["action"]) == ("done", "stable", "none")
    assert calm.rows == {"window": FEW + CALM}
    # 28 features, the label and the champion's own answers.
    assert "None of 30 comparisons is drift" in calm.message


def test_a_shifted_column_leads_to_a_training_and_says_which(checks):
    drifted = checks["drifted"]
    assert (drifted.status, drifted.facts["state"], drifted.facts["action"]) == ("done", "drift", "retrain")
    assert "m_bb by 0." in drifted.message
    assert drifted.facts["champion_version"] == 1
    assert drifted.facts["reference"].startswith("features.higgs/")


def test_every_comparison_is_kept_in_the_ops_database(watched, checks):
    assert checks["drifted"].facts["state"] == "drift"
    with ops.connect(watched.settings.ops_database).connect() as connection:
        decided = connection.execute(select(drift_records.decisions).order_by(drift_records.decisions.c.at)).all()
        rows = connection.execute(
            select(drift_records.checks).where(drift_records.checks.c.run_key == decided[-1].run_key)
        ).all()
    assert [row.state for row in decided] == ["not_enough_data", "stable", "drift"]
    assert len(rows) == 30
    [moved_column] = [row for row in rows if row.column == "m_bb"]
    assert moved_column.is_drift
    assert moved_column.distances["psi"] > moved_column.distances["psi_limit"]
    assert [row.column for row in rows if row.column == "prediction"] == ["prediction"]


def test_a_second_try_of_a_check_replaces_what_the_first_one_wrote(watched, checks):
    assert checks["drifted"].facts["state"] == "drift"
    again = watched.run(check_drift, "--pipeline", "higgs", "--at", str(watched.folder / "drifted.csv.version.json"))
    assert again.facts["state"] == "drift"
    with ops.connect(watched.settings.ops_database).connect() as connection:
        assert len(connection.execute(select(drift_records.decisions)).all()) == 3


def test_the_report_shows_what_drifted_and_needs_no_other_file(checks):
    page = Path(checks["drifted"].facts["report"]).read_text(encoding="utf-8")
    assert "Drift of higgs: drift" in page
    assert "m_bb" in page
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page


def test_rows_that_were_not_validated_are_not_judged(watched, checks, tmp_path):
    assert checks["calm"].facts["state"] == "stable"
    TableVersion(dataset="bronze.higgs", table_version=0).write(tmp_path / "version.json")
    with pytest.raises(QualityGateError, match="no verdict"):
        watched.check(str(tmp_path / "version.json"))


def test_a_pipeline_without_a_policy_is_not_watched(watched):
    watched.spec, kept = watched.spec.model_copy(update={"drift": None}), watched.spec
    try:
        with pytest.raises(ConfigurationError, match="no drift policy"):
            watched.check(str(watched.folder / "known.csv.version.json"))
    finally:
        watched.spec = kept


def test_what_the_snapshot_left_out_is_known_to_the_champion(watched, checks):
    assert checks["few"].status == "not_enough_data"
    pointer = json.loads((watched.folder / "snapshot.json").read_text())
    assert pointer["provenance"]["missing"]["m_bb"] == 0.0
    assert len(pointer["provenance"]["missing"]) == 29


@pytest.fixture
def by_files(watched, checks):
    """The same pipeline with a policy that looks at the newest file only, and trains on what it judged."""
    assert checks["drifted"].facts["state"] == "drift"
    kept = watched.spec
    watched.spec = kept.model_copy(
        update={"drift": POLICY.model_copy(update={"window_files": 1, "train_on": "since_drift", "min_rows": 100})}
    )
    yield watched
    watched.spec = kept


def test_with_window_files_only_what_landed_last_is_judged(by_files):
    assert by_files.check(str(by_files.folder / "drifted.csv.version.json")).rows == {"window": 2000}


def test_a_file_that_was_withdrawn_is_no_longer_the_newest(by_files):
    head, rest = by_files.lines[0], by_files.lines[1 + KNOWN :]
    by_files.land("late.csv", moved(rest[-150:], "m_bb", 0.1, head))
    by_files.run(ingest, "higgs", "--withdraw", "late.csv")
    version = tables.version(by_files.spark, dataset("bronze.higgs"), by_files.settings.lake)
    pointer = by_files.folder / "without_late.json"
    TableVersion(dataset="bronze.higgs", table_version=version).write(pointer)
    by_files.run(validate, "--dataset", "bronze.higgs", "--at", str(pointer))
    assert by_files.check(str(pointer)).rows == {"window": 2000}


def _built(watched, at: str) -> tuple[dict, Outcome]:
    snapshot = watched.folder / "after_drift.json"
    done = watched.run(build_features, "--pipeline", "higgs", "--at", at, "--snapshot", str(snapshot))
    return json.loads(snapshot.read_text())["provenance"], done


def test_while_drift_goes_on_trainings_are_made_of_the_rows_since_its_first_window(by_files):
    provenance, done = _built(by_files, str(by_files.folder / "drifted.csv.version.json"))
    # Its first window, judged by the policy without window_files, was all that the champion does not know.
    assert (provenance["since_drift"], done.rows["snapshot"]) == (True, FEW + CALM + 2000)


def test_without_the_policy_a_training_is_made_of_everything(watched, checks):
    assert checks["drifted"].facts["state"] == "drift"
    provenance, done = _built(watched, str(watched.folder / "drifted.csv.version.json"))
    assert "since_drift" not in provenance
    assert done.rows["snapshot"] == KNOWN + FEW + CALM + 2000


def test_rows_since_the_drift_that_are_too_few_for_the_split_are_trained_on_with_all_others(by_files):
    split = by_files.spec.split.model_copy(update={"min_train_rows": FEW + CALM + 2000})
    by_files.spec = by_files.spec.model_copy(update={"split": split})
    provenance, done = _built(by_files, str(by_files.folder / "drifted.csv.version.json"))
    assert "since_drift" not in provenance
    assert done.rows["snapshot"] == KNOWN + FEW + CALM + 2000


def test_a_champion_of_the_rows_since_a_drift_says_where_later_trainings_begin(by_files):
    easy = by_files.spec.gate.model_copy(update={"min_gain": 0.0, "min_skill": 0.0, "must_beat_all_on": ()})
    by_files.spec = by_files.spec.model_copy(update={"gate": easy})
    # A file like those that the champion knows ends the drift of before.
    assert by_files.check(by_files.land("calm_again.csv", by_files.lines[-3200:-2600])).facts["state"] == "stable"
    # What is signal follows another rule: the champion of before is beaten without doubt.
    pointer = by_files.land("other_rule.csv", by_another_rule(by_files.lines[-2600:-1000], by_files.lines[0]))
    assert by_files.check(pointer).facts["action"] == "retrain"
    assert by_files.train(pointer).status == "done"
    more = by_files.land("more.csv", by_another_rule(by_files.lines[-1000:-200], by_files.lines[0]))
    provenance, done = _built(by_files, more)
    assert (provenance["since_drift"], done.rows["snapshot"]) == (True, 1600 + 800)
