"""Silver requests to the four gold tables: pure functions of the rows they are given, shared by batch and stream."""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.datasets import (
    GOLD_ACCESS_LOG_1M,
    GOLD_ACCESS_LOG_HOURLY,
    GOLD_RESOURCE_POPULARITY,
    GOLD_SESSIONS,
)

#: A host that is silent for longer than this starts a new session: the convention of web analytics.
SESSION_GAP_MIN = 30

#: Columns of ``hourly`` and ``popularity`` that add up over any parts of the requests.
SUMS = ("requests", "bytes_sent", "errors")

#: Path of a request whose path cannot be told.
NO_PATH = "(none)"


def minutes(requests: DataFrame) -> DataFrame:
    """``gold.access_log_1m``: one row per minute of event time (UTC) that has a request."""
    error = F.col("status") >= 400
    counted = {
        **{f"status_{n}xx": F.col("status").between(n * 100, n * 100 + 99) for n in (2, 3, 4, 5)},
        "status_other": F.coalesce(~F.col("status").between(200, 599), F.lit(True)),  # noqa: FBT003 - a Spark literal
        **{f"method_{name.lower()}": F.col("method") == name for name in ("GET", "HEAD", "POST")},
        "method_other": _other_method(),
        **{f"errors_{name.lower()}": (F.col("method") == name) & error for name in ("GET", "HEAD", "POST")},
        "errors_other": _other_method() & error,
    }
    return (
        requests.groupBy(F.date_trunc("minute", "requested_at").alias("minute_at"))
        .agg(
            F.count("*").alias("requests"),
            _total_bytes(),
            F.count_distinct("host").alias("distinct_hosts"),
            *[F.count_if(test).alias(name) for name, test in counted.items()],
        )
        .select(*GOLD_ACCESS_LOG_1M.column_names)
    )


def hourly(requests: DataFrame) -> DataFrame:
    """``gold.access_log_hourly``: one row per hour of the log's own wall clock that has a request."""
    day = F.to_date("requested_local")
    return (
        requests.groupBy(day.alias("local_day"), F.hour("requested_local").alias("hour"))
        .agg(F.count("*").alias("requests"), _total_bytes(), _errors())
        .withColumn("weekday", F.weekday("local_day") + 1)
        .select(*GOLD_ACCESS_LOG_HOURLY.column_names)
    )


def popularity(requests: DataFrame) -> DataFrame:
    """``gold.resource_popularity``: one row per local day and path without its query."""
    path = F.coalesce(F.substring_index("path", "?", 1), F.lit(NO_PATH))
    return (
        requests.groupBy(F.to_date("requested_local").alias("local_day"), path.alias("path"))
        .agg(F.count("*").alias("requests"), _total_bytes(), _errors())
        .select(*GOLD_RESOURCE_POPULARITY.column_names)
    )


def sessions(requests: DataFrame) -> DataFrame:
    """``gold.sessions``: runs of requests of one host without more than SESSION_GAP_MIN of silence between two."""
    order = F.struct("requested_at", "kafka_partition", "kafka_offset")
    before = Window.partitionBy("host").orderBy("requested_at")
    so_far = before.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    gap_s = F.unix_timestamp("requested_at") - F.unix_timestamp(F.lag("requested_at").over(before))
    numbered = requests.select(
        "host", "requested_at", "path", "status", "bytes_sent", order.alias("_order"),
        F.coalesce(gap_s > SESSION_GAP_MIN * 60, F.lit(False)).cast("int").alias("_starts"),  # noqa: FBT003
    ).withColumn("_session", F.sum("_starts").over(so_far))  # fmt: skip
    return (
        numbered.groupBy("host", "_session")
        .agg(
            F.min("requested_at").alias("started_at"),
            F.max("requested_at").alias("ended_at"),
            F.count("*").alias("requests"),
            _total_bytes(),
            _errors(),
            F.min_by("path", "_order").alias("entry_path"),
            F.max_by("path", "_order").alias("exit_path"),
        )
        .withColumn("duration_s", F.unix_timestamp("ended_at") - F.unix_timestamp("started_at"))
        .select(*GOLD_SESSIONS.column_names)
    )


def _total_bytes() -> Column:
    return F.coalesce(F.sum("bytes_sent"), F.lit(0).cast("bigint")).alias("bytes_sent")


def _errors() -> Column:
    return F.count_if(F.col("status") >= 400).alias("errors")


def _other_method() -> Column:
    return F.coalesce(~F.col("method").isin("GET", "HEAD", "POST"), F.lit(True))  # noqa: FBT003 - a Spark literal


#: Gold dataset to the function that makes all of it from all of silver.
GOLD_TRANSFORMS: dict[str, Callable[[DataFrame], DataFrame]] = {
    GOLD_ACCESS_LOG_1M.name: minutes,
    GOLD_ACCESS_LOG_HOURLY.name: hourly,
    GOLD_RESOURCE_POPULARITY.name: popularity,
    GOLD_SESSIONS.name: sessions,
}
