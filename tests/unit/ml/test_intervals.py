"""Byte intervals: the arithmetic behind the recognition of duplicates."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.intervals import merged, overlap

_INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


def _bytes(intervals: list[tuple[int, int]]) -> set[int]:
    return {byte for start, end in intervals for byte in range(start, end)}


def test_touching_intervals_are_joined_and_empty_ones_dropped() -> None:
    assert merged([(10, 20), (0, 10), (30, 30), (25, 40)]) == [(0, 20), (25, 40)]


def test_an_interval_inside_another_does_not_shorten_it() -> None:
    assert merged([(0, 100), (10, 20), (50, 60)]) == [(0, 100)]


@given(_INTERVALS)
def test_merging_keeps_exactly_the_bytes(intervals: list[tuple[int, int]]) -> None:
    result = merged(intervals)
    assert _bytes(result) == _bytes(intervals)
    assert all(left[1] < right[0] for left, right in zip(result, result[1:], strict=False))


@given(_INTERVALS, _INTERVALS)
def test_overlap_is_the_intersection(these: list[tuple[int, int]], those: list[tuple[int, int]]) -> None:
    assert _bytes(overlap(merged(these), merged(those))) == _bytes(these) & _bytes(those)
