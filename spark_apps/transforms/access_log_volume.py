"""Requests per minute of event time as a series without invented values, and features that never look ahead."""

import math

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from contracts.pipelines.features import MinuteSeries

#: Sine and cosine are rounded, because their last bit depends on the processor and snapshots are addressed by content.
_CALENDAR_DIGITS = 12


def features(rows: DataFrame, series: MinuteSeries) -> DataFrame:
    """Rows of ``silver.access_log`` -> one row per minute: ``minute_at, fragment_at, requests, <series.columns>``.

    ``requests`` (bigint) is the label, null where the minute was not seen whole. A feature (double; weekday int) of
    minute t is made from t-1 and earlier of the same fragment, and is null where that is not possible: a lag that
    reaches before the fragment or hits a minute seen in part. A rolling mean takes the minutes there are, up to its
    length. The minute after the last whole one of a fragment has features and no label: it is there to be forecast.
    """
    seen = minutes(rows, max_silence_min=series.max_silence_min, edge_tolerance_s=series.edge_tolerance_s)
    lags = {name: F.first("requests").over(_past(back, back)).cast("double") for name, back in series.lags.items()}
    means = {name: F.avg("requests").over(_past(length, 1)) for name, length in series.rolling_means.items()}
    # The zone as it was known a minute ago; only the first minute of a fragment has to ask itself.
    offset = F.coalesce(F.last("utc_offset_min", ignorenulls=True).over(_past(None, 1)), F.col("utc_offset_min"))
    columns = {**lags, **means, **_calendar(F.col("minute_at"), offset)}
    return seen.select("minute_at", "fragment_at", "requests", *[columns[name].alias(name) for name in series.columns])


def minutes(rows: DataFrame, *, max_silence_min: int, edge_tolerance_s: int) -> DataFrame:
    """Rows with ``requested_at, utc_offset_min`` -> ``fragment_at, minute_at, requests, utc_offset_min``.

    A fragment is a stretch with at most ``max_silence_min`` silent minutes between two requests; ``fragment_at`` is
    its first minute. A silent minute inside it has 0 requests; the gap between fragments has no rows. Logs begin and
    end anywhere within a minute: the first (last) minute is null unless a request lies within ``edge_tolerance_s``
    of its start (end). Each fragment ends with one minute of null requests, the one that comes next:
    its own last minute where that was seen in part, else the minute after.
    """
    counted = rows.groupBy(F.date_trunc("minute", "requested_at").alias("minute_at")).agg(
        F.count("*").alias("seen"),
        F.min("requested_at").alias("first_at"),
        F.max("requested_at").alias("last_at"),
        F.min("utc_offset_min").alias("utc_offset_min"),
    )
    grid = _fragments(counted, max_silence_min, edge_tolerance_s).withColumn(
        "minute_at", F.explode(F.expr("sequence(fragment_at, next_minute_at, INTERVAL 1 MINUTE)"))
    )
    is_cut_at_start = (F.col("minute_at") == F.col("fragment_at")) & ~F.col("starts_whole")
    is_next = F.col("minute_at") == F.col("next_minute_at")
    requests = F.when(~is_cut_at_start & ~is_next, F.coalesce("seen", F.lit(0).cast("bigint")))
    return grid.join(counted, on="minute_at", how="left").select(
        "fragment_at", "minute_at", requests.alias("requests"), "utc_offset_min"
    )


def _fragments(counted: DataFrame, max_silence_min: int, edge_tolerance_s: int) -> DataFrame:
    """One row per fragment: ``fragment_at, next_minute_at, starts_whole``.

    A session window instead of a window function over all minutes: that one would be a single Spark partition.
    n silent minutes are a distance of n + 1 minutes; the half minute keeps clear of whether a gap includes its end.
    """
    gap = f"{max_silence_min + 1} minutes 30 seconds"
    found = counted.groupBy(F.session_window("minute_at", gap)).agg(
        F.min("minute_at").alias("fragment_at"),
        F.max("minute_at").alias("last_minute_at"),
        F.min("first_at").alias("first_at"),
        F.max("last_at").alias("last_at"),
    )
    ends_whole = _seconds_into(F.col("last_at"), F.col("last_minute_at")) >= 60 - edge_tolerance_s
    return found.select(
        "fragment_at",
        (_seconds_into(F.col("first_at"), F.col("fragment_at")) <= edge_tolerance_s).alias("starts_whole"),
        F.when(ends_whole, F.col("last_minute_at") + F.expr("INTERVAL 1 MINUTE"))
        .otherwise(F.col("last_minute_at"))
        .alias("next_minute_at"),
    )


def _past(first: int | None, last: int) -> WindowSpec:
    """Frame from ``first`` (None: the fragment's start) to ``last`` minutes back; never the current minute."""
    if last < 1:
        raise ValueError(f"a feature of a minute may use earlier minutes only, not {last} back")
    start = Window.unboundedPreceding if first is None else -first
    return Window.partitionBy("fragment_at").orderBy("minute_at").rowsBetween(start, -last)


def _calendar(minute_at: Column, utc_offset_min: Column) -> dict[str, Column]:
    local = F.timestamp_seconds(F.unix_seconds(minute_at) + utc_offset_min * 60)
    angle = (F.hour(local) * 60 + F.minute(local)) * F.lit(2 * math.pi / 1440)
    return {
        "hour_sin": F.round(F.sin(angle), _CALENDAR_DIGITS),
        "hour_cos": F.round(F.cos(angle), _CALENDAR_DIGITS),
        "weekday": F.weekday(local) + 1,
    }


def _seconds_into(instant: Column, minute_at: Column) -> Column:
    return (F.unix_micros(instant) - F.unix_micros(minute_at)) / 1_000_000
