"""Instants on their way between Spark and Python: as microseconds, which know no time zone."""

from datetime import UTC, datetime, timedelta

#: Microseconds.
MINUTE = 60_000_000


def from_micros(micros: int) -> datetime:
    """Instant of that many microseconds since 1970, UTC; exact, unlike a float of seconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
