"""What people look at before they trust a model: how sure its figure is, for whom it is worse, and its curves."""

from collections.abc import Callable
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.parts import Metric
from spark_apps.ml.measuring import binary_scores, metrics, paired, regression_errors

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_DRAWS = 500
#: Groups of rows that are drawn; blocks that belong together are in one of them.
_BUCKETS = 2000
_MOST_VALUES = 100
_POINTS = 200


class Interval(BaseModel):
    """95 % of what the metric is when rows are drawn again, by the percentiles of a bootstrap."""

    model_config = _FROZEN

    metric: Metric
    low: float
    high: float


class Subgroup(BaseModel):
    """Rows that agree in one column, and the gate's metric on them; None where it cannot be computed."""

    model_config = _FROZEN

    column: str
    value: str
    rows: int
    measure: float | None


class Point(BaseModel):
    """A point of a curve; ``rows`` that it stands for, where it stands for rows."""

    model_config = _FROZEN

    x: float
    y: float
    rows: int = 0


class Evidence(BaseModel):
    """Of one model on all rows of the holdout; curves by name, each from left to right.

    ``reliability``: mean answer and what was the case, by tenths (of probability, or of rows in order of the answer).
    ``roc`` and ``precision_recall`` are those of probabilities.
    """

    model_config = _FROZEN

    interval: Interval
    subgroups: tuple[Subgroup, ...]
    curves: dict[str, tuple[Point, ...]]


def of(answers: DataFrame, answer: str, spec: PipelineSpec) -> Evidence:
    """Evidence of the answers in the column ``answer``, beside the label and the columns of the snapshot."""
    scored = answers.withColumn("score", F.col(answer).cast("double"))
    if spec.task == "regression":
        return Evidence(
            interval=_interval_of_errors(scored, spec), subgroups=_subgroups(scored, spec),
            curves={"reliability": _by_tenths_of_rows(scored, spec)},
        )  # fmt: skip
    counted = binary_scores.count(scored, label=spec.label, score="score")
    return Evidence(
        interval=_interval_of_scores(counted, spec.gate.metric), subgroups=_subgroups(scored, spec),
        curves=_curves(counted),
    )  # fmt: skip


def gap(subgroups: tuple[Subgroup, ...], column: str) -> float | None:
    """The largest measure of the column's groups less the smallest; None where fewer than two have one."""
    found = [each.measure for each in subgroups if each.column == column and each.measure is not None]
    return max(found) - min(found) if len(found) > 1 else None


def _interval_of_scores(counted: binary_scores.Scores, metric: Metric) -> Interval:
    """Draw as many rows again (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13)."""
    chance, measure = np.random.default_rng(0), getattr(binary_scores, metric)
    rows = np.concatenate([counted.positives, counted.negatives])
    bins = len(counted.positives)
    found = []
    for _ in range(_DRAWS):
        drawn = chance.multinomial(int(counted.rows), rows / rows.sum()).astype(np.float64)
        found.append(measure(binary_scores.Scores(drawn[:bins], drawn[bins:], counted.mean)))
    return _percentiles(metric, np.array(found))


def _interval_of_errors(scored: DataFrame, spec: PipelineSpec) -> Interval:
    """The same for errors; blocks of rows that err alike are drawn together, as in the paired test."""
    metric, score, label = spec.gate.metric, F.col("score"), F.col(spec.label).cast("double")
    loss = regression_errors.LOSSES[metric](label, score)
    bucket = F.pmod(F.xxhash64(*paired.block(spec)), F.lit(_BUCKETS)).alias("bucket")
    sums = scored.groupBy(bucket).agg(F.sum(loss).alias("loss"), F.count("*").alias("rows")).orderBy("bucket")
    losses, rows = (sums.toPandas()[name].to_numpy(np.float64) for name in ("loss", "rows"))
    chance, finish = np.random.default_rng(0), _FINISH.get(metric, np.asarray)
    found = []
    for _ in range(_DRAWS):
        drawn = chance.integers(len(rows), size=len(rows))
        found.append(losses[drawn].sum() / rows[drawn].sum())
    return _percentiles(metric, finish(np.array(found)))


_FINISH: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {"rmse": np.sqrt}


def _percentiles(metric: Metric, found: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(metric=metric, low=float(low), high=float(high))


def _subgroups(scored: DataFrame, spec: PipelineSpec) -> tuple[Subgroup, ...]:
    found = []
    for column in spec.subgroups:
        counted = scored.groupBy(F.col(column).cast("string").alias("value")).agg(F.count("*").alias("rows"))
        values = counted.orderBy("value").limit(_MOST_VALUES + 1).collect()
        if len(values) > _MOST_VALUES:
            raise QualityGateError(
                f"Measuring {spec.name} by {column}", found=f"more than {_MOST_VALUES} values of {column}",
                required=f"{_MOST_VALUES} at most", next_step="Take another column into subgroups.",
            )  # fmt: skip
        for value, rows in values:
            part = scored.where(F.col(column).cast("string").eqNullSafe(F.lit(value)))
            found.append(Subgroup(column=column, value=str(value), rows=rows, measure=_measure(part, spec)))
    return tuple(found)


def _measure(part: DataFrame, spec: PipelineSpec) -> float | None:
    """The gate's metric; one class has no area under a curve."""
    if spec.task == "classification" and part.select(spec.label).distinct().count() < 2:
        return None
    value = metrics.value_of(part, spec, F.col("score"), spec.gate.metric)
    return value if isfinite(value) else None


def _by_tenths_of_rows(scored: DataFrame, spec: PipelineSpec) -> tuple[Point, ...]:
    cuts = scored.approxQuantile("score", [n / 10 for n in range(1, 10)], 0.001)
    above = F.size(F.filter(F.array(*map(F.lit, cuts)), lambda cut: cut < F.col("score")))
    rows = scored.groupBy(above.alias("tenth")).agg(F.avg("score"), F.avg(spec.label), F.count("*")).orderBy("tenth")
    return tuple(Point(x=x, y=float(y), rows=n) for _, x, y, n in rows.collect())


def _curves(counted: binary_scores.Scores) -> dict[str, tuple[Point, ...]]:
    tenths = binary_scores.reliability(counted)
    reliability = zip(tenths.mean_score, tenths.positive_share, tenths.rows, strict=True)
    found, wrong = np.cumsum(counted.positives[::-1]), np.cumsum(counted.negatives[::-1])
    recall, fall_out, precision = found / found[-1], wrong / wrong[-1], found / (found + wrong)
    places = np.unique(np.linspace(0, len(found) - 1, _POINTS).astype(int))
    return {
        "reliability": tuple(Point(x=float(x), y=float(y), rows=int(n)) for x, y, n in reliability),
        "roc": tuple(Point(x=float(fall_out[n]), y=float(recall[n])) for n in places),
        "precision_recall": tuple(Point(x=float(recall[n]), y=float(precision[n])) for n in places),
    }
