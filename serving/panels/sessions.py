"""Sessions that began in a range."""

from serving.lake import Lake, Row, seconds
from serving.panels.shared import NAME_LIMIT, SESSIONS, Asked, Json, within
from serving.ranges import Period
from serving.text import printable_text


def sessions(lake: Lake, asked: Asked) -> Json:
    """Sessions that began in the range, and the longest of them.

    ``{"totals": T, "earlier": T | null, "longest": [{"host", "started_s", "duration_s", "requests", "errors",
    "entry_path", "exit_path"}]}`` with T = ``{"sessions", "hosts", "median_duration_s", "longest_duration_s",
    "mean_requests", "single_request"}``; times in seconds, null where there is none.
    """
    period, limit = asked.period, asked.limit
    rows = lake.rows(
        f"SELECT host, {seconds('started_at')} started_s, duration_s, requests, errors, entry_path, exit_path"
        f" FROM sessions WHERE {within('started_at', period)}"
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


def _session_totals(lake: Lake, period: Period) -> Row:
    return lake.rows(
        "SELECT count(*) sessions, count(DISTINCT host) hosts, median(CAST(duration_s AS DOUBLE)) median_duration_s,"
        " max(duration_s) longest_duration_s, avg(requests) mean_requests,"
        f" count(*) FILTER (WHERE requests = 1) single_request FROM sessions WHERE {within('started_at', period)}",
        {"sessions": SESSIONS},
    )[0]
