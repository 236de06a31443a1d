"""Resources and hosts with most requests.

Gold answers whatever it can answer exactly. Where a range cuts a day (resources) or a session (hosts), the rows of that
range are counted in silver, at the version that gold covers, unless they are too many: then gold answers for slightly
more than the range and the answer says so in ``counted_over``.
"""

from serving.lake import Lake, Row, instant
from serving.panels.shared import (
    NAME_LIMIT,
    RESOURCES,
    SESSIONS,
    Asked,
    Json,
    affordable,
    day,
    gold_and_silver,
    totals,
    within,
)
from serving.ranges import DAY_S, MINUTE_S, Period
from serving.text import printable_text


def resources(lake: Lake, asked: Asked) -> Json:
    """Most requested resources, without their query.

    ``{"resources": [{"path", "requests", "bytes_sent", "errors", "earlier"}], "different": n, "counted_over":
    "range" | "whole days"}``. ``path`` is fit to show: bytes that do not print are ``\\xNN``.
    """
    period, limit = asked.period, asked.limit
    (now, over), earlier = _resource_counts(lake, period), None
    if period.earlier:
        earlier, _ = _resource_counts(lake, period.earlier)
    rows = lake.rows(_top("path", now, earlier, limit), gold_and_silver(lake, RESOURCES, now, earlier))
    return {
        "resources": [{**_counts(row), "path": printable_text(row["path"], NAME_LIMIT)} for row in rows],
        "different": rows[0]["different"] if rows else 0,
        "counted_over": over,
    }


def hosts(lake: Lake, asked: Asked) -> Json:
    """Client hosts with most requests.

    ``{"hosts": [{"host", "requests", "bytes_sent", "errors", "earlier"}], "different": n, "counted_over":
    "range" | "sessions begun in the range"}``.
    """
    period, limit = asked.period, asked.limit
    (now, over), earlier = _host_counts(lake, period), None
    if period.earlier:
        earlier, _ = _host_counts(lake, period.earlier)
    rows = lake.rows(_top("host", now, earlier, limit), gold_and_silver(lake, SESSIONS, now, earlier))
    return {
        "hosts": [{**_counts(row), "host": printable_text(row["host"], NAME_LIMIT)} for row in rows],
        "different": rows[0]["different"] if rows else 0,
        "counted_over": over,
    }


def _resource_counts(lake: Lake, period: Period) -> tuple[str, str]:
    days = period.whole_days
    whole = (
        "SELECT path, sum(requests) requests, sum(bytes_sent) bytes_sent, sum(errors) errors FROM gold"
        f" WHERE local_day >= {_local_day(days.start_s, days)} AND local_day < {_local_day(days.end_s, days)}"
        " GROUP BY path"
    )
    if totals(lake, days)["requests"] == totals(lake, period)["requests"]:
        return whole, "range"
    if affordable(lake, period):
        path = "coalesce(split_part(path, '?', 1), '(none)')"
        return _silver_counts(path, "path", period), "range"
    return whole, "whole days"


def _host_counts(lake: Lake, period: Period) -> tuple[str, str]:
    across = [f"(started_at < {instant(s)} AND ended_at >= {instant(s)})" for s in (period.start_s, period.end_s)]
    cut = lake.rows(f"SELECT count(*) n FROM sessions WHERE {' OR '.join(across)}", {"sessions": SESSIONS})[0]["n"]
    if cut and affordable(lake, period):
        return _silver_counts("host", "host", period), "range"
    begun = (
        "SELECT host, sum(requests) requests, sum(bytes_sent) bytes_sent, sum(errors) errors FROM gold"
        f" WHERE {within('started_at', period)} GROUP BY host"
    )
    return begun, "sessions begun in the range" if cut else "range"


def _silver_counts(expression: str, name: str, period: Period) -> str:
    return (
        f"SELECT {expression} {name}, count(*) requests, coalesce(sum(bytes_sent), 0) bytes_sent,"
        f" count(*) FILTER (WHERE status >= 400) errors FROM silver WHERE {within('requested_at', period)} GROUP BY 1"
    )


def _top(name: str, now: str, earlier: str | None, limit: int) -> str:
    before = f", earlier AS ({earlier})" if earlier else ""
    joined = f" LEFT JOIN earlier e ON n.{name} = e.{name}" if earlier else ""
    column = "coalesce(e.requests, 0)" if earlier else "CAST(NULL AS BIGINT)"
    return (
        f"WITH chosen AS ({now}){before}, highest AS (SELECT *, count(*) OVER () different FROM chosen"
        f" ORDER BY requests DESC, {name} LIMIT {limit})"
        f" SELECT n.*, {column} earlier FROM highest n{joined} ORDER BY n.requests DESC, n.{name}"
    )


def _counts(row: Row) -> Json:
    return {name: row[name] for name in ("requests", "bytes_sent", "errors", "earlier")}


def _local_day(instant_s: int, period: Period) -> str:
    return day((instant_s + period.offset_min * MINUTE_S) // DAY_S)
