"""How much happened when: what the lake holds, totals, requests per minute, status mix and heat map of a range."""

from itertools import pairwise

from serving.errors import TableAbsentError
from serving.lake import Lake, Row, instant, seconds
from serving.panels.shared import (
    ERRORS,
    HOURS,
    MINUTES,
    SILENCE_S,
    SILVER,
    Asked,
    Json,
    bucket_sql,
    bucket_starts,
    day,
    totals,
    within,
)
from serving.ranges import HOUR_S, MINUTE_S, Bounds, Period, iso

CLASSES = ("2xx", "3xx", "4xx", "5xx", "other")
METHODS = ("get", "head", "post", "other")


def bounds(lake: Lake, now_s: int) -> Bounds | None:
    """First and newest minute of event time and the log's time zone; None while there are no requests."""
    tomorrow = instant((now_s // HOUR_S + 24) * HOUR_S)
    row = lake.rows(
        f"SELECT min({seconds('minute_at')}) first_s, max({seconds('minute_at')}) last_s,"
        f" max({seconds('minute_at')}) FILTER (WHERE minute_at <= {tomorrow}) newest_s,"
        f" sum(requests) FILTER (WHERE minute_at > {tomorrow}) future FROM minutes",
        {"minutes": MINUTES},
    )[0]
    if row["first_s"] is None:
        return None
    newest = row["last_s"] if row["newest_s"] is None else row["newest_s"]
    offset_min = _utc_offset_min(lake, newest)
    return Bounds(row["first_s"], newest + MINUTE_S, offset_min, int(row["future"] or 0))


def summary(lake: Lake, asked: Asked) -> Json:
    """Totals of the range and of the earlier one.

    ``{"totals": T, "earlier": T | null, "data": {"from", "to", "future_requests"}}`` with T =
    ``{"requests", "errors", "bytes_sent", "minutes", "busiest": {"at_s", "requests"} | null}``: ``errors`` are answers
    of 400 and above, ``bytes_sent`` sums known sizes, ``minutes`` are those with any request.
    """
    period, known = asked.period, asked.bounds
    return {
        "totals": totals(lake, period),
        "earlier": period.earlier and totals(lake, period.earlier),
        "data": {"from": iso(known.first_s), "to": iso(known.end_s), "future_requests": known.future_requests},
    }


def traffic(lake: Lake, asked: Asked) -> Json:
    """Requests per minute over time.

    ``{"at_s": [...], "requests": [...], "errors": [...], "earlier": [...] | null}``: one entry per ``bucket_s``, values
    are requests per minute (mean of the bucket's minutes inside the range), null where the log is silent for more than
    half an hour. ``earlier`` is the earlier period moved onto the same times.
    """
    period = asked.period
    edges = bucket_starts(period)
    now = _series(lake, period, 0)
    earlier = _series(lake, period.earlier, period.shift_s or 0) if period.earlier else None
    return {
        "at_s": edges,
        "requests": _filled(period, edges, {t: r["requests"] for t, r in now.items()}),
        "errors": _filled(period, edges, {t: r["errors"] for t, r in now.items()}),
        "earlier": None if earlier is None else _filled(period, edges, {t: r["requests"] for t, r in earlier.items()}),
    }


def statuses(lake: Lake, asked: Asked) -> Json:
    """Status mix and methods.

    ``{"classes": [{"name": "2xx", "requests", "earlier"}], "methods": [{"name", "requests", "errors"}]}``.
    """
    period = asked.period
    now, before = _mix(lake, period), period.earlier and _mix(lake, period.earlier)
    return {
        "classes": [
            {"name": name, "requests": now[f"status_{name}"], "earlier": before and before[f"status_{name}"]}
            for name in CLASSES
        ],
        "methods": [
            {"name": name, "requests": now[f"method_{name}"], "errors": now[f"errors_{name}"]} for name in METHODS
        ],
    }


def heatmap(lake: Lake, asked: Asked) -> Json:
    """Hour by weekday in the log's own time zone, over the whole hours that the range touches.

    ``{"cells": [{"weekday": 1-7 (1 is Monday), "hour": 0-23, "requests", "errors", "days"}]}``: ``requests`` are sums,
    ``days`` how many days of that weekday have any request in the range, so ``requests / days`` compares fairly.
    """
    period = asked.period
    first = (period.start_s + period.offset_min * MINUTE_S) // HOUR_S
    last = (period.end_s - 1 + period.offset_min * MINUTE_S) // HOUR_S
    rows = lake.rows(
        "WITH chosen AS (SELECT * FROM hours WHERE CAST(CAST(local_day AS INT) AS BIGINT) * 24 + hour"
        f" BETWEEN {first} AND {last} AND local_day BETWEEN {day(first // 24)} AND {day(last // 24)}),"
        " days AS (SELECT weekday, count(DISTINCT local_day) days FROM chosen GROUP BY weekday)"
        " SELECT c.weekday, c.hour, sum(c.requests) requests, sum(c.errors) errors, max(d.days) days"
        " FROM chosen c JOIN days d ON c.weekday = d.weekday GROUP BY c.weekday, c.hour ORDER BY c.weekday, c.hour",
        {"hours": HOURS},
    )
    return {"cells": rows}


def _utc_offset_min(lake: Lake, newest_s: int) -> int:
    try:
        rows = lake.rows(
            "SELECT utc_offset_min, count(*) n FROM silver"
            f" WHERE requested_at >= {instant(newest_s)} AND requested_at < {instant(newest_s + MINUTE_S)}"
            " GROUP BY 1 ORDER BY n DESC, 1 LIMIT 1",
            {"silver": SILVER},
        )
    except TableAbsentError:
        return 0
    return int(rows[0]["utc_offset_min"]) if rows else 0


def _mix(lake: Lake, period: Period) -> Row:
    columns = [f"status_{c}" for c in CLASSES] + [f"{kind}_{m}" for kind in ("method", "errors") for m in METHODS]
    sums = ", ".join(f"coalesce(sum({c}), 0) {c}" for c in columns)
    return lake.rows(f"SELECT {sums} FROM minutes WHERE {within('minute_at', period)}", {"minutes": MINUTES})[0]


def _series(lake: Lake, period: Period, shift_s: int) -> dict[int, Row]:
    rows = lake.rows(
        f"SELECT {bucket_sql(period, seconds('minute_at'), shift_s)} bucket_s, sum(requests) requests,"
        f" sum({ERRORS}) errors FROM minutes WHERE {within('minute_at', period)} GROUP BY 1",
        {"minutes": MINUTES},
    )
    return {row["bucket_s"]: row for row in rows}


def _filled(period: Period, edges: list[int], sums: dict[int, int]) -> list[float | None]:
    """Requests per minute for each bucket; buckets without a row are 0 in a short silence and null in a long one."""
    width = period.bucket_s
    values: list[float | None] = []
    for start in edges:
        minutes = (min(start + width, period.end_s) - max(start, period.start_s)) / MINUTE_S
        values.append(sums[start] / minutes if start in sums else None)
    present = [n for n, value in enumerate(values) if value is not None]
    for before, after in pairwise(present):
        if (after - before - 1) * width <= SILENCE_S:
            values[before + 1 : after] = [0.0] * (after - before - 1)
    return values
