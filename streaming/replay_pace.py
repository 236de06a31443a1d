"""How fast lines leave: as fast as possible, so many a second, or at a multiple of their original pace."""

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from time import monotonic

#: Given a line, the seconds to wait before it may leave.
Pace = Callable[[bytes], float]
Clock = Callable[[], float]

#: A pause of the original longer than this, or a jump back by as much, is a gap between fragments or a wrong clock.
GAP_S = 24 * 3600
#: After a stall at most this much is caught up in a burst.
BURST_S = 1.0

_TIME = re.compile(rb"\[(\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4})\]")
_MONTHS = {
    "Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6,
    "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12,
}  # fmt: skip


def steady(lines_per_s: float, clock: Clock = monotonic) -> Pace:
    """So many lines a second."""
    due = clock()

    def wait(_line: bytes) -> float:
        nonlocal due
        now = clock()
        due = max(due, now - BURST_S)
        delay = due - now
        due += 1 / lines_per_s
        return max(delay, 0.0)

    return wait


def original(speed: float, clock: Clock = monotonic) -> Pace:
    """``speed`` times as fast as the times in the lines (Common and Combined log format).

    A line without readable time leaves with its predecessor, one that is late within the log leaves at once, and
    after a gap of more than a day, or a jump back of as much, the next line leaves at once.
    """
    anchor: tuple[float, float] | None = None
    latest = 0.0

    def wait(line: bytes) -> float:
        nonlocal anchor, latest
        written, now = time_of(line), clock()
        if written is None:
            return 0.0
        if anchor is None or abs(written - latest) > GAP_S:
            anchor, latest = (now, written), written
            return 0.0
        latest = max(latest, written)
        due = anchor[0] + (latest - anchor[1]) / speed
        if now - due > BURST_S:
            anchor = (now, latest)
        return max(due - now, 0.0)

    return wait


def time_of(line: bytes) -> float | None:
    """Seconds since 1970 by the ``[09/Jul/1995:00:00:00 -0400]`` of a line; None where it has none that is valid."""
    found = _TIME.search(line, 0, 4096)
    return _seconds(found[1].decode("ascii")) if found else None


@lru_cache(maxsize=64)
def _seconds(text: str) -> float | None:
    # Not strptime("%b"): month names there depend on the locale.
    day, month, rest = text.split("/", 2)
    if month not in _MONTHS:
        return None
    try:
        moment = datetime.strptime(f"{day}/{_MONTHS[month]:02}/{rest}", "%d/%m/%Y:%H:%M:%S %z")
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
