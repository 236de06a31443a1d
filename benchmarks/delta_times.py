"""When rows became visible, read from Delta logs: every commit says its time, every silver row when Kafka took it."""

import bisect
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable


class Arrival(NamedTuple):
    """``rows`` rows that Kafka took at ``appended_at`` (to the second) and that were visible at ``visible_at``."""

    appended_at: datetime
    visible_at: datetime
    rows: int
    version: int


def arrivals(silver: Path) -> list[Arrival]:
    """Every row of the table, by commit and second of arrival. Compactions are no arrivals."""
    found = []
    for version, actions in _commits(silver):
        info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
        visible_at = _instant(info["timestamp"])
        for add in (action["add"] for action in actions if "add" in action and action["add"]["dataChange"]):
            seconds = pc.floor_temporal(
                pq.read_table(silver / add["path"], columns=["kafka_at"])["kafka_at"], unit="second"
            )
            for row in pc.value_counts(seconds).to_pylist():
                appended_at = row["values"].replace(tzinfo=UTC)
                found.append(Arrival(appended_at, visible_at, row["counts"], version))
    return sorted(found)


def gold_commits(gold: Path) -> list[tuple[int, datetime]]:
    """(silver version, time) of every commit that says which silver version it covers, oldest first."""
    found = []
    for _, actions in _commits(gold):
        info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
        metadata = json.loads(info.get("userMetadata") or "{}")
        if "silver_version" in metadata:
            found.append((int(metadata["silver_version"]), _instant(info["timestamp"])))
    return sorted(found)


def through(rows: Iterable[Arrival], covers: list[tuple[int, datetime]]) -> list[Arrival]:
    """The same rows, visible when the first gold commit covers their silver version; later ones are left out."""
    versions = [version for version, _ in covers]
    places = [(row, bisect.bisect_left(versions, row.version)) for row in rows]
    return [row._replace(visible_at=covers[place][1]) for row, place in places if place < len(covers)]


def then_pushed(rows: Iterable[Arrival], pushes: Sequence[float]) -> list[Arrival]:
    """The same rows, visible when the page was told next."""
    times = sorted(pushes)
    places = [(row, bisect.bisect_left(times, row.visible_at.timestamp())) for row in rows]
    return [
        row._replace(visible_at=datetime.fromtimestamp(times[place], UTC))
        for row, place in places
        if place < len(times)
    ]


def p95_s(rows: Iterable[Arrival]) -> float:
    """95th percentile, over rows, of the seconds from append to visible; a row counts from the middle of its second."""
    waits = sorted(
        ((row.visible_at - row.appended_at - timedelta(seconds=0.5)).total_seconds(), row.rows) for row in rows
    )
    total, so_far = sum(count for _, count in waits), 0
    for wait, count in waits:
        so_far += count
        if so_far >= 0.95 * total:
            return wait
    raise ValueError("no rows to take a percentile of")


def live_files(lake: Path) -> int:
    """Data files in the newest version of every table."""
    tables = [folder.parent for folder in lake.rglob("_delta_log")]
    return sum(len(DeltaTable(str(table)).file_uris()) for table in tables)


def _commits(table: Path) -> list[tuple[int, list[dict]]]:
    logs = sorted((table / "_delta_log").glob("[0-9]*.json"))
    return [(int(log.stem), [json.loads(line) for line in log.read_text().splitlines()]) for log in logs]


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
