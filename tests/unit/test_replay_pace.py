"""The pace of a replay: measured with a clock that only moves when the test says so."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.replay_pace import original, steady, time_of


class Clock:
    """Seconds that pass only by waiting."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def times(self, pace, lines):
        """Seconds after the start at which each line leaves."""
        started, found = self.now, []
        for line in lines:
            self.now += pace(line)
            found.append(round(self.now - started, 6))
        return found


def at(text: str) -> bytes:
    return b'host - - [%s] "GET / HTTP/1.0" 200 1' % text.encode()


def test_a_steady_pace_sends_so_many_lines_a_second():
    clock = Clock()
    assert clock.times(steady(4, clock), [b"x"] * 5) == [0, 0.25, 0.5, 0.75, 1.0]


def test_a_steady_pace_does_not_make_up_for_a_long_stall_in_one_burst():
    clock = Clock()
    pace = steady(10, clock)
    clock.times(pace, [b"x"] * 2)
    clock.now += 3600
    burst = clock.times(pace, [b"x"] * 30)
    assert sum(each == 0 for each in burst) == 11  # one second's worth, and the line that is due
    assert burst[-1] == pytest.approx(1.9)


def test_the_original_pace_is_that_of_the_times_in_the_lines():
    clock = Clock()
    lines = [at("09/Jul/1995:00:00:00 -0400"), at("09/Jul/1995:00:00:30 -0400"), at("09/Jul/1995:00:02:00 -0400")]
    assert clock.times(original(60, clock), lines) == [0, 0.5, 2.0]


def test_a_line_without_a_readable_time_leaves_with_its_predecessor():
    clock = Clock()
    lines = [at("09/Jul/1995:00:00:00 -0400"), at("09/Jul/1995:00:00:10 -0400"), b"\x16\x03\x01", b"", at("never")]
    assert clock.times(original(1, clock), lines) == [0, 10, 10, 10, 10]


def test_a_line_that_is_late_within_the_log_leaves_at_once():
    clock = Clock()
    lines = [at(f"09/Jul/1995:00:00:{second:02} -0400") for second in (10, 20, 5, 30)]
    assert clock.times(original(1, clock), lines) == [0, 10, 10, 20]


def test_the_time_zone_counts():
    clock = Clock()
    lines = [at("09/Jul/1995:00:00:00 -0400"), at("09/Jul/1995:04:00:10 +0000")]
    assert clock.times(original(1, clock), lines) == [0, 10]


@pytest.mark.parametrize("odd", ["09/Jul/2095:00:00:00 -0400", "01/Jan/1970:00:00:00 +0000"])
def test_one_line_of_another_century_does_not_stop_the_replay_for_years(odd):
    clock = Clock()
    before, after = at("09/Jul/1995:00:00:00 -0400"), at("09/Jul/1995:00:00:10 -0400")
    assert clock.times(original(1, clock), [before, at(odd), before, after]) == [0, 0, 0, 10]


def test_a_gap_of_days_between_fragments_is_not_waited_for():
    clock = Clock()
    lines = [at("01/Jul/1995:23:00:00 -0400"), at("03/Jul/1995:00:00:00 -0400"), at("03/Jul/1995:00:00:04 -0400")]
    assert clock.times(original(2, clock), lines) == [0, 0, 2]


@given(
    seconds=st.integers(0, 4_000_000_000),
    minutes=st.integers(-12 * 60, 14 * 60),
)
def test_the_time_of_a_line_is_what_the_standard_library_reads(seconds, minutes):
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes)))
    month = "JanFebMarAprMayJunJulAugSepOctNovDec"[3 * moment.month - 3 :][:3]
    text = f"{moment:%d}/{month}/{moment:%Y:%H:%M:%S %z}"
    assert time_of(at(text)) == seconds


@pytest.mark.parametrize(
    "text", ["31/Feb/1995:00:00:00 -0400", "01/Foo/1995:00:00:00 -0400", "01/Jul/1995:25:00:00 -0400", "1/Jul/1995", ""]
)
def test_a_time_that_cannot_be_is_no_time(text):
    assert time_of(at(text)) is None
