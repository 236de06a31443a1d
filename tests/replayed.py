"""What a log must look like once it is in Kafka, counted independently of the replayer."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.kafka_broker import Record

MIB = 1024 * 1024


class Line(NamedTuple):
    """A line of a source: first byte, bytes with its line end, bytes of the record."""

    offset: int
    length: int
    value: bytes


def lines_of(log: bytes) -> list[Line]:
    """The lines of a log, by the simplest means there is: only LF ends a line, the last may lack it."""
    found, at = [], 0
    for line in io.BytesIO(log):
        found.append(Line(at, len(line), line.removesuffix(b"\n")[:MIB]))
        at += len(line)
    return found


def line_of(record: Record) -> Line:
    return Line(int(record.headers["offset"]), int(record.headers["length"]), record.value)


def assert_exactly(records: Iterable[Record], log: bytes, source: str) -> None:
    """Every line of the log was sent once, in order, under this source."""
    found = list(records)
    assert [line_of(each) for each in found] == lines_of(log)
    assert {each.key for each in found} <= {source.encode()}
    assert {each.headers["source"] for each in found} <= {source.encode()}


def assert_at_least_once(records: Iterable[Record], log: bytes) -> int:
    """Every line of the log was sent, nothing else was, all under one source; returns how many were sent again."""
    found = list(records)
    assert len({each.key for each in found}) == 1
    times = Counter(line_of(each) for each in found)
    expected = lines_of(log)
    assert set(times) == set(expected)
    return len(found) - len(expected)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
