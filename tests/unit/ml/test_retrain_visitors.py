"""From the shipped morning of 9 July 1995 to a champion that groups its hosts, application by application."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts import pipelines
from contracts.settings import Settings
from contracts.windows import Window
from spark_apps import build_features, evaluate, promote, train, validate
from spark_apps.io import registry, tracking
from tests.unit.lake.test_validate import arrive

if TYPE_CHECKING:
    from argparse import Namespace

    from pyspark.sql import SparkSession

    from spark_apps.io.runs import Outcome

pytestmark = [pytest.mark.spark, pytest.mark.long]

SPEC = pipelines.load("access_log_visitors")
DAY = date(2026, 3, 1)


class Retraining:
    """The steps of one run, as the DAG calls them."""

    def __init__(self, spark: SparkSession, settings: Settings, folder: Path) -> None:
        self.spark, self.settings, self.folder = spark, settings, folder

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, app, *arguments: str) -> Outcome:
        args: Namespace = app.parse_args(["--run-id", "r", *arguments])
        return app.main(args, self.settings, self.spark)

    def read(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text())


@pytest.fixture(scope="module")
def morning(_spark_session, samples, tmp_path_factory) -> Retraining:
    """A lake with the morning's lines, their days judged good."""
    folder = tmp_path_factory.mktemp("visitors")
    settings = Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")
    lines = (samples / "nasa_http" / "access_09jul1995_am.log").read_text().splitlines()
    arrive(_spark_session, settings, DAY, lines)
    Window(first_day=DAY, last_day=DAY).write(folder / "window.json")
    made = Retraining(_spark_session, settings, folder)
    made.run(validate, "--dataset", SPEC.dataset, "--window", made.file("window.json"))
    return made


def test_the_hosts_of_a_morning_are_grouped_better_than_by_one_number(morning):
    named, snapshot = ("--pipeline", SPEC.name), morning.file("snapshot.json")
    built = morning.run(build_features, *named, "--window", morning.file("window.json"), "--snapshot", snapshot)
    assert built.rows == {"validated": 12_430, "candidates": 691, "snapshot": 691}
    morning.run(validate, "--snapshot", snapshot)
    candidate, decision = morning.file("candidate.json"), morning.file("decision.json")
    trained = morning.run(train, *named, "--snapshot", snapshot, "--candidate", candidate)
    assert sum(trained.rows.values()) == 691
    decided = morning.run(evaluate, *named, "--candidate", candidate, "--decision", decision)
    assert decided.facts["decision"] == "promote", morning.read("decision.json")
    evidence = morning.read("decision.json")["evidence"]
    assert evidence["against_baseline"]["version 1"]["blocks"] == trained.rows["holdout"]
    # What train measured is what evaluate measures with the model that was stored.
    [ours] = [row for row in evidence["errors"] if row["predictor"] == "version 1"]
    [theirs] = [row for row in trained.facts["errors"] if row["predictor"] == "candidate"]
    assert {name: value for name, value in ours.items() if name != "predictor"} == pytest.approx(
        {name: value for name, value in theirs.items() if name != "predictor"}, abs=1e-9
    )
    morning.run(promote, *named, "--decision", decision)
    with tracking.connected(morning.settings) as client:
        champion = registry.by_alias(client, SPEC.name, registry.CHAMPION)
        stored = Path(client.download_artifacts(champion.run_id, "clusters.json")).read_text()
    print(json.dumps({"clusters": json.loads(stored)["clusters"], "errors": evidence["errors"]}, indent=1))  # noqa: T201
    assert champion.version == 1
    assert (trained.facts["algorithm"], trained.facts["chosen"]["k"]) == ("kmeans", 5)
    silhouettes = {row["predictor"]: row["silhouette"] for row in evidence["errors"]}
    assert silhouettes["version 1"] == pytest.approx(0.597, abs=0.005)
    assert silhouettes["by_requests"] == pytest.approx(0.036, abs=0.005)
    shares = [each["share"] for each in json.loads(stored)["clusters"]]
    assert shares == pytest.approx([0.546, 0.265, 0.077, 0.070, 0.041], abs=0.005)
