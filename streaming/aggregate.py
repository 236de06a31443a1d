"""Silver to gold: bring every gold table to the newest version of silver, exactly.

A step looks at the rows that silver gained or lost since the version a gold table covers (Delta's change data feed).
Minutes and sessions that they touch are made anew from silver *at one version*; sums by hour and by path, whose day
would have to be read again and again, are moved by what was gained and lost. Which version a table covers is a part of
its own commits, so a step is carried out once or not at all, late, out-of-order and erased lines are exact, and no
watermark or state store is needed.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from contracts.datasets import (
    GOLD_ACCESS_LOG_1M,
    GOLD_ACCESS_LOG_HOURLY,
    GOLD_OF_ACCESS_LOG,
    GOLD_RESOURCE_POPULARITY,
    GOLD_SESSIONS,
    SILVER_ACCESS_LOG,
)
from contracts.errors import ReconciliationError
from contracts.schema import Dataset
from contracts.settings import Settings
from spark_apps.io import locks, tables
from spark_apps.transforms import access_log_gold as gold

log = logging.getLogger("millrace")

#: Above this, neighbouring ranges are joined, which stays exact: every row is compared with every range, and many of
#: them take longer than reading the rows between them.
MAX_RANGES = 8

_GAP = f"INTERVAL {gold.SESSION_GAP_MIN} MINUTES"


class Replacement(NamedTuple):
    """Rows to write, and the SQL predicate of what they replace."""

    rows: DataFrame
    predicate: str
    #: A cached frame that the rows are made from, let go after the write.
    held: DataFrame | None = None


@dataclass
class News:
    """Silver at the version to reach, and what it gained or lost since the version that some tables cover."""

    spark: SparkSession
    settings: Settings
    silver: DataFrame
    changed: DataFrame

    @cached_property
    def touched(self) -> list[Row]:
        """Every minute (UTC), local day and kind of change that the changed rows have."""
        minute = F.date_trunc("minute", "requested_at").alias("minute_at")
        day = F.to_date("requested_local").alias("local_day")
        return self.changed.select(minute, day, _is_loss().alias("is_loss")).distinct().collect()


def gold_lock(settings: Settings) -> Path:
    """Held by whoever writes gold tables, or must not let them move."""
    return settings.locks / "stream" / "gold.lock"


def step(
    spark: SparkSession, settings: Settings, datasets: Iterable[Dataset] = GOLD_OF_ACCESS_LOG
) -> tuple[int, list[Dataset]]:
    """Bring these gold tables to the newest version of silver; returns it, and the tables that had to be written.

    Each commit carries ``{"silver_version": N}`` for readers, and silver's own identity and version as its transaction
    for the next step. The lock makes that enough: nobody else writes between reading what is covered and the commit.
    """
    with locks.exclusive(spark, gold_lock(settings), "Aggregating silver into gold", wait_s=tables.LOCK_WAIT_S):
        target = tables.version(spark, SILVER_ACCESS_LOG, settings.lake)
        source = f"silver/{tables.identity(spark, SILVER_ACCESS_LOG, settings.lake)}"
        silver = tables.read(spark, SILVER_ACCESS_LOG, settings.lake, at_version=target)
        news: dict[int, News] = {}
        written = []
        for dataset in datasets:
            tables.create_if_missing(spark, dataset, settings)
            covered = tables.last_transaction(spark, dataset, settings, source)
            if covered > target:
                raise ReconciliationError(
                    f"Aggregating into {dataset.name}", found=f"a table that covers version {covered} of silver",
                    required=f"{target}, silver's newest, or an earlier one: silver was put back from a copy",
                    next_step="Run `bin/millrace stream recover` while the stream is stopped: it has gold made anew.",
                )  # fmt: skip
            if covered < target:
                is_known = covered >= 0 and tables.can_tell_changes(SILVER_ACCESS_LOG, settings.lake, covered + 1)
                if is_known and covered not in news:
                    changed = tables.changes(spark, SILVER_ACCESS_LOG, settings.lake, covered + 1, target)
                    news[covered] = News(spark, settings, silver, changed)
                transaction = tables.Transaction(source, target, is_checked=False)
                if _bring_to(news.get(covered), silver, dataset, settings, transaction):
                    written.append(dataset)
    return target, written


def _bring_to(
    news: News | None, silver: DataFrame, dataset: Dataset, settings: Settings, transaction: tables.Transaction
) -> bool:
    if transaction.version == 0 and tables.version(silver.sparkSession, dataset, settings.lake) == 0:
        return False  # Both have only been created.
    if news is None:
        # Nothing is known of what the table holds, silver was made anew or has forgotten what changed since: all of it
        # is replaced.
        replacement: Replacement | None = Replacement(gold.GOLD_TRANSFORMS[dataset.name](silver), "true")
    else:
        replacement = _REPLACEMENTS[dataset.name](news, dataset)
    metadata: dict[str, object] = {"silver_version": transaction.version}
    before = tables.version(silver.sparkSession, dataset, settings.lake)
    if replacement is not None:
        try:
            tables.replace(
                replacement.rows, dataset, settings, replacement.predicate, metadata=metadata, transaction=transaction
            )
        finally:
            if replacement.held is not None:
                replacement.held.unpersist()
    if tables.version(silver.sparkSession, dataset, settings.lake) > before:
        return True
    # Nothing to write, or nothing replaced by nothing: without a commit the table would seem to lag behind for ever.
    tables.note(silver.sparkSession, dataset, settings, transaction, metadata)
    return False


def _minutes(news: News, _: Dataset) -> Replacement | None:
    ranges = joined_ranges({row.minute_at for row in news.touched}, timedelta(minutes=1))
    if not ranges:
        return None
    requests = news.silver.where(_within("requested_at", ranges))
    return Replacement(gold.minutes(requests), _within("minute_at", ranges))


def _sums(news: News, dataset: Dataset) -> Replacement | None:
    """Old sums of the touched days, plus those of the rows gained, minus those of the rows lost."""
    days = sorted({row.local_day for row in news.touched})
    if not days:
        return None
    of_rows = gold.GOLD_TRANSFORMS[dataset.name]
    literals = ", ".join(f"DATE'{day}'" for day in days)
    predicate = f"local_day IN ({literals})"
    moved = tables.read(news.spark, dataset, news.settings.lake).where(predicate)
    moved = moved.unionByName(of_rows(news.changed.where(~_is_loss())))
    if any(row.is_loss for row in news.touched):
        lost = of_rows(news.changed.where(_is_loss()))
        moved = moved.unionByName(lost.withColumns({name: -F.col(name) for name in gold.SUMS}))
    keys = [name for name in dataset.column_names if name not in gold.SUMS]
    rows = moved.groupBy(*keys).agg(*[F.sum(name).alias(name) for name in gold.SUMS]).where("requests > 0")
    return Replacement(rows, predicate)


def _is_loss() -> Column:
    return F.col("_change_type").isin("delete", "update_preimage")


def _sessions(news: News, dataset: Dataset) -> Replacement | None:
    """Sessions of the touched hosts, widened by what lies within one session gap on both sides.

    Sessions are maximal, so a changed request can only touch those that end or start within the gap of it.
    """
    old = tables.read(news.spark, dataset, news.settings.lake)
    touched = news.changed.groupBy("host").agg(
        F.min("requested_at").alias("_low"), F.max("requested_at").alias("_high")
    )
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
    events = news.silver.where(_within("requested_at", window)).join(reach, "host", how="inner").where(inside)
    predicate = _within("started_at", window)
    replaced = (F.col("started_at") >= F.col("_low")) & (F.col("started_at") <= F.col("_high"))
    kept = old.where(predicate).join(reach, "host", how="left").where(F.col("_low").isNull() | ~replaced)
    new = gold.sessions(events).unionByName(kept.select(*dataset.column_names))
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


_REPLACEMENTS: dict[str, Callable[[News, Dataset], Replacement | None]] = {
    GOLD_ACCESS_LOG_1M.name: _minutes,
    GOLD_ACCESS_LOG_HOURLY.name: _sums,
    GOLD_RESOURCE_POPULARITY.name: _sums,
    GOLD_SESSIONS.name: _sessions,
}
