"""A lake as the stream would write it, made from log lines by a parser that shares nothing with the platform's.

The Delta tables have exactly the columns of contracts/datasets.py. ``python -m tests.serving.lake_builder`` makes
one of log files, for tests of other environments.
"""

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from contracts.datasets import (
    BRONZE_ACCESS_LOG,
    GOLD_ACCESS_LOG_1M,
    GOLD_ACCESS_LOG_HOURLY,
    GOLD_ACCESS_LOG_VOLUME_FORECAST,
    GOLD_RESOURCE_POPULARITY,
    GOLD_SESSIONS,
    QUARANTINE_ACCESS_LOG,
    SILVER_ACCESS_LOG,
)
from contracts.schema import Dataset

MONTHS = {name: n for n, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}  # noqa: SIM905
ARROW = {
    "string": pa.string(), "int": pa.int32(), "bigint": pa.int64(), "double": pa.float64(), "boolean": pa.bool_(),
    "binary": pa.binary(), "date": pa.date32(), "timestamp": pa.timestamp("us", "UTC"),
    "array<string>": pa.list_(pa.string()),
}  # fmt: skip
SESSION_GAP = timedelta(minutes=30)

Row = dict[str, Any]


@dataclass
class LakeBuilder:
    """Everything that was ever added, and the folder it is written to. ``add`` is one micro-batch."""

    lake: Path
    bronze: list[Row] = field(default_factory=list)
    silver: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)

    def add(
        self, lines: Iterable[bytes], *, kafka_at: datetime | None = None, duplicates: int = 0, gold: bool = True
    ) -> None:
        """Append lines (without line end) to bronze and silver or quarantine, then make gold anew."""
        at = kafka_at or datetime.now(UTC)
        batch: dict[str, list[Row]] = {"bronze": [], "silver": [], "quarantine": []}
        given = list(lines)
        for line in [*given, *given[:duplicates]]:
            where = self._where_from(at, len(self.bronze) + len(batch["bronze"]))
            again = len(batch["bronze"]) >= len(given)
            marks = {"is_duplicate": again, "was_cut": False, "line_sha256": None}
            batch["bronze"].append({**where, **marks, "byte_length": len(line) + 1, "line": line})
            if again:
                continue
            parsed = parse(line)
            if isinstance(parsed, str):
                batch["quarantine"].append({**where, "reason": parsed, "parser_version": 1, "line": line})
            else:
                batch["silver"].append({**where, **parsed})
        self.bronze += batch["bronze"]
        self.silver += batch["silver"]
        self.quarantine += batch["quarantine"]
        self._append(BRONZE_ACCESS_LOG, batch["bronze"])
        self._append(SILVER_ACCESS_LOG, batch["silver"])
        self._append(QUARANTINE_ACCESS_LOG, batch["quarantine"])
        if gold:
            self.write_gold()

    def write_gold(self) -> None:
        """Gold of all of silver, each commit with the silver version it covers, as the stream says it."""
        version = DeltaTable(SILVER_ACCESS_LOG.path(self.lake)).version()
        said = CommitProperties(custom_metadata={"userMetadata": json.dumps({"silver_version": version})})
        for dataset, rows in (
            (GOLD_ACCESS_LOG_1M, minutes(self.silver)),
            (GOLD_ACCESS_LOG_HOURLY, hours(self.silver)),
            (GOLD_RESOURCE_POPULARITY, resources(self.silver)),
            (GOLD_SESSIONS, sessions(self.silver)),
        ):
            self._write(dataset, rows, "overwrite", said)

    def write_forecast(self, *, version: int = 3, error: float = 2.0) -> None:
        """A forecast of every minute that has requests and of the next one: the true count plus ``error``."""
        counts = {row["minute_at"]: row["requests"] for row in minutes(self.silver)}
        counts[max(counts) + timedelta(minutes=1)] = 0
        model = {"model_name": "access_log_volume", "model_version": version, "scored_at": datetime.now(UTC)}
        rows = [{"minute_at": at, "forecast": n + error, **model} for at, n in sorted(counts.items())]
        self._write(GOLD_ACCESS_LOG_VOLUME_FORECAST, rows, "overwrite", None)

    def _where_from(self, at: datetime, offset: int) -> Row:
        source = hashlib.sha256(str(self.lake).encode()).hexdigest()[:16]
        return {
            "topic_id": "tests", "kafka_partition": 0, "kafka_offset": offset, "kafka_at": at,
            "arrived_on": at.date(), "source": source, "byte_offset": offset * 100,
        }  # fmt: skip

    def _append(self, dataset: Dataset, rows: list[Row]) -> None:
        self._write(dataset, rows, "append", None)

    def _write(self, dataset: Dataset, rows: list[Row], mode: str, said: CommitProperties | None) -> None:
        write_deltalake(
            dataset.path(self.lake), arrow(dataset, rows), mode=mode, partition_by=list(dataset.partitioned_by) or None,
            configuration=dict(dataset.properties), commit_properties=said,
        )  # fmt: skip


def arrow(dataset: Dataset, rows: Sequence[Row]) -> pa.Table:
    schema = pa.schema([pa.field(c.name, ARROW[c.type], nullable=c.nullable) for c in dataset.columns])
    return pa.Table.from_pylist([{name: row[name] for name in dataset.column_names} for row in rows], schema=schema)


def parse(line: bytes) -> Row | str:
    """Columns of silver, or why there are none. Splits at quotes and spaces: slow, plain, and nobody else's idea."""
    if not line.strip():
        return "empty"
    text = line.decode("utf-8", errors="replace")
    before, quote, rest = text.partition('"')
    request, end, after = rest.rpartition('"')
    fields = after.split()
    if not quote or not end or len(fields) != 2:
        return "no_request"
    host, _, stamp = before.partition(" - - [")
    requested_at = moment(stamp.strip().rstrip("]"))
    if requested_at is None:
        return "bad_time"
    words = request.split(" ")
    protocol = words[-1] if words[-1].upper().startswith("HTTP/") else None
    path = " ".join(words[1:-1] if protocol else words[1:]) or None
    flags = [flag for flag, odd in (("no_protocol", protocol is None), ("space_in_path", " " in (path or ""))) if odd]
    return {
        "requested_at": requested_at.astimezone(UTC), "requested_local": requested_at.replace(tzinfo=UTC),
        "utc_offset_min": int(requested_at.utcoffset().total_seconds() // 60),
        "host": host.lower(), "ident": None, "user_name": None, "request": request,
        "method": words[0] if words[0] in {"GET", "HEAD", "POST"} else None, "path": path, "protocol": protocol,
        "status": int(fields[0]), "bytes_sent": None if fields[1] == "-" else int(fields[1]),
        "referrer": None, "user_agent": None, "format": "common", "flags": flags, "parser_version": 1,
    }  # fmt: skip


def moment(stamp: str) -> datetime | None:
    """``09/Jul/1995:00:00:07 -0400``; None if it is not of that form."""
    try:
        clock, zone = stamp.split(" ")
        day, month, rest = clock.split("/")
        year, hour, minute, second = rest.split(":")
        offset = timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:]))
        return datetime(
            int(year), MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=timezone(offset)
        )
    except (ValueError, KeyError, IndexError):
        return None


def minutes(silver: Sequence[Row]) -> list[Row]:
    grouped: dict[datetime, list[Row]] = defaultdict(list)
    for row in silver:
        grouped[row["requested_at"].replace(second=0)].append(row)
    return [
        {
            "minute_at": at, "requests": len(rows), "bytes_sent": total_bytes(rows),
            "distinct_hosts": len({r["host"] for r in rows}),
            **{f"status_{n}xx": sum(r["status"] // 100 == n for r in rows) for n in (2, 3, 4, 5)},
            "status_other": sum(r["status"] // 100 not in {2, 3, 4, 5} for r in rows),
            **{f"method_{m.lower()}": sum(r["method"] == m for r in rows) for m in ("GET", "HEAD", "POST")},
            "method_other": sum(r["method"] is None for r in rows),
            **{f"errors_{m.lower()}": errors([r for r in rows if r["method"] == m]) for m in ("GET", "HEAD", "POST")},
            "errors_other": errors([r for r in rows if r["method"] is None]),
        }
        for at, rows in sorted(grouped.items())
    ]  # fmt: skip


def hours(silver: Sequence[Row]) -> list[Row]:
    grouped: dict[tuple[date, int], list[Row]] = defaultdict(list)
    for row in silver:
        local = row["requested_at"] + timedelta(minutes=row["utc_offset_min"])
        grouped[local.date(), local.hour].append(row)
    return [
        {"local_day": day, "weekday": day.isoweekday(), "hour": hour, **sums(rows)}
        for (day, hour), rows in sorted(grouped.items())
    ]


def resources(silver: Sequence[Row]) -> list[Row]:
    grouped: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for row in silver:
        day = (row["requested_at"] + timedelta(minutes=row["utc_offset_min"])).date()
        grouped[day, "(none)" if row["path"] is None else row["path"].split("?")[0]].append(row)
    return [{"local_day": day, "path": path, **sums(rows)} for (day, path), rows in sorted(grouped.items())]


def sessions(silver: Sequence[Row]) -> list[Row]:
    by_host: dict[str, list[Row]] = defaultdict(list)
    for row in silver:
        by_host[row["host"]].append(row)
    found: list[Row] = []
    for host, rows in by_host.items():
        rows.sort(key=lambda r: (r["requested_at"], r["kafka_offset"]))
        runs = [[rows[0]]]
        for row in rows[1:]:
            if row["requested_at"] - runs[-1][-1]["requested_at"] > SESSION_GAP:
                runs.append([])
            runs[-1].append(row)
        for run in runs:
            first, last = run[0]["requested_at"], run[-1]["requested_at"]
            found.append({
                "host": host, "started_at": first, "ended_at": last, "duration_s": int((last - first).total_seconds()),
                **sums(run),
                "entry_path": run[0]["path"], "exit_path": run[-1]["path"],
            })  # fmt: skip
    return found


def total_bytes(rows: Iterable[Row]) -> int:
    return sum(row["bytes_sent"] or 0 for row in rows)


def errors(rows: Iterable[Row]) -> int:
    return sum(row["status"] >= 400 for row in rows)


def sums(rows: Sequence[Row]) -> Row:
    return {"requests": len(rows), "bytes_sent": total_bytes(rows), "errors": errors(rows)}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--log", type=Path, action="append", required=True, help="log file; may be repeated")
    parser.add_argument("--forecast", action="store_true", help="also write a forecast of every minute")
    parser.add_argument("--duplicates", type=int, default=0)
    args = parser.parse_args(argv)
    builder = LakeBuilder(args.lake)
    lines = [line.rstrip(b"\n") for log in args.log for line in log.read_bytes().splitlines(keepends=True)]
    builder.add(lines, duplicates=args.duplicates)
    if args.forecast:
        builder.write_forecast()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
