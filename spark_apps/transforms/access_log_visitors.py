"""What each host of an access log did: how much, what, how evenly and when. One row a host."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines.features import Visitors
from spark_apps.transforms.access_log_gold import NO_PATH, sessions

#: Ends of paths without their query. A path without an ending, or of a folder, is a page.
_IMAGE = r"(?i)\.(?:gif|jpe?g|png|xbm|bmp|ico|svg|webp)$"
_PAGE = r"(?i)(?:/[^./]*|\.(?:s?html?|php|aspx?|jsp))$"
#: Night on the log's own wall clock: from midnight to this hour.
_NIGHT_ENDS_HOUR = 6


def features(rows: DataFrame, asked: Visitors) -> DataFrame:
    """Rows of ``silver.access_log`` -> one row per host with ``asked.min_requests`` or more: ``host, <asked.columns>``.

    Counts are bigint, but ``bytes_mean`` (mean size of the answers whose size is known, 0 where none is: errors and
    redirects have no body) and ``requests_per_session`` are double, as are shares of the host's requests.
    ``resources`` are paths without their query; a session ends as it does in ``gold.sessions``.
    """
    path = F.coalesce(F.substring_index("path", "?", 1), F.lit(NO_PATH))
    counted = rows.groupBy("host").agg(
        F.count("*").alias("requests"), F.count_distinct(path).alias("resources"),
        F.coalesce(F.avg("bytes_sent"), F.lit(0.0)).alias("bytes_mean"),
        *[(F.count_if(_of(share, path)) / F.count("*")).alias(f"{share}_share") for share in asked.shares],
    )  # fmt: skip
    visits = sessions(rows).groupBy("host").agg(F.count("*").alias("sessions"))
    minutes = rows.groupBy("host", F.date_trunc("minute", "requested_at")).agg(F.count("*").alias("requests"))
    busiest = minutes.groupBy("host").agg(F.max("requests").alias("busiest_minute"))
    many = counted.where(F.col("requests") >= asked.min_requests)
    joined = many.join(visits, on="host", how="inner").join(busiest, on="host", how="inner")
    per_session = F.col("requests") / F.col("sessions")
    return joined.withColumn("requests_per_session", per_session).select("host", *asked.columns)


def _of(share: str, path: Column) -> Column:
    """Whether a request counts for the share; null counts as no."""
    return {
        "image": path.rlike(_IMAGE),
        "page": path.rlike(_PAGE),
        "error": F.col("status") >= 400,
        "head": F.col("method") == "HEAD",
        "not_modified": F.col("status") == 304,
        "night": F.hour("requested_local") < _NIGHT_ENDS_HOUR,
    }[share]
