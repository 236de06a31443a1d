"""Long logs made of real lines: the 9 July morning again and again, with other times."""

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from contracts.settings import REPOSITORY

SAMPLE = REPOSITORY / "samples" / "nasa_http" / "access_09jul1995_am.log"
_FIRST_DAY = date(1995, 7, 9)


def write_days(path: Path, lines: int) -> int:
    """Write at least ``lines`` lines, each copy of the sample a day later than the one before; returns how many."""
    sample = SAMPLE.read_bytes()
    per_copy = sample.count(b"\n")
    copies = -(-lines // per_copy)
    with path.open("wb") as file:
        for copy in range(copies):
            day = _FIRST_DAY + timedelta(days=copy)
            file.write(sample.replace(b"[09/Jul/1995:", f"[{day:%d/%b/%Y}:".encode()))
    return copies * per_copy


def write_live(path: Path, start: datetime, lines_per_s: int, seconds: int) -> int:
    """Write a log whose times run from ``start`` with ``lines_per_s`` lines in each second; returns how many lines.

    A client stays for a minute: the sample's few hosts, asking on and on, would make one session of the whole log.
    """
    lines = itertools.cycle(_pieces())
    with path.open("wb") as file:
        for second in range(seconds):
            time = f"[{(start + timedelta(seconds=second)).astimezone(UTC):%d/%b/%Y:%H:%M:%S +0000}]".encode()
            visit = b".m%d " % (second // 60)
            file.writelines(
                before.replace(b" ", visit, 1) + time + after for before, after in itertools.islice(lines, lines_per_s)
            )
    return seconds * lines_per_s


def _pieces() -> Iterator[tuple[bytes, bytes]]:
    """Every line of the sample as what stands before and after its time."""
    for line in SAMPLE.read_bytes().splitlines(keepends=True):
        before, rest = line.split(b"[", 1)
        yield before, rest.split(b"]", 1)[1]
