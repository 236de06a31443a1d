"""Sets of byte intervals, half open: ``[(0, 120), (300, 450)]`` covers bytes 0-119 and 300-449. Pure."""

from collections.abc import Iterable

Interval = tuple[int, int]


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same bytes as few sorted intervals as possible; touching ones are joined, empty ones dropped."""
    result: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[0] < i[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def overlap(these: list[Interval], those: list[Interval]) -> list[Interval]:
    """Bytes that both cover; both are merged sets."""
    result: list[Interval] = []
    i = j = 0
    while i < len(these) and j < len(those):
        start, end = max(these[i][0], those[j][0]), min(these[i][1], those[j][1])
        if start < end:
            result.append((start, end))
        if these[i][1] < those[j][1]:
            i += 1
        else:
            j += 1
    return result
