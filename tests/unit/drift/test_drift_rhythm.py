"""The hours of a day: a series keeps its rhythm when it grows, and loses it when its hours move."""

import numpy as np
import pytest

from contracts.pipelines.drift import DriftPolicy
from spark_apps.ml.drift import judging, rhythm
from spark_apps.ml.drift.rhythm import HOURS, Cell

POLICY = DriftPolicy(cron="0 4 * * *", block_hours=1, rhythm=True)
#: Requests of an hour: few at night, most in the afternoon.
USUAL = 200 + 150 * np.sin((np.arange(HOURS) - 9) / HOURS * 2 * np.pi)


def days(n, profile=USUAL, *, seed=1, group=None, rows=60):
    random = np.random.default_rng(seed)
    return [
        Cell(group, -day, hour, rows, float(random.poisson(profile[hour]))) for day in range(n) for hour in range(HOURS)
    ]


def judged(reference, window, policy=POLICY):
    pair = (rhythm.of_cells(cells, "requests") for cells in (reference, window))
    return judging.corrected(rhythm.compare(*pair, policy), policy)


def test_a_day_like_the_others_is_no_drift_and_its_rows_are_days():
    (shift,) = judged(days(28), days(1, seed=2))
    assert (shift.name, shift.reference_rows, shift.window_rows) == ("requests by hour of day", 28, 1)
    assert not shift.is_drift
    assert shift.effect < 0.05


def test_a_day_of_three_times_the_requests_keeps_its_rhythm():
    (shift,) = judged(days(28), days(1, USUAL * 3, seed=2))
    assert not shift.is_drift
    assert shift.effect < 0.05


def test_a_day_whose_hours_moved_is_drift_although_its_sum_is_the_same():
    moved = np.roll(USUAL, 6)
    assert moved.sum() == pytest.approx(USUAL.sum())
    (shift,) = judged(days(28), days(1, moved, seed=2))
    assert shift.is_drift
    assert shift.effect > 0.1


def test_a_rhythm_that_the_reference_has_seldom_itself_is_no_drift():
    sundays = [Cell(None, -28 - cell.day, *cell[2:]) for cell in days(4, np.roll(USUAL, 6), seed=3)]
    (shift,) = judged([*days(24), *sundays], days(1, np.roll(USUAL, 6), seed=2))
    assert not shift.is_drift


def test_with_fewer_than_six_whole_days_there_is_no_verdict_and_without_any_no_comparison():
    (shift,) = judged(days(5), days(1, np.roll(USUAL, 6)))
    assert shift.p is None
    assert not shift.is_drift
    (shift,) = judged(days(6), days(1, np.roll(USUAL, 6)))
    assert shift.p is not None
    assert judged([], days(1)) == judged(days(6), []) == []


@pytest.mark.parametrize("gap", ["no_rows", "half_an_hour", "no_requests_all_day", "negative"])
def test_a_day_with_a_gap_is_left_out(gap):
    cells = days(7)
    if gap == "no_rows":
        cells = [cell for cell in cells if (cell.day, cell.hour) != (-3, 11)]
    elif gap == "half_an_hour":
        cells = [cell._replace(rows=29) if (cell.day, cell.hour) == (-3, 11) else cell for cell in cells]
    elif gap == "no_requests_all_day":
        cells = [cell._replace(total=0.0) if cell.day == -3 else cell for cell in cells]
    else:
        cells = [cell._replace(total=-1.0) if (cell.day, cell.hour) == (-3, 11) else cell for cell in cells]
    kept = rhythm.of_cells(cells, "requests")
    assert sorted(day for _, day in kept.counts) == [-6, -5, -4, -2, -1, 0]
    assert len(rhythm.of_cells(days(7), "requests").counts) == 7


def test_groups_are_compared_each_with_itself():
    reference = [*days(28, group="a"), *days(28, np.roll(USUAL, 6), group="b")]
    window = [*days(1, seed=2, group="a"), *days(1, seed=4, group="b")]
    found = {shift.group: shift.is_drift for shift in judged(reference, window)}
    assert found == {"a": False, "b": True}


def test_every_day_counts_the_same_and_hours_are_its_shares():
    sketch = rhythm.of_cells([Cell(None, 0, hour, 60, float(hour == 7) * 3 + 1) for hour in range(HOURS)], "requests")
    (day,) = sketch.counts.values()
    assert day.sum() == 100_000
    assert day[7] == pytest.approx(4 / 27 * 100_000, abs=1)
    assert day[-1] == 0
