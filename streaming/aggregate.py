"""Silver to gold: recompute and replace what the changed rows touch, never increment.

A step looks at the rows that silver gained or lost since the version a gold table covers (Delta's change data feed),
finds the keys they touch, re-reads exactly those from silver *at one version* and replaces them. So late, out-of-order
and erased lines are exact, a repeated step changes nothing, and no watermark or state store is needed.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.datasets import (
    GOLD_ACCESS_LOG_1M,
    GOLD_ACCESS_LOG_HOURLY,
    GOLD_OF_ACCESS_LOG,
    GOLD_RESOURCE_POPULARITY,
    GOLD_SESSIONS,
    SILVER_ACCESS_LOG,
    Dataset,
)
from contracts.settings import Settings
from spark_apps.io import locks, stream_records, tables
from spark_apps.transforms import access_log_gold as gold

log = logging.getLogger("millrace")

#: Above this, neighbouring ranges are joined, which stays exact: every row is compared with every range, and 64 of
#: them took longer than the rows between them (gold of 400,000 lines: 4.1 s against 2.7 s for the table of minutes).
MAX_RANGES = 8

_GAP = f"INTERVAL {gold.SESSION_GAP_MIN} MINUTES"


class Replacement(NamedTuple):
    """Rows to write, and the SQL predicate of what they replace."""

    rows: DataFrame
    predicate: str
    #: A cached frame that the rows are made from, let go after the write.
    held: DataFrame | None = None


def step(spark: SparkSession, settings: Settings, engine: Engine) -> int:
    """Bring every gold table to the newest version of silver; returns that version.

    Each table's commit carries ``{"silver_version": N}``; the ops database remembers it, too.
    """
    lock = settings.locks / "stream" / "gold.lock"
    with locks.exclusive(spark, lock, "Aggregating silver into gold", wait_s=tables.LOCK_WAIT_S):
        target = tables.version(spark, SILVER_ACCESS_LOG, settings.lake)
        for dataset in GOLD_OF_ACCESS_LOG:
            tables.create_if_missing(spark, dataset, settings)
            covered = stream_records.covered_silver_version(engine, dataset.name)
            if covered is None or covered[0] != target:
                _bring_to(spark, settings, engine, dataset, None if covered is None else covered[0], target)
    return target


def _bring_to(
    spark: SparkSession, settings: Settings, engine: Engine, dataset: Dataset, covered: int | None, target: int
) -> None:
    silver = tables.read(spark, SILVER_ACCESS_LOG, settings.lake, at_version=target)
    if covered is None or covered > target:
        # Nothing is known of what the table holds, or silver was made anew: all of it is replaced.
        replacement: Replacement | None = Replacement(gold.GOLD_TRANSFORMS[dataset.name](silver), "true")
    else:
        changed = tables.changes(spark, SILVER_ACCESS_LOG, settings.lake, covered + 1, target)
        replacement = _REPLACEMENTS[dataset.name](silver, changed, spark, settings)
    if replacement is not None:
        metadata: dict[str, object] = {"silver_version": target}
        try:
            tables.replace(replacement.rows, dataset, settings, replacement.predicate, metadata=metadata)
        finally:
            if replacement.held is not None:
                replacement.held.unpersist()
    version = tables.version(spark, dataset, settings.lake)
    stream_records.record_gold(engine, dataset.name, target, version)


def _minutes(silver: DataFrame, changed: DataFrame, *_: object) -> Replacement | None:
    minute = F.date_trunc("minute", "requested_at").alias("minute_at")
    touched = [row.minute_at for row in changed.select(minute).distinct().collect()]
    if not touched:
        return None
    ranges = joined_ranges(touched, timedelta(minutes=1))
    return Replacement(gold.minutes(silver.where(_within("requested_at", ranges))), _within("minute_at", ranges))


def _hours(silver: DataFrame, changed: DataFrame, *_: object) -> Replacement | None:
    hour = F.date_trunc("hour", "requested_local").alias("hour_at")
    touched = [row.hour_at for row in changed.select(hour).distinct().collect()]
    if not touched:
        return None
    ranges = joined_ranges(touched, timedelta(hours=1))
    hour_of_row = "make_timestamp(year(local_day), month(local_day), day(local_day), hour, 0, 0)"
    return Replacement(gold.hourly(silver.where(_within("requested_local", ranges))), _within(hour_of_row, ranges))


def _days(silver: DataFrame, changed: DataFrame, *_: object) -> Replacement | None:
    touched = [row.day for row in changed.select(F.to_date("requested_local").alias("day")).distinct().collect()]
    if not touched:
        return None
    midnights = [datetime(day.year, day.month, day.day) for day in touched]  # noqa: DTZ001 - session time zone is UTC
    ranges = joined_ranges(midnights, timedelta(days=1))
    days = " OR ".join(f"(local_day >= DATE'{a.date()}' AND local_day < DATE'{b.date()}')" for a, b in ranges)
    return Replacement(gold.popularity(silver.where(_within("requested_local", ranges))), days)


def _sessions(silver: DataFrame, changed: DataFrame, spark: SparkSession, settings: Settings) -> Replacement | None:
    """Sessions of the touched hosts, widened by what lies within one session gap on both sides.

    Sessions are maximal, so a changed request can only touch those that end or start within the gap of it.
    """
    old = tables.read(spark, GOLD_SESSIONS, settings.lake)
    touched = changed.groupBy("host").agg(F.min("requested_at").alias("_low"), F.max("requested_at").alias("_high"))
    near = (F.col("ended_at") >= F.col("_low") - F.expr(_GAP)) & (F.col("started_at") <= F.col("_high") + F.expr(_GAP))
    with_old = touched.join(old.select("host", "started_at", "ended_at"), "host", how="left")
    reach = (
        with_old.groupBy("host")
        .agg(
            F.least(F.first("_low"), F.min(F.when(near, F.col("started_at")))).alias("_low"),
            F.greatest(F.first("_high"), F.max(F.when(near, F.col("ended_at")))).alias("_high"),
        )
        .persist()
    )
    low, high = reach.agg(F.min("_low"), F.max("_high")).collect()[0]
    if low is None:
        reach.unpersist()
        return None
    window = [(low, high + timedelta(microseconds=1))]
    inside = (F.col("requested_at") >= F.col("_low")) & (F.col("requested_at") <= F.col("_high"))
    events = silver.where(_within("requested_at", window)).join(reach, "host", how="inner").where(inside)
    predicate = _within("started_at", window)
    replaced = (F.col("started_at") >= F.col("_low")) & (F.col("started_at") <= F.col("_high"))
    kept = old.where(predicate).join(reach, "host", how="left").where(F.col("_low").isNull() | ~replaced)
    new = gold.sessions(events).unionByName(kept.select(*GOLD_SESSIONS.column_names))
    return Replacement(new, predicate, held=reach)


def joined_ranges(starts: Iterable[datetime], width: timedelta) -> list[tuple[datetime, datetime]]:
    """Half-open ranges that cover ``[start, start + width)`` of every start; at most MAX_RANGES of them.

    Where there would be more, the ranges with the smallest gaps between them are joined.
    """
    ranges: list[tuple[datetime, datetime]] = []
    for start in sorted(starts):
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], start + width))
        else:
            ranges.append((start, start + width))
    if len(ranges) <= MAX_RANGES:
        return ranges
    gaps = sorted(((b[0] - a[1], n) for n, (a, b) in enumerate(zip(ranges, ranges[1:], strict=False))), reverse=True)
    cuts = sorted(n for _, n in gaps[: MAX_RANGES - 1])
    firsts = [0, *[n + 1 for n in cuts]]
    lasts = [*cuts, len(ranges) - 1]
    return [(ranges[a][0], ranges[b][1]) for a, b in zip(firsts, lasts, strict=True)]


def _within(column: str, ranges: list[tuple[datetime, datetime]]) -> str:
    return " OR ".join(
        f"({column} >= TIMESTAMP'{start.isoformat(sep=' ')}' AND {column} < TIMESTAMP'{end.isoformat(sep=' ')}')"
        for start, end in ranges
    )


_REPLACEMENTS: dict[str, Callable[[DataFrame, DataFrame, SparkSession, Settings], Replacement | None]] = {
    GOLD_ACCESS_LOG_1M.name: _minutes,
    GOLD_ACCESS_LOG_HOURLY.name: _hours,
    GOLD_RESOURCE_POPULARITY.name: _days,
    GOLD_SESSIONS.name: _sessions,
}
