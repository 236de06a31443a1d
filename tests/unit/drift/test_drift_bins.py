"""Which bin a value falls into, and that counts of parts are those of the whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_apps.ml.drift import bins
from tests.unit.drift.counting import counted, plan_of

HOUR = np.timedelta64(3600, "s")


def rounded(values: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.3g}") for value in values])


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=50, max_size=200))
def test_a_value_and_the_same_value_rounded_fall_into_the_same_bin(values):
    # Exactly between two rounded values it depends on how one rounds.
    column = np.array([v for v in values if float(f"{v:.4g}") != v or float(f"{v:.3g}") == v])
    if not len(column):
        return
    plan = plan_of({"x": column})
    before, now = (counted({"x": c}, plan).of("x").tolist() for c in (column, rounded(column)))
    assert before == now


@pytest.mark.parametrize("least", [-1e6, -995001.0, 999_600.0, 1_000_600.0, -1.0, 0.9996])
def test_rounding_moves_no_value_across_an_edge_near_a_power_of_ten(least):
    column = np.array([least, least * 1.0004, least * 0.9996, *np.linspace(least - 10, least + 10, 60)])
    plan = plan_of({"x": column})
    assert counted({"x": column}, plan).of("x").tolist() == counted({"x": rounded(column)}, plan).of("x").tolist()


def test_atoms_keep_their_own_bins_and_their_neighbours_do_not_leak_in():
    atoms = np.repeat([0.0, 1.086538, 2.173076, 3.101961], [400, 300, 200, 100])
    plan = plan_of({"btag": atoms})
    [column] = plan.columns
    assert column.is_atomic
    assert counted({"btag": rounded(atoms)}, plan).of("btag").sum(0).tolist() == [400, 300, 200, 100, 0, 0]


def test_nulls_and_not_a_number_share_a_bin_of_their_own():
    plan = plan_of({"x": np.arange(1000.0)})
    column = pa.array([1.0, None, float("nan"), 1e9, -5.0])
    counts = counted({"x": column}, plan).of("x")[0]
    assert (counts[-1], counts[0], counts[-2], counts.sum()) == (2, 2, 1, 5)


def test_categories_beyond_the_most_frequent_are_counted_as_others():
    seen = [f"c{n:03}" for n in range(150) for _ in range(300 - n)]
    plan = plan_of({"c": seen})
    counts = counted({"c": ["c000", "c099", "c100", "never seen", None]}, plan).of("c")[0]
    assert (counts[0], counts[99], counts[100], counts[101]) == (1, 1, 2, 1)


def test_integers_booleans_and_a_column_without_a_value_can_be_counted():
    plan = plan_of({"n": np.arange(500), "b": [True, False] * 250, "e": pa.nulls(500, pa.float64())})
    found = counted({"n": np.arange(250), "b": [True] * 250, "e": np.ones(250)}, plan)
    assert found.of("n").sum() == 250
    assert found.of("b")[0].tolist() == [0, 250, 0, 0]
    assert found.of("e")[0].tolist() == [250, 0]


def test_hours_add_up_to_the_day_whatever_the_order_of_rows():
    random = np.random.default_rng(2)
    at = np.datetime64("2026-11-30T00:00") + random.integers(0, 86_400, 5000) * np.timedelta64(1, "s")
    sites, values = random.choice(["a", "b"], 5000), random.normal(size=5000)
    columns = {"at": at.astype("datetime64[us]"), "site": sites, "x": values}
    how = {"by": "site", "ordered_by": "at", "block_s": 3600}
    plan = plan_of({"x": columns["x"]}, **how)
    day = counted(columns, plan)
    parts = []
    for hour in range(24):
        start = np.datetime64("2026-11-30T00:00") + hour * HOUR
        inside = (columns["at"] >= start) & (columns["at"] < start + HOUR)
        parts.append(counted({name: column[inside] for name, column in columns.items()}, plan))
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    assert merged.counts.keys() == day.counts.keys()
    assert all((merged.counts[key] == day.counts[key]).all() for key in day.counts)
    assert (day.groups, day.of("x", "a").shape[0]) == (["a", "b"], 24)


def test_counts_of_different_bins_cannot_be_added():
    one, other = plan_of({"x": np.arange(100.0)}), plan_of({"x": np.arange(50.0)})
    with pytest.raises(ValueError, match="different bins"):
        counted({"x": np.arange(3.0)}, one) + counted({"x": np.arange(3.0)}, other)


def test_a_plan_survives_being_written_down():
    plan = plan_of({"x": np.random.default_rng(1).normal(size=500), "c": ["a", "b"] * 250})
    assert bins.Plan.model_validate_json(plan.model_dump_json()) == plan
