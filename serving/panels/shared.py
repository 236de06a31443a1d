"""What panels share: what they are asked, the names of tables, limits, and the SQL that several of them need."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serving.errors import TableAbsentError
from serving.lake import Lake, instant, seconds
from serving.ranges import MINUTE_S, Bounds, Period

Json = dict[str, Any]

MINUTES = "gold.access_log_1m"
HOURS = "gold.access_log_hourly"
RESOURCES = "gold.resource_popularity"
SESSIONS = "gold.sessions"
FORECAST = "gold.access_log_volume_forecast"
BRONZE, SILVER, QUARANTINE = "bronze.access_log", "silver.access_log", "quarantine.access_log"

#: Silver rows that one answer may look at: two columns of 2 million rows take about 0.1 s on one core.
MOST_SILVER_ROWS = 2_000_000
#: A silence longer than this is a gap in the log, not a quiet time, as in pipelines/access_log_volume.yaml: the line of
#: the chart is interrupted.
SILENCE_S = 30 * MINUTE_S
#: Characters of a path, a host, a reason, the name of a model that the page is sent.
NAME_LIMIT = 300

#: SQL for the answers of 400 and above of a row of ``gold.access_log_1m``.
ERRORS = "errors_get + errors_head + errors_post + errors_other"


@dataclass(frozen=True)
class Asked:
    """What a panel over a range is asked: the range, what the lake holds, the length of its list."""

    period: Period
    bounds: Bounds
    limit: int = 10


@dataclass(frozen=True)
class Listed:
    """What a panel over all there is is asked: the length of its list, and of which reason its lines are."""

    limit: int = 10
    reason: str | None = None


def totals(lake: Lake, period: Period) -> Json:
    """Requests, errors (400 and above), bytes, minutes with any request and the busiest one: ``T`` of the summary."""
    row = lake.rows(
        f"SELECT coalesce(sum(requests), 0) requests, coalesce(sum({ERRORS}), 0) errors,"
        " coalesce(sum(bytes_sent), 0) bytes_sent, count(*) minutes, max(requests) most,"
        f" min({seconds('minute_at')}) FILTER (WHERE requests = most_of_all) at_s"
        " FROM (SELECT *, max(requests) OVER () most_of_all FROM minutes"
        f" WHERE {within('minute_at', period)}) chosen",
        {"minutes": MINUTES},
    )[0]
    most, at_s = row.pop("most"), row.pop("at_s")
    return {**row, "busiest": None if most is None else {"at_s": at_s, "requests": most}}


def bucket_sql(period: Period, column: str, shift_s: int) -> str:
    """SQL for the start of the chart's bucket that ``column``, seconds since 1970, falls into ``shift_s`` later."""
    # Buckets begin on full hours and days of the log's own clock, so that labels are round. floor, because the division
    # of whole numbers goes towards zero, and 1969 is before it.
    offset, width = shift_s + period.offset_min * MINUTE_S, period.bucket_s
    return f"CAST(floor(({column} + {offset}) / {width}.0) AS BIGINT) * {width} - {period.offset_min * MINUTE_S}"


def bucket_starts(period: Period) -> list[int]:
    """Seconds since 1970 at which the buckets of a chart over the period begin."""
    offset_s, width = period.offset_min * MINUTE_S, period.bucket_s
    first, last = (period.start_s + offset_s) // width, (period.end_s - 1 + offset_s) // width
    return [n * width - offset_s for n in range(first, last + 1)]


def affordable(lake: Lake, period: Period) -> bool:
    """Whether silver is there and the period has few enough rows of it to look through."""
    try:
        start, end = (datetime.fromtimestamp(s, UTC) for s in (period.start_s, period.end_s))
        return lake.rows_between(SILVER, "requested_at", start, end) <= MOST_SILVER_ROWS
    except TableAbsentError:
        return False


def gold_and_silver(lake: Lake, gold: str, *queries: str | None) -> dict[str, str | tuple[str, int]]:
    """Tables for ``Lake.rows``: ``gold`` and, if a query reads it, ``silver`` at the version that this gold covers."""
    used: dict[str, str | tuple[str, int]] = {"gold": gold}
    if any(query and "FROM silver" in query for query in queries):
        version = lake.covers(gold)
        used["silver"] = SILVER if version is None else (SILVER, version)
    return used


def within(column: str, period: Period) -> str:
    """SQL: a timestamp column lies in the period."""
    return f"{column} >= {instant(period.start_s)} AND {column} < {instant(period.end_s)}"


def day(days_since_1970: int) -> str:
    """A DataFusion date literal for days since 1970."""
    return f"CAST({days_since_1970} AS DATE)" if days_since_1970 < 0 else f"to_date({days_since_1970})"
