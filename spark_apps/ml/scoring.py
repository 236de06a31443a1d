"""Forecasts of a fitted model, and which stretches of time they cover."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from spark_apps.ml import features
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.splitting.instants import from_micros


class Stretch(BaseModel):
    """A stretch of forecasts without a gap: first and last instant (UTC, inclusive) and rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: datetime
    last: datetime
    rows: int


def forecast(rows: DataFrame, model: PipelineModel, spec: PipelineSpec, columns: list[str]) -> DataFrame:
    """Rows of ``spec.dataset`` -> ``<ordered_by>, fragment_at, forecast`` for every row that has all ``columns``.

    That includes the instant after the last one seen: features never need the row itself.
    """
    known = features.forecastable(features.build(rows, spec), columns)
    return model.transform(known).select(str(spec.ordered_by), "fragment_at", F.col(PREDICTION).alias("forecast"))


def covered(made: DataFrame, spec: PipelineSpec) -> list[Stretch]:
    """What the forecasts cover, in order."""
    at = F.unix_micros(str(spec.ordered_by))
    found = made.groupBy("fragment_at").agg(
        F.min(at).alias("first"), F.max(at).alias("last"), F.count("*").alias("rows")
    )
    stretches = [
        Stretch(first=from_micros(f["first"]), last=from_micros(f["last"]), rows=f["rows"]) for f in found.collect()
    ]
    return sorted(stretches, key=lambda stretch: stretch.first)


def within(stretches: list[Stretch], spec: PipelineSpec) -> str:
    """SQL predicate that is true exactly inside the stretches: another day's forecasts between them stay."""
    parts = [
        f"{spec.ordered_by} BETWEEN TIMESTAMP'{s.first.isoformat(sep=' ')}' AND TIMESTAMP'{s.last.isoformat(sep=' ')}'"
        for s in stretches
    ]
    return " OR ".join(f"({part})" for part in parts)
