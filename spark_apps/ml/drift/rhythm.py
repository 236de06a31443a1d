"""How the hours of a day share the sum of a series: its season, whatever its level.

A day is 24 hours that end where the series ends, so that the newest is whole whenever one looks. Each whole day counts
the same, a busy one no more than a quiet one.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.drift import DriftPolicy
from spark_apps.ml.drift import judging
from spark_apps.ml.drift.bins import NumericBins, Plan
from spark_apps.ml.drift.judging import Shift
from spark_apps.ml.drift.sketches import Sketch

HOURS = 24
_DAY_S = HOURS * 3600
#: What each day counts, whatever its sum; the hours' shares are whole parts of it.
_DAY_COUNTS = 100_000
#: A day with an hour that has fewer of the usual rows than this share is not whole: the sensor was out, or it begins.
_LEAST_ROWS = 0.5


class Cell(NamedTuple):
    """Rows with a value, and their sum, in one hour of day (0 to 23, UTC) of one day."""

    group: str | None
    day: int
    hour: int
    rows: int
    total: float


def cells(frame: DataFrame, spec: PipelineSpec, policy: DriftPolicy) -> list[Cell]:
    """24 for each day and group of a series; days are numbered from the last (0) backwards (-1, …)."""
    if spec.ordered_by is None:
        raise ValueError(f"{spec.name} has no order, and so no days")
    at, groups = F.unix_seconds(F.col(spec.ordered_by)), [policy.by] if policy.by else []
    last = frame.groupBy(*groups).agg(F.max(at).alias("_last"))
    joined = frame.join(last, on=groups, how="inner") if groups else frame.crossJoin(last)
    group = F.col(policy.by).cast("string") if policy.by else F.lit(None).cast("string")
    counted = joined.groupBy(
        group.alias("group"), (-F.floor((F.col("_last") - at) / _DAY_S)).alias("day"),
        F.floor(at % _DAY_S / 3600).alias("hour"),
    ).agg(F.count(spec.label).alias("rows"), F.sum(spec.label).cast("double").alias("total"))  # fmt: skip
    return [Cell(row["group"], row["day"], row["hour"], row["rows"], row["total"] or 0.0) for row in counted.collect()]


def of_cells(found: Iterable[Cell], label: str) -> Sketch:
    """Whole days x hours, every day of the same sum; those with a gap or without anything to share are left out."""
    days: dict[tuple[str | None, int], NDArray[np.float64]] = defaultdict(lambda: np.zeros((2, HOURS)))
    for cell in found:
        days[cell.group, cell.day][:, cell.hour] = cell.rows, cell.total
    usual = np.median([rows for rows, _ in days.values()]) if days else 0.0
    plan = Plan(columns=(_bins(label),), ordered_by="day", block_s=_DAY_S)
    whole = {
        key: _shares(totals)
        for key, (rows, totals) in days.items()
        if rows.min() >= max(usual * _LEAST_ROWS, 1) and totals.min() >= 0 and totals.sum() > 0
    }
    return Sketch(plan, whole)


def compare(reference: Sketch, window: Sketch, policy: DriftPolicy) -> list[Shift]:
    """One shift for each group with a whole day in both: its rows are days, its effect the largest difference of the
    shares of the sum that have come by an hour of the day. Blocks are days, whatever the policy's are.
    """
    by_days = policy.model_copy(update={"block_hours": float(HOURS), "min_rows": 1})
    return [
        shift.model_copy(
            update={
                "reference_rows": shift.reference_rows // _DAY_COUNTS, "window_rows": shift.window_rows // _DAY_COUNTS,
                "distances": {},
            }
        )
        for shift in judging.compare(reference, window, by_days)
        if shift.reference_rows
    ]  # fmt: skip


def _bins(label: str) -> NumericBins:
    edges = tuple(float(hour) for hour in range(1, HOURS))
    return NumericBins(column=f"{label} by hour of day", edges=edges, low=0.0, high=float(HOURS), is_atomic=False)


def _shares(totals: NDArray[np.float64]) -> NDArray[np.int64]:
    """Shares that add up to ``_DAY_COUNTS`` exactly, and none missing."""
    below = np.rint(np.cumsum(totals) / totals.sum() * _DAY_COUNTS).astype(np.int64)
    return np.append(np.diff(below, prepend=0), 0)
