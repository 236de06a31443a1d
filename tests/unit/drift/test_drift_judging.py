"""Which shifts are drift: certain, and large enough, of all columns together."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.pipelines.drift import DriftPolicy
from spark_apps.ml.drift import judging, units
from tests.unit.drift.counting import counted, plan_of

INDEPENDENT = DriftPolicy(cron="0 4 * * *")
START = np.datetime64("2026-01-05T00:00", "us")


def compared(before, now, policy=INDEPENDENT, **how):
    plan = plan_of({name: column for name, column in before.items() if name not in ("at", "site")}, **how)
    return judging.corrected(judging.compare(counted(before, plan), counted(now, plan), policy), policy)


def normal(seed, rows, shift=0.0, columns=10):
    random = np.random.default_rng(seed)
    return {f"x{n}": random.normal(shift if n == 0 else 0.0, 1, rows) for n in range(columns)}


def test_three_tenths_of_a_standard_deviation_are_found_among_ten_columns():
    found = compared(normal(5, 1000), normal(6, 1000, 0.3))
    assert [shift.column for shift in found if shift.is_drift] == ["x0"]
    [shifted] = [shift for shift in found if shift.is_drift]
    assert 0.08 < shifted.effect < 0.16
    assert shifted.p_adjusted >= shifted.p


def test_a_certain_trifle_is_no_drift():
    found = compared(normal(1, 400_000, columns=1), normal(2, 400_000, 0.02, columns=1))
    assert found[0].p < 1e-6
    assert not found[0].is_drift


def test_few_rows_are_not_judged():
    found = compared(normal(1, 5000), normal(2, 499, 5.0))
    assert all(shift.p is None and not shift.is_drift for shift in found)
    assert found[0].effect > 0.9


def test_a_category_that_grows_is_drift_and_one_that_was_never_seen_too():
    before = {"c": ["a"] * 600 + ["b"] * 400}
    for now in ({"c": ["a"] * 480 + ["b"] * 520}, {"c": ["a"] * 540 + ["b"] * 360 + ["new"] * 100}):
        [found] = compared(before, now)
        assert (found.kind, found.is_drift) == ("category", True)
        assert found.effect == pytest.approx(0.12 if "new" not in now["c"] else 0.10)


def test_the_same_numbers_rounded_are_no_drift():
    random = np.random.default_rng(9)
    atoms = random.choice([0.0, 1.086538, 2.173076], 4000, p=[0.5, 0.3, 0.2])
    before = {"pt": random.gamma(2, 40, 4000), "btag": atoms}
    now = {name: np.array([float(f"{v:.3g}") for v in column]) for name, column in before.items()}
    assert [shift.effect for shift in compared(before, now)] == [0.0, 0.0]


def weeks(seed, n, level, spread=0.0, rows=600):
    """Weeks of values around a level of their own each."""
    random = np.random.default_rng(seed)
    levels = level + random.normal(0, spread, n)
    at = START + np.arange(n * rows) * np.timedelta64(7 * 86_400 // rows, "s")
    return {"at": at, "x": random.normal(np.repeat(levels, rows), 1)}


BY_WEEK = {"ordered_by": "at", "block_s": 7 * 86_400}
WEEKLY = DriftPolicy(cron="0 4 * * 1", block_hours=168)


def test_a_week_that_differs_as_weeks_do_is_no_drift():
    before, now = weeks(1, 40, 10.0, spread=0.5), weeks(2, 1, 10.6)
    [as_blocks] = compared(before, now, WEEKLY, **BY_WEEK)
    [as_rows] = compared(before, now, INDEPENDENT, **BY_WEEK)
    assert as_blocks.effect == as_rows.effect > 0.1
    assert (as_blocks.is_drift, as_rows.is_drift) == (False, True)


def test_a_week_beyond_what_weeks_do_is_drift():
    [found] = compared(weeks(1, 40, 10.0, spread=0.5), weeks(2, 1, 13.0), WEEKLY, **BY_WEEK)
    assert found.is_drift


def test_several_weeks_are_held_against_stretches_as_long():
    """A slow swing makes four weeks alike: against single weeks they would look certain."""
    random = np.random.default_rng(4)
    swing = 10 + 0.8 * np.sin(np.arange(48) / 48 * 6 * np.pi) + random.normal(0, 0.1, 48)
    before = {"at": weeks(1, 48, 0.0)["at"], "x": random.normal(np.repeat(swing, 600), 1)}
    [found] = compared(before, weeks(2, 4, 10.7), WEEKLY, **BY_WEEK)
    assert not found.is_drift
    [single] = compared(before, weeks(2, 1, 10.7), WEEKLY, **BY_WEEK)
    assert found.p > 0.05
    assert single.window_rows == 600


def test_a_reference_of_few_blocks_is_no_ground_for_a_judgement():
    [found] = compared(weeks(1, judging.MIN_BLOCKS - 1, 10.0, 0.5), weeks(2, 1, 20.0), WEEKLY, **BY_WEEK)
    assert found.p is None
    assert not found.is_drift


def test_groups_are_compared_apart():
    random = np.random.default_rng(6)
    site = np.repeat(["a", "b"], 1000)
    before = {"site": site, "x": np.concatenate([random.normal(0, 1, 1000), random.normal(50, 1, 1000)])}
    now = {"site": site, "x": np.concatenate([random.normal(0, 1, 1000), random.normal(51, 1, 1000)])}
    found = compared(before, now, by="site")
    assert {shift.group: shift.is_drift for shift in found} == {"a": False, "b": True}
    assert found[1].name == "x of b"


def test_miles_instead_of_kilometres_are_told_from_slower_cars():
    random = np.random.default_rng(7)
    speed = random.normal(95, 12, 4000)
    plan = plan_of({"speed": speed})
    [bins] = plan.columns
    before = counted({"speed": speed}, plan).of("speed")[:, :-1].sum(0)

    def change(values):
        return units.changed(bins, before, counted({"speed": values}, plan).of("speed")[0, :-1], min_effect=0.05)

    assert change(random.normal(95, 12, 2000) * 0.621371) == "km to miles"
    assert change(random.normal(95, 12, 2000) - 30) is None
    # Their middle fits kilometres made miles, their spread does not.
    assert change(random.normal(95 * 0.621371, 25, 2000)) is None
    assert change(random.normal(97, 12, 2000)) is None
