"""Bad models of real rows: what they are made with, and how evaluate would see each of them."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer

from contracts.pipelines.algorithms import Algorithm, combinations
from spark_apps.io import registry
from spark_apps.io.pointers import Snapshot
from spark_apps.io.registry import Version
from spark_apps.ml import algorithms, answers, choosing, comparing, families
from spark_apps.ml.measuring import cost

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from contracts.pipelines import PipelineSpec
    from spark_apps.ml.choosing import Choice
    from spark_apps.ml.splitting.splits import Bounds

CHAMPION = "champion"
JUDGED_ON = Snapshot(name="features.planted", hash="this", rows=0, path="", key=())


class Challenger(NamedTuple):
    """A model, and what its record says: the ground's own split and snapshot unless something else is said."""

    #: None where it reads what the rows do not have.
    model: PipelineModel | None
    split: Bounds | None = None
    snapshot: str = "features.planted/this"


@dataclass(frozen=True)
class Ground:
    """Rows, how they are split, and the spec whose gate decides."""

    spec: PipelineSpec
    frame: DataFrame
    split: Bounds
    columns: list[str] = field(default_factory=list)

    @property
    def train(self) -> DataFrame:
        return self.split.train(self.frame)

    @property
    def holdout(self) -> DataFrame:
        return self.split.holdout(self.frame)

    def fit(self, rows: DataFrame, algorithm: Algorithm, columns: list[str] | None = None) -> PipelineModel:
        chosen = next(combinations(algorithm))
        return algorithms.fit(rows, self.spec, columns or self.columns, algorithm, chosen)

    def judge(
        self, champion: PipelineModel, challengers: Mapping[str, Challenger], *, timed: tuple[str, ...] = ()
    ) -> dict[str, Choice]:
        """What the gate says about each of them beside the champion; those in ``timed`` are timed as well."""
        models = {name: each.model for name, each in challengers.items() if each.model} | {CHAMPION: champion}
        judged = families.judge(self.train, self.holdout, models, self.spec)
        errors = judged.measures()
        raced = {name: models[name] for name in (*timed, CHAMPION)} if timed else {}
        seconds = cost.seconds(families.asked(self.train, self.holdout, raced, self.spec))
        return {
            name: self._choice(name, each, judged, errors, seconds if name in timed else {})
            for name, each in challengers.items()
        }

    def _choice(self, name, challenger, judged, errors, seconds) -> Choice:
        found = comparing.compared(judged, errors, self.spec, candidate=name, champion=CHAMPION)
        found = comparing.replace(found, scoring_s=seconds)
        versions = {
            who: Planted(name=who, version=number, run_id="", tags=self._tags(record))
            for who, number, record in ((name, 2, challenger), (CHAMPION, 1, Challenger(None)))
        }
        own = registry.rated(versions[name], self.split, found, trained_on=JUDGED_ON)
        theirs = registry.rated(versions[CHAMPION], self.split, found)
        baselines = {each: errors[each] for each in self.spec.baseline_names}
        return choosing.choose(own, theirs, baselines, self.spec.gate)

    def _tags(self, record: Challenger) -> dict[str, str]:
        split = record.split or self.split
        return {"columns": json.dumps(self.columns), "split": split.model_dump_json(), "snapshot": record.snapshot}


class Planted(Version):
    """A version that is called by its name, and not by its number: here all challengers have the same."""

    @property
    def label(self) -> str:
        return self.name


@dataclass(frozen=True)
class Answer:
    """A correction of the answer ``{p}`` of a model, as SQL."""

    said: str

    def as_sql(self, column: str) -> str:
        return self.said.format(p=f"({column})")


def probability(model: PipelineModel, said: str, spark: SparkSession) -> PipelineModel:
    """A classifier that says something else than the model it is made of."""
    return answers.calibrated(model, Answer(said), spark)


def number(model: PipelineModel, said: str) -> PipelineModel:
    """A forecaster that says something else than the model it is made of."""
    other = f"SELECT * EXCEPT (prediction), {said} AS prediction FROM __THIS__"
    return PipelineModel([*model.stages, SQLTransformer(statement=other)])


def collisions(spark: SparkSession, samples: Path, spec: PipelineSpec, rows: int) -> DataFrame:
    """The first rows of both HIGGS files, the holdout's as file b, and where the lepton went (``region``)."""
    made = []
    for sha, name in (("a", "higgs_rows_0_9999_rounded.csv"), ("b", "higgs_random_10984_labelled_last.csv")):
        with gzip.open(samples / "higgs" / f"{name}.gz", "rt") as file:
            table = csv.reader(file)
            header = [column.lower() for column in next(table)]
            label = next(n for n, column in enumerate(header) if column in ("label", "response"))
            for line, (values, _) in enumerate(zip(table, range(rows), strict=False), start=2):
                own = [float(value) for n, value in enumerate(values) if n != label]
                region = "forward" if abs(own[spec.features.columns.index("lepton_eta")]) > 2 else "central"
                made.append((sha, line, int(float(values[label])), *own, region))
    kinds = ", ".join(f"{column} double" for column in spec.features.columns)
    return spark.createDataFrame(made, f"source_sha256 string, source_line bigint, label int, {kinds}, region string")


def quarters(spark: SparkSession, samples: Path, sites: tuple[str, ...], months: range) -> DataFrame:
    """Quarters of these sites in 2014 with their lags, calendar included; by hand, because windows are slow on few
    rows.
    """
    made = []
    for site in sites:
        flows: dict[datetime, float] = {}
        with gzip.open(samples / "uk_traffic" / f"2014_TMU_Site_{site}.csv.gz", "rt", newline="") as file:
            for row in csv.reader(file):
                if row and row[0][2:3] == "/" and int(row[0].split("/")[1]) in months and row[3].strip():
                    day, clock = row[0].split("/"), row[1].split(":")
                    at = datetime(int(day[2]), int(day[1]), int(day[0]), int(clock[0]), int(clock[1]), tzinfo=UTC)
                    flows[at] = float(row[3])
        step = timedelta(minutes=15)
        for at, flow in flows.items():
            lags = [flows.get(at - n * step) for n in (1, 2, 3, 4, 96, 672)]
            day_before = [flows.get(at - n * step) for n in range(1, 97)]
            if None not in (*lags, *day_before):
                means = (sum(day_before[:4]) / 4, sum(day_before) / 96)
                made.append((site, at, flow, *lags, *means, at.hour * 4 + at.minute // 15, at.isoweekday()))
    lags = ", ".join(f"lag_{n} double" for n in (1, 2, 3, 4, 96, 672))
    columns = (
        f"site string, starts_at timestamp, flow double, {lags}, mean_4 double, mean_96 double, slot int, weekday int"
    )
    return spark.createDataFrame(made, columns)
