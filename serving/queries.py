"""What the page shows: SQL over the gold tables and the JSON that comes of it. One function a panel; times are seconds.

Gold answers whatever it can answer exactly. Where a range cuts a day (resources) or a session (hosts), the rows of that
range are counted in silver, at the version that gold covers, unless they are too many: then gold answers for slightly
more than the range and the answer says so in ``counted_over``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from serving.errors import TableAbsentError
from serving.lake import Lake, Row, instant, seconds
from serving.ranges import DAY_S, HOUR_S, MINUTE_S, Bounds, Period, iso
from serving.text import printable, printable_text

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
#: Characters of a quarantined line, a path, a host that the page is sent.
LINE_LIMIT, NAME_LIMIT = 500, 300

CLASSES = ("2xx", "3xx", "4xx", "5xx", "other")
METHODS = ("get", "head", "post", "other")
_ERRORS = "errors_get + errors_head + errors_post + errors_other"


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
        "totals": _totals(lake, period),
        "earlier": period.earlier and _totals(lake, period.earlier),
        "data": {"from": iso(known.first_s), "to": iso(known.end_s), "future_requests": known.future_requests},
    }


def traffic(lake: Lake, asked: Asked) -> Json:
    """Requests per minute over time.

    ``{"at_s": [...], "requests": [...], "errors": [...], "earlier": [...] | null}``: one entry per ``bucket_s``, values
    are requests per minute (mean of the bucket's minutes inside the range), null where the log is silent for more than
    half an hour. ``earlier`` is the earlier period moved onto the same times.
    """
    period = asked.period
    edges = _bucket_starts(period)
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


def resources(lake: Lake, asked: Asked) -> Json:
    """Most requested resources, without their query.

    ``{"resources": [{"path", "requests", "bytes_sent", "errors", "earlier"}], "different": n, "counted_over":
    "range" | "whole days"}``. ``path`` is fit to show: bytes that do not print are ``\\xNN``.
    """
    period, limit = asked.period, asked.limit
    (now, over), earlier = _resource_counts(lake, period), None
    if period.earlier:
        earlier, _ = _resource_counts(lake, period.earlier)
    rows = lake.rows(_top("path", now, earlier, limit), _tables(lake, RESOURCES, now, earlier))
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
    rows = lake.rows(_top("host", now, earlier, limit), _tables(lake, SESSIONS, now, earlier))
    return {
        "hosts": [{**_counts(row), "host": printable_text(row["host"], NAME_LIMIT)} for row in rows],
        "different": rows[0]["different"] if rows else 0,
        "counted_over": over,
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
        f" BETWEEN {first} AND {last} AND local_day BETWEEN {_day(first // 24)} AND {_day(last // 24)}),"
        " days AS (SELECT weekday, count(DISTINCT local_day) days FROM chosen GROUP BY weekday)"
        " SELECT c.weekday, c.hour, sum(c.requests) requests, sum(c.errors) errors, max(d.days) days"
        " FROM chosen c JOIN days d ON c.weekday = d.weekday GROUP BY c.weekday, c.hour ORDER BY c.weekday, c.hour",
        {"hours": HOURS},
    )
    return {"cells": rows}


def sessions(lake: Lake, asked: Asked) -> Json:
    """Sessions that began in the range, and the longest of them.

    ``{"totals": T, "earlier": T | null, "longest": [{"host", "started_s", "duration_s", "requests", "errors",
    "entry_path", "exit_path"}]}`` with T = ``{"sessions", "hosts", "median_duration_s", "longest_duration_s",
    "mean_requests", "single_request"}``; times in seconds, null where there is none.
    """
    period, limit = asked.period, asked.limit
    rows = lake.rows(
        f"SELECT host, {seconds('started_at')} started_s, duration_s, requests, errors, entry_path, exit_path"
        f" FROM sessions WHERE {_within('started_at', period)}"
        f" ORDER BY duration_s DESC, started_at, host LIMIT {limit}",
        {"sessions": SESSIONS},
    )
    shown = [
        {**row, **{name: printable_text(row[name], NAME_LIMIT) for name in ("host", "entry_path", "exit_path")}}
        for row in rows
    ]
    return {
        "totals": _session_totals(lake, period),
        "earlier": period.earlier and _session_totals(lake, period.earlier),
        "longest": shown,
    }


def forecast(lake: Lake, asked: Asked) -> Json:
    """Forecast against actual, requests per minute.

    ``{"at_s", "forecast", "actual"}`` (means per bucket, null where there is none), ``"models": [{"name", "version",
    "minutes", "mean_absolute_error", "mean_actual", "scored_at_s"}]``. A silent minute that was forecast counts as 0.
    """
    period = asked.period
    tables = {"forecasts": FORECAST, "minutes": MINUTES}
    # A minute without requests was silent when the log goes on soon after it, and is not known yet otherwise.
    following = "min(m.minute_at) OVER (ORDER BY f.minute_at ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
    joined = (
        f"WITH side_by_side AS (SELECT {seconds('f.minute_at')} at_s, f.forecast, f.model_name, f.model_version,"
        f" {seconds('f.scored_at')} scored_s, m.requests, {seconds(following)} following_s"
        f" FROM forecasts f LEFT JOIN minutes m ON f.minute_at = m.minute_at WHERE {_within('f.minute_at', period)}),"
        " joined AS (SELECT *, CASE WHEN requests IS NOT NULL THEN requests"
        f" WHEN following_s - at_s <= {SILENCE_S} THEN 0 END actual FROM side_by_side)"
    )
    bucket = _bucket_sql(period, "at_s", 0)
    points = lake.rows(
        f"{joined} SELECT {bucket} bucket_s, avg(forecast) forecast, avg(actual) actual FROM joined GROUP BY 1", tables
    )
    models = lake.rows(
        f"{joined} SELECT model_name name, model_version version, count(actual) minutes,"
        " avg(abs(forecast - actual)) mean_absolute_error, avg(actual) mean_actual, max(scored_s) scored_at_s"
        " FROM joined GROUP BY 1, 2 ORDER BY version DESC, name",
        tables,
    )
    by_bucket = {row["bucket_s"]: row for row in points}
    edges = _bucket_starts(period)
    return {
        "at_s": edges,
        "forecast": [by_bucket[t]["forecast"] if t in by_bucket else None for t in edges],
        "actual": [by_bucket[t]["actual"] if t in by_bucket else None for t in edges],
        "models": [{**model, "name": printable_text(model["name"], NAME_LIMIT)} for model in models],
    }


def oddities(lake: Lake, asked: Asked) -> Json:
    """Requests that were kept although something about them is odd.

    ``{"requests": n, "flags": [{"flag", "requests"}], "newest": [{"requested_s", "host", "request", "status",
    "flags"}]}``, or ``{"requests": null, ...}`` with empty lists where the range has too many rows to look through.
    """
    period = asked.period
    if not _affordable(lake, period):
        return {"requests": None, "flags": [], "newest": []}
    tables = _tables(lake, MINUTES, "FROM silver")
    odd = f"FROM silver WHERE {_within('requested_at', period)} AND array_length(flags) > 0"
    flags = lake.rows(
        f"SELECT flag, count(*) requests FROM (SELECT unnest(flags) flag {odd}) GROUP BY 1 ORDER BY 2 DESC, 1", tables
    )
    newest = lake.rows(
        f"SELECT {seconds('requested_at')} requested_s, host, request, status, flags {odd}"
        f" ORDER BY requested_at DESC, kafka_partition, kafka_offset DESC LIMIT {asked.limit}",
        tables,
    )
    shown = [{**row, "host": printable_text(row["host"], NAME_LIMIT)} for row in newest]
    return {
        "requests": lake.rows(f"SELECT count(*) n {odd}", tables)[0]["n"],
        "flags": flags,
        "newest": [{**row, "request": printable_text(row["request"], LINE_LIMIT)} for row in shown],
    }


def quarantine(lake: Lake, listed: Listed) -> Json:
    """What could not be read, by *arrival*: such lines have no event time.

    ``{"total", "reasons": [{"reason", "lines", "first_s", "last_s"}], "lines": [{"reason", "kafka_at_s",
    "kafka_partition", "kafka_offset", "bytes", "shown", "was_cut"}]}``: the newest lines, of one reason if asked;
    ``shown`` is the beginning of the raw bytes as text, ``bytes`` their full number.
    """
    reasons = lake.rows(
        f"SELECT reason, count(*) lines, min({seconds('kafka_at')}) first_s, max({seconds('kafka_at')}) last_s"
        " FROM quarantine GROUP BY reason ORDER BY lines DESC, reason",
        {"quarantine": QUARANTINE},
    )
    chosen = "TRUE" if listed.reason is None else f"reason = {_quoted(listed.reason)}"
    lines = _newest_lines(lake, chosen, listed.limit)
    return {
        "total": sum(row["lines"] for row in reasons),
        "reasons": [{**row, "reason": printable_text(row["reason"], NAME_LIMIT)} for row in reasons],
        "lines": [_shown(row) for row in lines],
    }


def freshness(lake: Lake, _: Listed) -> Json:
    """How new each layer is, and how many rows it has: from the Delta logs alone, no data is read.

    ``{"tables": [{"name", "version", "rows", "files", "committed_at_s", "covers_silver_version"}], "newest_kafka_at_s",
    "silver_version", "gold_covers_silver_version"}``: Kafka's append time of the newest line in silver; the silver
    version that *all* gold tables cover. A table that is absent is left out.
    """
    tables: list[Json] = []
    newest: float | None = None
    for name, version in lake.versions().items():
        if version is None:
            continue
        facts = lake.facts(name)
        covers = lake.covers(name) if name.startswith("gold.") else None
        tables.append({
            "name": name, "version": facts.version, "rows": facts.rows, "files": facts.files,
            "committed_at_s": lake.committed_at(name), "covers_silver_version": covers,
        })  # fmt: skip
        if name == SILVER and "kafka_at" in facts.newest:
            newest = facts.newest["kafka_at"].timestamp()
    by_name = {table["name"]: table for table in tables}
    covered = [by_name[n]["covers_silver_version"] for n in (MINUTES, HOURS, RESOURCES, SESSIONS) if n in by_name]
    return {
        "tables": tables,
        "newest_kafka_at_s": newest,
        "silver_version": by_name.get(SILVER, {}).get("version"),
        "gold_covers_silver_version": min(covered) if covered and None not in covered else None,
    }


def duplicates(lake: Lake, _: Listed) -> Json:
    """``{"duplicates": n}``: Kafka records that were delivered again, bronze rows marked so. Reads one bit a row."""
    return {"duplicates": lake.rows("SELECT count(*) n FROM bronze WHERE is_duplicate", {"bronze": BRONZE})[0]["n"]}


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


def _totals(lake: Lake, period: Period) -> Json:
    row = lake.rows(
        f"SELECT coalesce(sum(requests), 0) requests, coalesce(sum({_ERRORS}), 0) errors,"
        " coalesce(sum(bytes_sent), 0) bytes_sent, count(*) minutes, max(requests) most,"
        f" min({seconds('minute_at')}) FILTER (WHERE requests = most_of_all) at_s"
        " FROM (SELECT *, max(requests) OVER () most_of_all FROM minutes"
        f" WHERE {_within('minute_at', period)}) chosen",
        {"minutes": MINUTES},
    )[0]
    most, at_s = row.pop("most"), row.pop("at_s")
    return {**row, "busiest": None if most is None else {"at_s": at_s, "requests": most}}


def _mix(lake: Lake, period: Period) -> Row:
    columns = [f"status_{c}" for c in CLASSES] + [f"{kind}_{m}" for kind in ("method", "errors") for m in METHODS]
    sums = ", ".join(f"coalesce(sum({c}), 0) {c}" for c in columns)
    return lake.rows(f"SELECT {sums} FROM minutes WHERE {_within('minute_at', period)}", {"minutes": MINUTES})[0]


def _series(lake: Lake, period: Period, shift_s: int) -> dict[int, Row]:
    rows = lake.rows(
        f"SELECT {_bucket_sql(period, seconds('minute_at'), shift_s)} bucket_s, sum(requests) requests,"
        f" sum({_ERRORS}) errors FROM minutes WHERE {_within('minute_at', period)} GROUP BY 1",
        {"minutes": MINUTES},
    )
    return {row["bucket_s"]: row for row in rows}


def _bucket_sql(period: Period, column: str, shift_s: int) -> str:
    # Buckets begin on full hours and days of the log's own clock, so that labels are round. floor, because the division
    # of whole numbers goes towards zero, and 1969 is before it.
    offset, width = shift_s + period.offset_min * MINUTE_S, period.bucket_s
    return f"CAST(floor(({column} + {offset}) / {width}.0) AS BIGINT) * {width} - {period.offset_min * MINUTE_S}"


def _bucket_starts(period: Period) -> list[int]:
    offset_s, width = period.offset_min * MINUTE_S, period.bucket_s
    first, last = (period.start_s + offset_s) // width, (period.end_s - 1 + offset_s) // width
    return [n * width - offset_s for n in range(first, last + 1)]


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


def _resource_counts(lake: Lake, period: Period) -> tuple[str, str]:
    days = period.whole_days
    whole = (
        "SELECT path, sum(requests) requests, sum(bytes_sent) bytes_sent, sum(errors) errors FROM gold"
        f" WHERE local_day >= {_local_day(days.start_s, days)} AND local_day < {_local_day(days.end_s, days)}"
        " GROUP BY path"
    )
    if _totals(lake, days)["requests"] == _totals(lake, period)["requests"]:
        return whole, "range"
    if _affordable(lake, period):
        path = "coalesce(split_part(path, '?', 1), '(none)')"
        return _silver_counts(path, "path", period), "range"
    return whole, "whole days"


def _host_counts(lake: Lake, period: Period) -> tuple[str, str]:
    across = [f"(started_at < {instant(s)} AND ended_at >= {instant(s)})" for s in (period.start_s, period.end_s)]
    cut = lake.rows(f"SELECT count(*) n FROM sessions WHERE {' OR '.join(across)}", {"sessions": SESSIONS})[0]["n"]
    if cut and _affordable(lake, period):
        return _silver_counts("host", "host", period), "range"
    begun = (
        "SELECT host, sum(requests) requests, sum(bytes_sent) bytes_sent, sum(errors) errors FROM gold"
        f" WHERE {_within('started_at', period)} GROUP BY host"
    )
    return begun, "sessions begun in the range" if cut else "range"


def _silver_counts(expression: str, name: str, period: Period) -> str:
    return (
        f"SELECT {expression} {name}, count(*) requests, coalesce(sum(bytes_sent), 0) bytes_sent,"
        f" count(*) FILTER (WHERE status >= 400) errors FROM silver WHERE {_within('requested_at', period)} GROUP BY 1"
    )


def _affordable(lake: Lake, period: Period) -> bool:
    try:
        start, end = (datetime.fromtimestamp(s, UTC) for s in (period.start_s, period.end_s))
        return lake.rows_between(SILVER, "requested_at", start, end) <= MOST_SILVER_ROWS
    except TableAbsentError:
        return False


def _tables(lake: Lake, gold: str, *queries: str | None) -> dict[str, str | tuple[str, int]]:
    used: dict[str, str | tuple[str, int]] = {"gold": gold}
    if any(query and "FROM silver" in query for query in queries):
        version = lake.covers(gold)
        used["silver"] = SILVER if version is None else (SILVER, version)
    return used


def _top(name: str, now: str, earlier: str | None, limit: int) -> str:
    before = f", earlier AS ({earlier})" if earlier else ""
    joined = f" LEFT JOIN earlier e ON n.{name} = e.{name}" if earlier else ""
    column = "coalesce(e.requests, 0)" if earlier else "CAST(NULL AS BIGINT)"
    return (
        f"WITH chosen AS ({now}){before}, highest AS (SELECT *, count(*) OVER () different FROM chosen"
        f" ORDER BY requests DESC, {name} LIMIT {limit})"
        f" SELECT n.*, {column} earlier FROM highest n{joined} ORDER BY n.requests DESC, n.{name}"
    )


def _newest_lines(lake: Lake, chosen: str, limit: int) -> list[Row]:
    # Keys first, then the lines of those keys alone: a batch of lines of 1 MB each would not fit into memory.
    key = f"{seconds('kafka_at')} kafka_at_s, topic_id, kafka_partition, kafka_offset"
    order = "kafka_at DESC, kafka_partition, kafka_offset DESC"
    newest = f"SELECT reason, {key} FROM quarantine WHERE {chosen} ORDER BY {order} LIMIT {limit}"
    keys = lake.rows(newest, {"quarantine": QUARANTINE})
    if not keys:
        return []
    since, until = min(k["kafka_at_s"] for k in keys), max(k["kafka_at_s"] for k in keys) + 1
    wanted = ", ".join(f"{k['kafka_offset']}" for k in keys)
    found = lake.rows(
        f"SELECT {key}, line FROM quarantine WHERE kafka_at >= {instant(since)} AND kafka_at < {instant(until)}"
        f" AND kafka_offset IN ({wanted})",
        {"quarantine": QUARANTINE},
        late_columns=True,
    )
    lines = {_record(row): row["line"] for row in found}
    return [{**row, "line": lines.get(_record(row))} for row in keys]


def _record(row: Row) -> tuple[str, int, int]:
    return row["topic_id"], row["kafka_partition"], row["kafka_offset"]


def _session_totals(lake: Lake, period: Period) -> Row:
    return lake.rows(
        "SELECT count(*) sessions, count(DISTINCT host) hosts, median(CAST(duration_s AS DOUBLE)) median_duration_s,"
        " max(duration_s) longest_duration_s, avg(requests) mean_requests,"
        f" count(*) FILTER (WHERE requests = 1) single_request FROM sessions WHERE {_within('started_at', period)}",
        {"sessions": SESSIONS},
    )[0]


def _counts(row: Row) -> Json:
    return {name: row[name] for name in ("requests", "bytes_sent", "errors", "earlier")}


def _shown(row: Row) -> Json:
    line = row["line"] or b""
    return {
        **{name: row[name] for name in ("kafka_at_s", "kafka_partition", "kafka_offset")},
        "reason": printable_text(row["reason"], NAME_LIMIT), "bytes": len(line),
        "shown": printable(line, LINE_LIMIT), "was_cut": len(printable(line, LINE_LIMIT + 1)) > LINE_LIMIT,
    }  # fmt: skip


def _within(column: str, period: Period) -> str:
    return f"{column} >= {instant(period.start_s)} AND {column} < {instant(period.end_s)}"


def _local_day(instant_s: int, period: Period) -> str:
    return _day((instant_s + period.offset_min * MINUTE_S) // DAY_S)


def _day(days_since_1970: int) -> str:
    return f"CAST({days_since_1970} AS DATE)" if days_since_1970 < 0 else f"to_date({days_since_1970})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
