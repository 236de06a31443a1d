"""Splits within groups: each group is cut at its own instant, by rank, and nothing of the future is trained on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from contracts.pipelines.parts import RollingOrigin
from spark_apps.ml.splitting import splits
from spark_apps.ml.splitting.group_splits import FoldPlan, GroupSplit, Stretch, folds, newest_share_per_group

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pytestmark = pytest.mark.spark

ROWS = "site string, starts_at timestamp, flow double"


def quarter(n: int, year: int = 2014) -> datetime:
    return datetime(year, 1, 6, tzinfo=UTC) + timedelta(minutes=15 * n)


def series(spark, *numbers: int, site: str = "a", year: int = 2014) -> DataFrame:
    """Rows of one site at these quarters, the newest first."""
    return spark.createDataFrame([(site, quarter(n, year), float(n)) for n in reversed(numbers)], ROWS)


def newest(frame: DataFrame, share: float) -> GroupSplit:
    return newest_share_per_group(frame, group="site", at="starts_at", share=share)


def cut(frame: DataFrame, **plan: object) -> list[tuple[list[int], list[int]]]:
    """Flows in both parts of each fold; a flow is its quarter's number."""
    made = folds(frame, FoldPlan.model_validate(plan), group="site", at="starts_at")
    found = [(flows(fold.train(frame)), flows(fold.holdout(frame))) for fold in made]
    # What a fold says about its rows is what it hands out.
    assert [(len(train), len(holdout)) for train, holdout in found] == [(f.train_rows, f.holdout_rows) for f in made]
    return found


def flows(frame: DataFrame) -> list[int]:
    return [int(row.flow) for row in frame.orderBy("starts_at").collect()]


def test_each_group_is_cut_at_its_own_instant(spark):
    old, new = series(spark, *range(10), site="a", year=2010), series(spark, *range(5, 14), site="b")
    split = newest(old.unionAll(new), 0.2)
    assert split == GroupSplit(
        grouped_by="site",
        ordered_by="starts_at",
        train_stretches=(
            Stretch(group="a", first_at=quarter(0, 2010), last_at=quarter(7, 2010), rows=8),
            Stretch(group="b", first_at=quarter(5), last_at=quarter(12), rows=8),
        ),
        holdout_stretches=(
            Stretch(group="a", first_at=quarter(8, 2010), last_at=quarter(9, 2010), rows=2),
            # A fifth of nine rows is one whole row.
            Stretch(group="b", first_at=quarter(13), last_at=quarter(13), rows=1),
        ),
    )
    assert (split.train_rows, split.holdout_rows) == (16, 3)
    assertDataFrameEqual(
        split.holdout(old.unionAll(new)), series(spark, 8, 9, year=2010).unionAll(series(spark, 13, site="b"))
    )


def test_a_stored_split_gives_the_same_rows_when_newer_ones_have_come(spark):
    frame = series(spark, *range(10))
    stored = GroupSplit.model_validate_json(newest(frame, 0.3).model_dump_json())
    longer = frame.unionAll(series(spark, 10, 11)).unionAll(series(spark, 3, 8, site="b"))
    assertDataFrameEqual(stored.train(longer), series(spark, *range(7)))
    assertDataFrameEqual(stored.holdout(longer), series(spark, 7, 8, 9))


def test_a_holdout_gives_up_what_the_champion_was_trained_on_group_by_group(spark):
    frame = series(spark, *range(10), site="a").unionAll(series(spark, *range(10, 20), site="b"))
    frame = frame.unionAll(series(spark, *range(30, 40), site="c"))
    split = newest(frame, 0.4)
    assert flows(split.holdout(frame)) == [6, 7, 8, 9, 16, 17, 18, 19, 36, 37, 38, 39]

    def trained(**until: int) -> GroupSplit:
        parts = [Stretch(group=g, first_at=quarter(0), last_at=quarter(n), rows=1) for g, n in until.items()]
        return split.model_copy(update={"train_stretches": tuple(parts)})

    # Of a the champion knows two rows of the holdout, of b all, of c none, and d is not here any more.
    champion = trained(a=7, b=19, c=35, d=99)
    narrowed = splits.unseen_by_both(frame, split, champion, min_rows=6)
    assert flows(narrowed.holdout(frame)) == [8, 9, 36, 37, 38, 39]
    assert (narrowed.holdout_rows, narrowed.train_stretches) == (6, split.train_stretches)
    assert (splits.known_to(champion, narrowed), splits.known_to(narrowed, narrowed)) == ("", "")
    assert splits.known_to(champion, split) == "was trained on rows of the holdout of a, b"
    assert splits.unseen_by_both(frame, split, champion, min_rows=7) == split
    assert splits.unseen_by_both(frame, split, trained(a=5), min_rows=1) == split


def test_groups_may_be_numbers(spark):
    frame = series(spark, *range(4)).withColumn("site", F.lit(7))
    assert flows(newest(frame, 0.5).holdout(frame)) == [2, 3]


def test_rows_of_one_instant_stay_together(spark):
    split = newest(series(spark, 0, 1, 1, 1), 0.5)
    assert (split.train_rows, split.holdout_rows) == (4, 0)
    split = newest(series(spark, 0, 1, 2, 2), 0.5)
    assert (split.train_rows, split.holdout_rows) == (2, 2)


def test_a_group_too_small_for_a_holdout_is_trained_on_and_none_is_cut_from_nothing(spark):
    frame = series(spark, *range(10)).unionAll(series(spark, 50, site="b"))
    split = newest(frame, 0.2)
    assert [each.group for each in split.train_stretches] == ["a", "b"]
    assert [each.group for each in split.holdout_stretches] == ["a"]
    nothing = newest(frame.limit(0), 0.2)
    assert (nothing.train_rows, nothing.holdout(frame).count()) == (0, 0)


def test_a_share_is_what_is_written_and_not_its_nearest_binary_number(spark):
    # 100 * 0.29 is 28.999999999999996.
    assert newest(series(spark, *range(100)), 0.29).holdout_rows == 29


def test_test_windows_follow_each_other_and_an_expanding_train_part_holds_all_before_them(spark):
    assert cut(series(spark, *range(10)), n_folds=3, test_share=0.2) == [
        ([0, 1, 2, 3], [4, 5]),
        ([0, 1, 2, 3, 4, 5], [6, 7]),
        ([0, 1, 2, 3, 4, 5, 6, 7], [8, 9]),
    ]


def test_a_rolling_train_part_keeps_the_size_of_the_first(spark):
    assert cut(series(spark, *range(10)), n_folds=3, test_share=0.2, around={"window": "rolling"}) == [
        ([0, 1, 2, 3], [4, 5]),
        ([2, 3, 4, 5], [6, 7]),
        ([4, 5, 6, 7], [8, 9]),
    ]


def test_windows_are_cut_by_rank_and_a_gap_and_an_embargo_by_time(spark):
    # Nothing between 5 and 8, which is where the second window begins: its gap of two steps is there already.
    rows = series(spark, 0, 1, 2, 3, 4, 5, 8, 9, 10, 11)
    assert cut(rows, n_folds=3, test_share=0.2, around={"gap_min": 30, "embargo_min": 15}) == [
        ([0, 1], [5]),
        ([0, 1, 2, 3, 4, 5], [9]),
        ([0, 1, 2, 3, 4, 5], [11]),
    ]


def test_a_gap_as_long_as_the_train_part_leaves_none(spark):
    assert cut(series(spark, *range(10)), n_folds=1, test_share=0.5, around={"gap_min": 75}) == [([], [5, 6, 7, 8, 9])]


@pytest.mark.parametrize(("window", "gap_steps"), [("expanding", 0), ("expanding", 7), ("rolling", 1)])
def test_no_row_is_trained_on_at_or_after_the_test_window_less_its_gap(spark, window, gap_steps):
    # Holes, and sites of other years: what is tested at one site may lie before what is trained on at another.
    uneven = [n for n in range(120) if n % 7 and n % 11]
    frame = series(spark, *uneven).unionAll(series(spark, *range(60), site="b", year=2010))
    plan = FoldPlan(n_folds=3, test_share=0.2, around=RollingOrigin(window=window, gap_min=15 * gap_steps))
    made = folds(frame, plan, group="site", at="starts_at")
    assert len(made) == 3
    for fold in made:
        trained, judged = instants(fold.train(frame)), instants(fold.holdout(frame))
        steps = {site: (min(judged[site]) - max(trained[site])) / timedelta(minutes=15) for site in ("a", "b")}
        assert steps["a"] >= gap_steps + 1
        assert steps["b"] == gap_steps + 1


def instants(frame: DataFrame) -> dict[str, list[datetime]]:
    """Instants of each site's rows."""
    found: dict[str, list[datetime]] = {}
    for row in frame.collect():
        found.setdefault(row.site, []).append(row.starts_at)
    return found


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"n_folds": 5, "test_share": 0.2}, "no rows to train on"),
        ({"n_folds": 2, "test_share": 0.2, "around": {"gap_min": -1}}, "around.gap_min"),
        ({"n_folds": 2, "test_share": 0.2, "around": {"window": "random"}}, "around.window"),
    ],
)
def test_a_plan_that_cannot_be_cut_is_refused(plan, said):
    with pytest.raises(ValidationError, match=said):
        FoldPlan.model_validate(plan)
