"""Everybody on the same rows: baselines and models answer, are measured, and are compared in pairs."""

from collections.abc import Mapping

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import RegularSeries
from spark_apps.ml import metrics, paired, series_baselines
from spark_apps.ml.answers import answer
from spark_apps.ml.metrics import Measures
from spark_apps.ml.paired import Difference

_BY = "by_"


def answered(
    train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec
) -> DataFrame:
    """The holdout with a column ``by_<name>`` for each baseline, which knows ``train`` alone, and for each model."""
    rated = _by_baselines(train, holdout, spec)
    for name, model in models.items():
        made = model.transform(rated)
        # A model brings columns of its own; only its answer stays, so that the next one finds no stranger.
        rated = made.select(*rated.columns, answer(made, spec).alias(f"{_BY}{name}"))
    return rated


def measure(rated: DataFrame, spec: PipelineSpec) -> dict[str, Measures]:
    """Measures of everybody who answered, on all rows: the baselines first."""
    names = [column.removeprefix(_BY) for column in rated.columns if column.startswith(_BY)]
    return metrics.measure(rated, spec, {name: F.col(f"{_BY}{name}") for name in names})


def against(rated: DataFrame, name: str, other: str, spec: PipelineSpec) -> Difference:
    """The paired test of one who answered beside another, on all rows."""
    return paired.difference(rated, spec, F.col(f"{_BY}{name}"), F.col(f"{_BY}{other}"))


def _by_baselines(train: DataFrame, rows: DataFrame, spec: PipelineSpec) -> DataFrame:
    if isinstance(spec.features, RegularSeries):
        fitted = series_baselines.fit(
            train, group=spec.features.group, value=spec.label, slots_per_day=1440 // spec.features.step_min,
            persistence=spec.baselines[series_baselines.PERSISTENCE],
            seasonal={name: c for name, c in spec.baselines.items() if name != series_baselines.PERSISTENCE},
        )  # fmt: skip
        found = fitted.predict(rows)
        return found.select(*rows.columns, *[F.col(name).alias(f"{_BY}{name}") for name in spec.baseline_names])
    mean = float(train.agg(F.avg(spec.label)).collect()[0][0])
    columns = {spec.constant: F.lit(mean), **{name: F.col(column) for name, column in spec.baselines.items()}}
    return rows.select(*rows.columns, *[column.cast("double").alias(f"{_BY}{n}") for n, column in columns.items()])
