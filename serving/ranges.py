"""Which event times a request asks for: an absolute range or the newest ones, and those they are compared with.

Everything is whole minutes as seconds since 1970, start included, end excluded. A time without a zone is the log's own.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from serving.errors import BadRequestError

MINUTE_S, HOUR_S, DAY_S, WEEK_S = 60, 3600, 86_400, 604_800

DEFAULT_LAST = "24h"
DEFAULT_COMPARE = "previous"
COMPARE = ("none", "previous", "day", "week")
#: Parameters that name a range, known to every endpoint that takes one.
PARAMETERS = ("from", "to", "last", "compare")

_UNITS_S = {"m": MINUTE_S, "h": HOUR_S, "d": DAY_S, "w": WEEK_S}
_LAST = re.compile(r"^([1-9]\d{0,3})([mhdw])$")
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_INSTANT = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?$")
_FORMS = "1995-07-09, 1995-07-09T12:30, 1995-07-09T12:30Z or 1995-07-09T12:30-04:00"
#: One point of a chart at least every this many seconds, so that a chart never has more than 1,500 points.
_BUCKETS_S = (60, 300, 900, 3600, 4 * 3600, DAY_S, WEEK_S, 30 * DAY_S, 365 * DAY_S)
_MOST_POINTS = 1500


@dataclass(frozen=True)
class Bounds:
    """What the lake holds: first minute, end of the newest minute that is not in the future, the log's time zone."""

    first_s: int
    end_s: int
    offset_min: int
    #: Requests dated later than tomorrow: a clock was wrong. They do not decide what "newest" means.
    future_requests: int = 0


@dataclass(frozen=True)
class Period:
    """Event times ``[start_s, end_s)`` and, ``shift_s`` earlier, those they are compared with (None: with nothing)."""

    start_s: int
    end_s: int
    shift_s: int | None
    offset_min: int

    @property
    def earlier(self) -> "Period | None":
        if self.shift_s is None:
            return None
        return Period(self.start_s - self.shift_s, self.end_s - self.shift_s, None, self.offset_min)

    @property
    def bucket_s(self) -> int:
        """Width of a point of a chart over this period."""
        length = self.end_s - self.start_s
        return next((b for b in _BUCKETS_S if length <= b * _MOST_POINTS), _BUCKETS_S[-1])

    @property
    def whole_days(self) -> "Period":
        """The period widened to whole days of the log's own time zone."""
        offset_s = self.offset_min * MINUTE_S
        start = (self.start_s + offset_s) // DAY_S * DAY_S - offset_s
        end = -(-(self.end_s + offset_s) // DAY_S) * DAY_S - offset_s
        return Period(start, end, None, self.offset_min)

    def as_json(self) -> dict[str, object]:
        """``{"from", "to", "from_s", "to_s", "utc_offset_min", "bucket_s", "earlier"}``; times UTC, ISO 8601."""
        return {
            "from": iso(self.start_s), "to": iso(self.end_s), "from_s": self.start_s, "to_s": self.end_s,
            "utc_offset_min": self.offset_min, "bucket_s": self.bucket_s,
            "earlier": self.earlier and {"from": iso(self.earlier.start_s), "to": iso(self.earlier.end_s)},
        }  # fmt: skip


def check(query: Mapping[str, str]) -> None:
    """Refuse a wrong range before the lake is asked what it holds; what needs the lake is found by ``read``."""
    read(query, Bounds(first_s=0, end_s=DAY_S, offset_min=0))


def read(query: Mapping[str, str], bounds: Bounds) -> Period:
    """The period that ``from``, ``to``, ``last`` and ``compare`` ask for; a BadRequestError says what is wrong.

    ``from`` and ``to`` are dates or times; a date as ``to`` includes that day. ``last`` is ``15m``, ``24h``, ``7d``,
    ``2w`` or ``all``, counted back from the newest request. Nothing at all means ``last=24h``.
    """
    compare = query.get("compare", DEFAULT_COMPARE)
    if compare not in COMPARE:
        raise BadRequestError("compare", found=repr(compare[:80]), required=f"one of {', '.join(COMPARE)}")
    if "last" in query and ("from" in query or "to" in query):
        raise BadRequestError("last", found="last together with from or to", required="either last, or from and to")
    if "from" in query or "to" in query:
        start_s, end_s = _absolute(query, bounds)
    else:
        start_s, end_s = _relative(query.get("last", DEFAULT_LAST), bounds)
    shift = {"none": None, "previous": end_s - start_s, "day": DAY_S, "week": WEEK_S}[compare]
    if start_s < _EARLIEST_S or end_s > _LATEST_S:
        raise BadRequestError("from", found="a range that leaves the years 1 to 9999", required="one inside them")
    if shift is not None and start_s - shift < _EARLIEST_S:
        raise BadRequestError("compare", found="an earlier period before the year 1", required="a later one")
    return Period(start_s, end_s, shift, bounds.offset_min)


def iso(seconds: int) -> str:
    """``1995-07-09T04:00:00Z`` for seconds since 1970; works for every year that a date can have."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _absolute(query: Mapping[str, str], bounds: Bounds) -> tuple[int, int]:
    zone = timezone(timedelta(minutes=bounds.offset_min))
    end_s = _seconds("to", query["to"], zone, up=True) if "to" in query else bounds.end_s
    start_s = _seconds("from", query["from"], zone, up=False) if "from" in query else end_s - DAY_S
    if start_s >= end_s:
        if "to" not in query:
            # A range that begins after the newest request holds nothing yet; it must not be turned round.
            return start_s, start_s + DAY_S
        raise BadRequestError(
            "from", found=f"from {iso(start_s)} and to {iso(end_s)}", required="from before to (to is not included)"
        )
    return start_s, end_s


def _relative(last: str, bounds: Bounds) -> tuple[int, int]:
    if last == "all":
        return bounds.first_s, bounds.end_s
    match = _LAST.match(last)
    if not match:
        raise BadRequestError("last", found=repr(last[:80]), required="all, or a number and m, h, d or w, such as 24h")
    length = int(match.group(1)) * _UNITS_S[match.group(2)]
    return bounds.end_s - length, bounds.end_s


def _seconds(parameter: str, text: str, zone: timezone, *, up: bool) -> int:
    # A plus sign in a query string arrives as a space unless it was escaped.
    plain = re.sub(r" (\d{2}:?\d{2})$", r"+\1", text) if "T" in text else text
    if not (_DATE.match(plain) or _INSTANT.match(plain)):
        raise BadRequestError(parameter, found=repr(text[:80]), required=f"a date or time such as {_FORMS}")
    try:
        moment = datetime.fromisoformat(plain)
        if up and _DATE.match(plain):
            moment += timedelta(days=1)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        exact = (moment - _EPOCH).total_seconds() / MINUTE_S
        seconds = (math.ceil(exact) if up else math.floor(exact)) * MINUTE_S
        iso(seconds)
    except (ValueError, OverflowError) as error:
        raise BadRequestError(
            parameter, found=f"{text[:80]!r} ({error})", required=f"a day and a time that exist, such as {_FORMS}"
        ) from error
    return seconds


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_S = int((datetime(1, 1, 2, tzinfo=UTC) - _EPOCH).total_seconds())
_LATEST_S = int((datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH).total_seconds())
