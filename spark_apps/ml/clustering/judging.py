"""Everybody groups the same rows that nobody was fitted on, and is measured in one space."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from spark_apps.ml import algorithms
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.clustering import silhouettes, space
from spark_apps.ml.clustering.silhouettes import Clusters
from spark_apps.ml.measuring import paired
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.subgroups import GroupLoss

_BY = "by_"


@dataclass(frozen=True)
class Groupings:
    """Measures by name, and the silhouettes of each row beside each other, in columns ``by_<name>``."""

    found: dict[str, Clusters]
    values: DataFrame
    spec: PipelineSpec

    def measures(self) -> dict[str, Measures]:
        """Measures of everybody on all rows: the baselines first."""
        return {**self.found}

    def against(self, name: str, other: str) -> Difference:
        """The paired test of one beside another on the silhouettes of all rows; below 0 the first tells more apart."""
        lost = F.col(f"{_BY}{other}") - F.col(f"{_BY}{name}")
        return paired.over_blocks(self.values.select(*self.spec.key, lost.alias("d")))

    def by_subgroup(self, _name: str, _other: str) -> dict[str, GroupLoss]:
        """None: rows without a label have no loss of their own, and a spec for them names no subgroups."""
        return {}


def judge(train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec) -> Groupings:
    """Let baselines and models group the holdout; the space is learned from ``train``, the same for everybody.

    A baseline makes as many groups as the first of ``models`` (2 without any): by one column, equally large in
    ``train``.
    """
    expected = {name: clusters(model) for name, model in models.items()}
    number = next(iter(expected.values()), 2)
    cuts = {name: _cuts(train, column, number) for name, column in spec.baselines.items()}
    rated = holdout.withColumns({_BY + name: _part(spec.baselines[name], places) for name, places in cuts.items()})
    for name, model in models.items():
        made = model.transform(rated)
        # A model brings columns of its own; only its answer stays, so that the next one finds no stranger.
        rated = made.select(*rated.columns, F.col(PREDICTION).alias(f"{_BY}{name}"))
    placed = space.fit(algorithms.ordered(train, spec), spec).transform(rated)
    wanted = {name: len(places) + 1 for name, places in cuts.items()} | expected
    # Read by every measure and by the tests.
    kept = placed.select(*spec.key, space.VECTOR, *[f"{_BY}{name}" for name in wanted]).cache()
    found, values = silhouettes.measure(kept, {f"{_BY}{name}": groups for name, groups in wanted.items()})
    return Groupings({name.removeprefix(_BY): one for name, one in found.items()}, values, spec)


def asked(holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec) -> dict[str, DataFrame]:
    """The groups of each model alone, not worked out yet."""
    # Read by everybody, and what is measured is the answering, not the reading.
    rows = holdout.cache()
    return {name: model.transform(rows).select(*spec.key, PREDICTION) for name, model in models.items()}


def clusters(model: PipelineModel) -> int:
    """Groups that a model was asked for; it may have found fewer."""
    return int(model.stages[-1].getOrDefault("k"))


def _cuts(train: DataFrame, column: str, number: int) -> list[float]:
    """Values that cut the rows into at most ``number`` parts of like size; fewer where one value is very common."""
    # 0: exact, which sorts the column; it is one number a row.
    return sorted(set(train.approxQuantile(column, [n / number for n in range(1, number)], 0.0)))


def _part(column: str, cuts: list[float]) -> Column:
    """How many cuts lie below the value."""
    return sum(((F.col(column) > cut).cast("int") for cut in cuts), F.lit(0))
