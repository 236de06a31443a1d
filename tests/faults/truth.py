"""What the tables must hold, recomputed from the log files in plain Python: no Spark, no code of the stream.

Tables are read without a JVM. ``deviations`` says what is lost, what is there twice and what comes from nowhere.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from deltalake import DeltaTable

from tests.replayed import lines_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from tests.kafka_broker import Record

#: Lines that nobody can read, or that a rule refuses, and why. The kill suites mix them into real logs.
REFUSED = {
    b"": "empty",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": "tls_bytes",
    b"the quick brown fox": "no_request",
    b'a.example - - [45/Foo/1995:00:00:07 -0400] "GET / HTTP/1.0" 200 1': "bad_time",
    b'a.example - - [09/Jul/1995:00:00:07 -0400] "GET / HTTP/1.0" OK 1': "bad_status",
    b'a.example - - [09/Jul/1995:00:00:07 -0400] "GET / HTTP/1.0" 200 many': "bad_bytes",
    b'a.example - - [09/Jul/1995:00:00:07 -0400] "GET / HTTP/1.0" 999 1': "rule:status_is_http",
}
_COMMON = re.compile(
    r'(\S+) \S+ \S+ \[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\] "(.*)" (\d{3}|-) (\d+|-)'
)
_MONTHS = {name: n for n, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}  # noqa: SIM905
_SILENCE = timedelta(minutes=30)


class Request(NamedTuple):
    """One readable line; ``at`` is UTC, ``local`` the log's wall clock, both without zone."""

    source: str
    byte_offset: int
    host: str
    at: datetime
    local: datetime
    request: str
    status: int | None
    size: int | None


class Truth(NamedTuple):
    """Rows as they must be, each with how often."""

    silver: Counter[Request]
    quarantine: Counter[tuple[str, int, str, bytes]]


def recomputed(logs: Mapping[str, bytes]) -> Truth:
    """Every line of every log once; ``logs`` is the content of each source. Knows Common Log Format and REFUSED."""
    silver: Counter[Request] = Counter()
    quarantine: Counter[tuple[str, int, str, bytes]] = Counter()
    for source, content in logs.items():
        for line in lines_of(content):
            if line.value in REFUSED:
                quarantine[source, line.offset, REFUSED[line.value], line.value] += 1
            else:
                silver[_request(source, line.offset, line.value)] += 1
    return Truth(silver, quarantine)


def deviations(
    lake: Path, logs: Mapping[str, bytes], in_topic: Iterable[Record], erased: Collection[str] = ()
) -> list[str]:
    """Everything in which bronze, silver, quarantine and gold differ from the logs and from what is in the topic.

    Requests of ``erased`` hosts must be in none of them.
    """
    truth = recomputed(logs)
    requests = [request for request in truth.silver.elements() if request.host not in erased]
    in_topic = [r for r in in_topic if r.value.split(b" ")[0].decode(errors="replace").lower() not in erased]
    return [
        *_bronze(lake, in_topic, len(requests) + truth.quarantine.total()),
        *differences("silver", Counter(requests), silver(lake)),
        *differences("quarantine", truth.quarantine, quarantine(lake)),
        *differences("hour x status", Counter((r.local.date(), r.local.hour, r.status) for r in requests), _heat(lake)),
        *differences("gold.access_log_1m", Counter(minutes(requests)), gold(lake, "access_log_1m", MINUTE)),
        *differences("gold.access_log_hourly", Counter(hours(requests)), gold(lake, "access_log_hourly", HOUR)),
        *differences("gold.resource_popularity", Counter(paths(requests)), gold(lake, "resource_popularity", PATH)),
        *differences("gold.sessions", Counter(sessions(requests)), gold(lake, "sessions", SESSION)),
    ]


def differences(name: str, expected: Counter[Any], found: Counter[Any]) -> list[str]:
    lost, extra = expected - found, found - expected
    twice = Counter({row: n for row, n in extra.items() if row in expected})
    unknown = extra - twice
    said = (("lost", lost), ("there more than once", twice), ("not in the log", unknown))
    return [f"{name}: {rows.total()} rows {what}, e.g. {next(iter(rows))}" for what, rows in said if rows]


def silver(lake: Path) -> Counter[Request]:
    names = ["source", "byte_offset", "host", "requested_at", "requested_local", "request", "status", "bytes_sent"]
    return Counter(Request(*row) for row in rows(lake / "silver" / "access_log", names))


def quarantine(lake: Path) -> Counter[tuple[str, int, str, bytes]]:
    return Counter(rows(lake / "quarantine" / "access_log", ["source", "byte_offset", "reason", "line"]))


def gold(lake: Path, subject: str, columns: list[str]) -> Counter[tuple[Any, ...]]:
    return Counter(rows(lake / "gold" / subject, columns))


def rows(path: Path, columns: list[str]) -> list[tuple[Any, ...]]:
    """Rows of a Delta table; none where there is no table. Instants are UTC, without zone."""
    if not DeltaTable.is_deltatable(str(path)):
        return []
    table = DeltaTable(str(path)).to_pyarrow_table(columns=columns)
    values = [[_naive(value) for value in table.column(name).to_pylist()] for name in columns]
    return list(zip(*values, strict=True))


MINUTE = [
    "minute_at", "requests", "bytes_sent", "distinct_hosts",
    "status_2xx", "status_3xx", "status_4xx", "status_5xx", "status_other",
    "method_get", "method_head", "method_post", "method_other",
    "errors_get", "errors_head", "errors_post", "errors_other",
]  # fmt: skip
HOUR = ["local_day", "weekday", "hour", "requests", "bytes_sent", "errors"]
PATH = ["local_day", "path", "requests", "bytes_sent", "errors"]
SESSION = ["host", "started_at", "ended_at", "duration_s", "requests", "bytes_sent", "errors"]


def minutes(requests: Iterable[Request]) -> Iterable[tuple[Any, ...]]:
    for minute, group in _grouped(requests, lambda r: r.at.replace(second=0)):
        status = Counter(r.status // 100 if r.status else None for r in group)
        method = Counter(map(_method, group))
        errors = Counter(_method(r) for r in group if _is_error(r))
        classes = [status[n] for n in (2, 3, 4, 5)]
        yield (
            minute, len(group), _bytes(group), len({r.host for r in group}), *classes, len(group) - sum(classes),
            *[method[name] for name in ("GET", "HEAD", "POST", None)],
            *[errors[name] for name in ("GET", "HEAD", "POST", None)],
        )  # fmt: skip


def hours(requests: Iterable[Request]) -> Iterable[tuple[Any, ...]]:
    for (day, hour), group in _grouped(requests, lambda r: (r.local.date(), r.local.hour)):
        yield day, day.isoweekday(), hour, len(group), _bytes(group), sum(map(_is_error, group))


def paths(requests: Iterable[Request]) -> Iterable[tuple[Any, ...]]:
    for (day, path), group in _grouped(requests, lambda r: (r.local.date(), path_of(r.request).split("?")[0])):
        yield day, path, len(group), _bytes(group), sum(map(_is_error, group))


def sessions(requests: Iterable[Request]) -> Iterable[tuple[Any, ...]]:
    for host, of_host in _grouped(requests, lambda r: r.host):
        visit: list[Request] = []
        for request in sorted(of_host, key=lambda r: r.at):
            if visit and request.at - visit[-1].at > _SILENCE:
                yield _session(host, visit)
                visit = []
            visit.append(request)
        yield _session(host, visit)


def path_of(request: str) -> str:
    """What stands between method and protocol, either of which may be missing."""
    words = request.split(" ")
    known = words[0] in {"GET", "HEAD", "POST"}
    protocol = len(words) > 1 and words[-1].startswith("HTTP/")
    if not known and not protocol:
        return "(none)"
    return " ".join(words[int(known) : len(words) - int(protocol)]).strip() or "(none)"


def _request(source: str, offset: int, line: bytes) -> Request:
    found = _COMMON.fullmatch(line.decode())
    if not found:
        raise ValueError(f"neither Common Log Format nor a planted line: {line!r}")
    host, day, month, year, hour, minute, second, sign, *zone, request, status, size = found.groups()
    wall = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second))
    east = timedelta(hours=int(zone[0]), minutes=int(zone[1])) * (1 if sign == "+" else -1)
    at = wall.replace(tzinfo=timezone(east)).astimezone(UTC).replace(tzinfo=None)
    numbers = [None if n == "-" else int(n) for n in (status, size)]
    return Request(source, offset, host.lower(), at, wall, request, *numbers)


def _bronze(lake: Path, in_topic: Iterable[Record], lines: int) -> list[str]:
    """One row per record, and as many unmarked ones as there are lines."""
    names = ["kafka_partition", "kafka_offset", "source", "byte_offset", "line"]
    records = Counter(
        (r.partition, r.offset, r.headers["source"].decode(), int(r.headers["offset"]), r.value) for r in in_topic
    )
    found = Counter(rows(lake / "bronze" / "access_log", names))
    marked = Counter(row[0] for row in rows(lake / "bronze" / "access_log", ["is_duplicate"]))
    wrong = differences("bronze", records, found)
    kept = sum((silver(lake).total(), quarantine(lake).total()))
    if found.total() != kept + marked[True]:
        wrong.append(f"bronze {found.total()} is not silver and quarantine {kept} + duplicates {marked[True]}")
    if marked[False] != lines:
        wrong.append(f"bronze: {marked[False]} rows are no duplicates, the log has {lines} lines")
    return wrong


def _heat(lake: Path) -> Counter[tuple[date, int, int | None]]:
    found = rows(lake / "silver" / "access_log", ["requested_local", "status"])
    return Counter((local.date(), local.hour, status) for local, status in found)


def _grouped(requests: Iterable[Request], key: Any) -> Iterable[tuple[Any, list[Request]]]:
    groups: defaultdict[Any, list[Request]] = defaultdict(list)
    for request in requests:
        groups[key(request)].append(request)
    return groups.items()


def _session(host: str, visit: list[Request]) -> tuple[Any, ...]:
    start, end = visit[0].at, visit[-1].at
    errors = sum(map(_is_error, visit))
    return host, start, end, int((end - start).total_seconds()), len(visit), _bytes(visit), errors


def _method(request: Request) -> str | None:
    word = request.request.split(" ")[0]
    return word if word in {"GET", "HEAD", "POST"} else None


def _is_error(request: Request) -> bool:
    return (request.status or 0) >= 400


def _bytes(requests: Iterable[Request]) -> int:
    return sum(request.size or 0 for request in requests)


def _naive(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo else value
