"""Everybody on the same rows: baselines and models answer, are measured, and are compared in pairs."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import RegularSeries
from spark_apps.ml import series_baselines
from spark_apps.ml.answers import answer
from spark_apps.ml.measuring import metrics, paired, subgroups
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.subgroups import GroupLoss

_BY = "by_"


def column_of(name: str) -> str:
    """Column that holds the answers of a predictor."""
    return f"{_BY}{name}"


@dataclass(frozen=True)
class Rows:
    """Everybody's answers beside each other, a row of the holdout each, in columns ``by_<name>``."""

    answers: DataFrame
    spec: PipelineSpec

    def measures(self) -> dict[str, Measures]:
        """Measures of everybody who answered, on all rows: the baselines first."""
        names = [column.removeprefix(_BY) for column in self.answers.columns if column.startswith(_BY)]
        return metrics.measure(self.answers, self.spec, {name: F.col(column_of(name)) for name in names})

    def against(self, name: str, other: str) -> Difference:
        """The paired test of one who answered beside another, on all rows."""
        return paired.difference(self.answers, self.spec, F.col(column_of(name)), F.col(column_of(other)))

    def by_subgroup(self, name: str, other: str) -> dict[str, GroupLoss]:
        """The same within each value of the spec's ``subgroups``."""
        return subgroups.beside(self.answers, self.spec, F.col(column_of(name)), F.col(column_of(other)))


def judge(train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec) -> Rows:
    """Ask each baseline, which knows ``train`` alone, and each model about the holdout."""
    rated = _by_baselines(train, holdout, spec)
    for name, model in models.items():
        made = model.transform(rated)
        # A model brings columns of its own; only its answer stays, so that the next one finds no stranger.
        rated = made.select(*rated.columns, answer(made, spec).alias(column_of(name)))
    # Read by every measure and by the tests.
    return Rows(rated.cache(), spec)


def asked(holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec) -> dict[str, DataFrame]:
    """What each model alone answers for the holdout, not worked out yet: keys, and the answer."""
    # Read by everybody, and what is measured is the answering, not the reading.
    rows = holdout.cache()
    made = {name: model.transform(rows) for name, model in models.items()}
    return {name: frame.select(*spec.key, answer(frame, spec)) for name, frame in made.items()}


def _by_baselines(train: DataFrame, rows: DataFrame, spec: PipelineSpec) -> DataFrame:
    if isinstance(spec.features, RegularSeries):
        fitted = series_baselines.fit(
            train, group=spec.features.group, value=spec.label, slots_per_day=1440 // spec.features.step_min,
            persistence=spec.baselines[series_baselines.PERSISTENCE],
            seasonal={name: c for name, c in spec.baselines.items() if name != series_baselines.PERSISTENCE},
        )  # fmt: skip
        found = fitted.predict(rows)
        return found.select(*rows.columns, *[F.col(name).alias(column_of(name)) for name in spec.baseline_names])
    mean = float(train.agg(F.avg(spec.label)).collect()[0][0])
    columns = {spec.constant: F.lit(mean), **{name: F.col(column) for name, column in spec.baselines.items()}}
    return rows.select(*rows.columns, *[column.cast("double").alias(column_of(n)) for n, column in columns.items()])
