"""Splits by time within each user: literal ratings, and what a later state of them means for an earlier model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyspark.testing import assertDataFrameEqual

from contracts import pipelines
from contracts.errors import QualityGateError
from spark_apps.ml.splitting import folds, splits, user_splits

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from spark_apps.ml.splitting.user_splits import UserBounds

pytestmark = pytest.mark.spark

RATINGS = "user_id int, movie_id int, rated_at_s bigint, rating double"
SPEC = pipelines.load("movielens")
ROWS = [
    # The tie at instant 9 lies across the cut: film 3 is train although it stands last.
    (1, 7, 9, 1.0), (1, 50, 1, 2.0), (1, 40, 2, 3.0), (1, 30, 3, 4.0), (1, 3, 9, 5.0),
    # One row: floor(.8) is 0, so this user is in the holdout only.
    (2, 7, 5, 3.0),
    # Two rows in falling order of time: one each.
    (3, 1, 20, 4.0), (3, 2, 10, 4.5),
]  # fmt: skip


def rated(spark: SparkSession, rows: list[tuple[int, int, int, float]]) -> DataFrame:
    return spark.createDataFrame(rows, RATINGS)


def cut(frame: DataFrame, share: float = 0.2) -> UserBounds | None:
    return user_splits.latest_of_each_user(frame, user="user_id", item="movie_id", at="rated_at_s", share=share)


def test_the_latest_rows_of_each_user_are_the_holdout_and_ties_go_by_item(spark):
    frame = rated(spark, ROWS)
    bounds = splits.of(frame, SPEC)
    assertDataFrameEqual(bounds.train(frame), rated(spark, [ROWS[n] for n in (1, 2, 3, 4, 7)]))
    assertDataFrameEqual(bounds.holdout(frame), rated(spark, [ROWS[n] for n in (0, 5, 6)]))
    assert (bounds.train_rows, bounds.holdout_rows, bounds.until) == (5, 3, 20)
    assert splits.from_json(bounds.model_dump_json()) == bounds


@pytest.mark.parametrize(("n", "share", "n_train"), [(5, 0.2, 4), (100, 0.71, 29), (10, 0.9, 1), (3, 0.5, 1)])
def test_the_share_counts_as_it_is_written(spark, n, share, n_train):
    # In floating point (1 - .9) * 10 is below 1.
    bounds = cut(rated(spark, [(1, item, item, 3.0) for item in range(n)]), share)
    assert (bounds.train_rows, bounds.holdout_rows) == (n_train, n - n_train)


def test_ratings_that_leave_a_part_empty_are_no_split(spark):
    assert cut(rated(spark, [ROWS[5]])) is None
    assert cut(rated(spark, ROWS).limit(0)) is None


def test_folds_go_back_in_time_and_fit_on_what_lies_before(spark):
    frame = rated(spark, [(1, n, n, 3.0) for n in range(10)] + [(2, 0, 0, 3.0), (2, 1, 1, 3.0)])
    found = [
        tuple(sorted((row["user_id"], row["movie_id"]) for row in part.collect()) for part in pair)
        for pair in folds.of(frame, SPEC, 2)
    ]
    # Of user 1 the first eight, of these the first six; user 2 has one row to fit on once, then none.
    assert found == [
        ([(1, n) for n in range(6)], [(1, 6), (1, 7), (2, 0)]),
        ([*((1, n) for n in range(8)), (2, 0)], [(1, 8), (1, 9), (2, 1)]),
    ]
    with pytest.raises(QualityGateError, match="found ratings for 0 of them; required ratings to fit on"):
        folds.of(rated(spark, [ROWS[5]]), SPEC, 2)


def test_a_model_can_be_judged_on_the_same_ratings_and_on_later_ones(spark):
    before = rated(spark, ROWS)
    earlier = cut(before)
    assert splits.known_to(earlier, cut(before.repartition(3))) == ""
    after = before.unionAll(rated(spark, [(1, 60, 21, 3.0), (2, 8, 30, 2.0), (4, 1, 40, 5.0)]))
    split = cut(after)
    assert splits.known_to(earlier, split) == "was trained on ratings that are not the first ones of this snapshot"
    continued = splits.unseen_by_both(after, split, earlier, min_rows=1)
    assert splits.known_to(earlier, continued) == ""
    assert splits.known_to(split, continued) == ""
    held = continued.holdout(after)
    assert held.join(earlier.train(before), on=["user_id", "movie_id"], how="left_semi").isEmpty()


@pytest.mark.parametrize(
    "late",
    [
        [*ROWS, (1, 60, 4, 3.0)],  # it moves the rating after it towards the holdout
        ROWS[:-1],  # one was taken back
        [*ROWS[:-1], (3, 2, 11, 4.5)],  # one was rated at another time
    ],
)
def test_a_model_of_ratings_that_changed_since_may_know_the_holdout(spark, late):
    earlier, frame = cut(rated(spark, ROWS)), rated(spark, late)
    split = splits.unseen_by_both(frame, cut(frame), earlier, min_rows=1)
    assert "not the first ones" in splits.known_to(earlier, split)


def test_a_model_of_a_larger_training_share_was_split_in_another_way(spark):
    frame = rated(spark, ROWS)
    assert splits.known_to(cut(frame, 0.2), cut(frame, 0.4)) == "was split in another way"
    assert splits.known_to(cut(frame, 0.4), cut(frame, 0.2)) == ""
