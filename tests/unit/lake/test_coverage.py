"""Which bytes of which source a micro-batch holds: every order, gaps and repeats, against a count line by line."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from streaming import coverage
from streaming.intervals import merged

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

Line = tuple[str | None, int | None, int | None]
EDGES = [0, 10, 20, 30, 45, 60, 61]
WHOLE: list[Line] = [("a", start, end - start) for start, end in zip(EDGES, EDGES[1:], strict=False)]


def found(spark: SparkSession, lines: list[Line]):
    frame = spark.createDataFrame(lines, "source string, byte_offset bigint, byte_length bigint").coalesce(2)
    return coverage.coverage(frame)


def by_hand(lines: list[Line]):
    known = Counter((source, start, size) for source, start, size in lines if source is not None)
    sources = {source for source, _, _ in known}
    covered = {s: merged((start, start + size) for source, start, size in known if source == s) for s in sources}
    return len(lines), covered, any(count > 1 for count in known.values())


@pytest.mark.parametrize(
    "lines",
    [
        WHOLE,
        list(reversed(WHOLE)),
        WHOLE[:2] + WHOLE[3:],
        [*WHOLE, WHOLE[2]],
        # A repeat and a gap of the same length: their lengths add up as if nothing were missing.
        [WHOLE[0], WHOLE[0], WHOLE[2], WHOLE[3]],
        # Twice repeated, twice missing: an odd number of each line.
        [WHOLE[0], WHOLE[0], WHOLE[0], WHOLE[3]],
        [*WHOLE, *WHOLE],
        [*WHOLE, ("b", 5, 5), ("b", 20, 5), (None, None, None), (None, None, None)],
        [(None, None, None)],
        [],
    ],
    ids=["whole", "backwards", "gap", "repeat", "repeat and gap", "odd", "all twice", "two sources", "none", "empty"],
)
def test_coverage_is_what_a_count_by_hand_says(spark: SparkSession, lines: list[Line]) -> None:
    assert found(spark, lines) == by_hand(lines)


def test_random_micro_batches(spark: SparkSession) -> None:
    seeded = random.Random(7)  # noqa: S311 - a fixed order, not a secret
    for _ in range(12):
        edges = sorted(seeded.sample(range(200), 20))
        lines: list[Line] = [("a", start, end - start) for start, end in zip(edges, edges[1:], strict=False)]
        picked = seeded.choices(lines, k=seeded.randint(1, 30)) if seeded.random() < 0.7 else lines
        assert found(spark, picked) == by_hand(picked)


def test_a_line_without_bytes_is_no_reason_to_skip_the_count(spark: SparkSession) -> None:
    assert found(spark, [*WHOLE, ("a", 20, 0), ("a", 20, 0)])[2] is True
