"""Append one row after the other to a table, and note when each commit began and ended.

    python -m tests.faults.committer NAME FOLDER COMMITS [--without-lock]

Waits for the other one before it begins. Writes ``FOLDER/NAME.json``: [[begin, end], ...] in nanoseconds of the
machine's monotonic clock, the same for all processes.
"""

import json
import sys
import time
from argparse import ArgumentParser
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.datasets import QUARANTINE_ACCESS_LOG
from contracts.settings import load_settings
from spark_apps.io import session, tables


class Watched:
    """A writer that notes when its commit begins and ends."""

    def __init__(self, writer: Any, seen: list[tuple[int, int]]) -> None:
        self.writer, self.seen = writer, seen

    def save(self, path: str) -> None:
        began = time.monotonic_ns()
        self.writer.save(path)
        self.seen.append((began, time.monotonic_ns()))


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("commits", type=int)
    parser.add_argument("--without-lock", action="store_true")
    args = parser.parse_args()
    settings, seen = load_settings(), []
    spark = session.start(settings, args.name)
    real = tables._writer
    tables._writer = lambda *parts: Watched(real(*parts), seen)  # type: ignore[assignment]
    # With the lock: of two that create the table at once without it, one fails and the other waits for it in vain.
    tables.create_if_missing(spark, QUARANTINE_ACCESS_LOG, settings)
    if args.without_lock:
        tables.writing = lambda *_: nullcontext()  # type: ignore[assignment]
    (args.folder / f"{args.name}.ready").touch()
    while len(list(args.folder.glob("*.ready"))) < 2:
        time.sleep(0.02)
    for number in range(args.commits):
        at = datetime.now(UTC)
        row = (args.name, 0, number, at, at.date(), None, None, "empty", 1, b"")
        rows = spark.createDataFrame([row], QUARANTINE_ACCESS_LOG.ddl)
        tables.append(rows, QUARANTINE_ACCESS_LOG, settings)
    (args.folder / f"{args.name}.json").write_text(json.dumps(seen))
    spark.stop()


if __name__ == "__main__":
    sys.exit(main())
