"""Folds of ordered rows: where the window begins, and what is left out on either side of a cut; on literal rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import QualityGateError
from contracts.pipelines import PIPELINES, PipelineSpec
from contracts.pipelines.parts import RollingOrigin
from spark_apps.ml.splitting import folds
from spark_apps.ml.splitting.folds import Window
from spark_apps.ml.splitting.instants import MINUTE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

GBT = [{"name": "gbt", "max_depth": [2, 3]}]


def spec(name: str, **around: object) -> PipelineSpec:
    """The shipped pipeline with a search whose folds are cut so."""
    said = yaml.safe_load((PIPELINES / f"{name}.yaml").read_text())
    search = {"method": "grid", "metric": "mae", "rolling_origin": around}
    return PipelineSpec.model_validate(said | {"algorithms": GBT, "search": search})


def minutes(spark: SparkSession, *numbers: int) -> DataFrame:
    """A row at each of these minutes, the newest first."""
    rows = [(datetime(1995, 7, 9, 6, tzinfo=UTC) + timedelta(minutes=n), n) for n in reversed(numbers)]
    return spark.createDataFrame(rows, "minute_at timestamp, n int")


def parts(made: list[folds.Fold], column: str = "n") -> list[tuple[list[int], list[int]]]:
    """What each fold fits on and validates on."""
    return [tuple(sorted(int(row[column]) for row in part.collect()) for part in pair) for pair in made]


def test_an_expanding_window_has_no_beginning_and_a_rolling_one_begins_at_the_cut_before():
    cuts = [3 * MINUTE, 6 * MINUTE]
    assert folds.windows(cuts, RollingOrigin()) == [
        Window(fitted=(None, 3 * MINUTE), judged=(3 * MINUTE, 6 * MINUTE)),
        Window(fitted=(None, 6 * MINUTE), judged=(6 * MINUTE, None)),
    ]
    assert folds.windows(cuts, RollingOrigin(window="rolling", gap_min=1, embargo_min=2)) == [
        Window(fitted=(None, 2 * MINUTE), judged=(5 * MINUTE, 6 * MINUTE)),
        Window(fitted=(3 * MINUTE, 5 * MINUTE), judged=(8 * MINUTE, None)),
    ]


@given(
    cuts=st.lists(st.integers(0, 60), min_size=1, max_size=6, unique=True).map(sorted),
    window=st.sampled_from(["expanding", "rolling"]),
    gap=st.integers(0, 20),
    embargo=st.integers(0, 20),
)
def test_gap_and_embargo_lie_between_what_is_fitted_and_what_validates_which_each_minute_does_once(
    cuts, window, gap, embargo
):
    around = RollingOrigin(window=window, gap_min=gap, embargo_min=embargo)
    found = [
        tuple({n for n in range(-5, 70) if is_within(n, bounds)} for bounds in (each.fitted, each.judged))
        for each in folds.windows([cut * MINUTE for cut in cuts], around)
    ]
    for fitted, judged in found:
        if fitted and judged:
            assert min(judged) - max(fitted) == gap + embargo + 1
    judged_once = [n for _, judged in found for n in judged]
    assert len(judged_once) == len(set(judged_once))
    if window == "rolling":
        fitted_once = [n for fitted, _ in found for n in fitted]
        assert len(fitted_once) == len(set(fitted_once))


def is_within(minute: int, bounds: tuple[int | None, int | None]) -> bool:
    first, end = bounds
    return (first is None or minute * MINUTE >= first) and (end is None or minute * MINUTE < end)


@pytest.mark.spark
def test_a_rolling_window_fits_on_the_part_before_the_one_that_validates(spark):
    made = folds.of(minutes(spark, *range(12)).repartition(3), spec("access_log_volume", window="rolling"), 3)
    assert parts(made) == [([0, 1, 2], [3, 4, 5]), ([3, 4, 5], [6, 7, 8]), ([6, 7, 8], [9, 10, 11])]


@pytest.mark.spark
def test_a_gap_is_not_fitted_on_and_an_embargo_does_not_validate_by_the_clock_and_not_by_rows(spark):
    # Parts of three rows, cut at minutes 10, 30 and 40.
    rows = minutes(spark, 0, 7, 8, 10, 14, 15, 30, 31, 36, 40, 50, 60)
    made = folds.of(rows, spec("access_log_volume", gap_min=2, embargo_min=5), 3)
    assert parts(made) == [
        # Minute 8 is just two minutes before the cut, minute 15 just five after it.
        ([0, 7], [15]),
        ([0, 7, 8, 10, 14, 15], [36]),
        ([0, 7, 8, 10, 14, 15, 30, 31, 36], [50, 60]),
    ]


@pytest.mark.spark
def test_sites_of_other_years_are_each_cut_at_their_own_instants(spark):
    rows = [
        (site, datetime(year, 1, 6, tzinfo=UTC) + timedelta(minutes=15 * n), first + n)
        for site, year, first in (("a", 2010, 0), ("b", 2014, 100))
        for n in range(8)
    ]
    frame = spark.createDataFrame(rows, "site string, starts_at timestamp, flow int")
    made = folds.of(frame, spec("uk_traffic", window="rolling", gap_min=15), 3)
    assert parts(made, "flow") == [
        ([0, 100], [2, 3, 102, 103]),
        ([2, 102], [4, 5, 104, 105]),
        ([4, 104], [6, 7, 106, 107]),
    ]
    made = folds.of(frame, spec("uk_traffic", embargo_min=15), 3)
    assert parts(made[:1], "flow") == [([0, 1, 100, 101], [3, 103])]
    with pytest.raises(QualityGateError, match="found 0 rows to fit on and 4 to validate on in fold 1"):
        folds.of(frame, spec("uk_traffic", gap_min=30), 3)


@pytest.mark.spark
def test_minutes_left_out_that_leave_no_rows_are_named(spark):
    with pytest.raises(QualityGateError) as refusal:
        folds.of(minutes(spark, *range(12)), spec("access_log_volume", gap_min=1, embargo_min=3), 3)
    assert "found 2 rows to fit on and 0 to validate on in fold 1" in str(refusal.value)
    assert "gap_min 1 and embargo_min 3 of search.rolling_origin" in str(refusal.value)


@pytest.mark.spark
def test_fewer_rows_than_parts_are_refused(spark):
    with pytest.raises(QualityGateError, match=r"found 2 rows to fit on and 0 .* or gather rows of more"):
        folds.rolling_origin(minutes(spark, 1, 2), ordered_by="minute_at", number=3)
