"""Recommending: literal rows with results worked out by hand, and the real MovieLens ratings of protocol M1."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass, replace
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from spark_apps.ml.recommending import biases, clusters, comparing, factors, lists, measures, splitting
from spark_apps.ml.recommending.columns import as_ratings
from spark_apps.ml.recommending.lists import Ranker

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

STARS = (0.5, 5.0)
RATINGS = "user_id int, item_id int, rating double, rated_at_s bigint"
LISTS = "user_id int, rank int, item_id int, score double"
SMALL = factors.AlsSettings(rank=2, regularization=0.1, iterations=3, seed=1, blocks=2)


def rated(spark: SparkSession, *rows: tuple[int, int, float]) -> DataFrame:
    """``user, item, rating``, rated in this order."""
    return spark.createDataFrame([(*row, at) for at, row in enumerate(rows)], RATINGS)


def listed(spark: SparkSession, of_users: dict[int, list[int]]) -> DataFrame:
    rows = [(user, rank, item, 0.0) for user, items in of_users.items() for rank, item in enumerate(items, 1)]
    return spark.createDataFrame(rows, LISTS)


def held(lists_of_users: DataFrame) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in lists_of_users.orderBy("user_id", "rank").collect():
        found.setdefault(row["user_id"], []).append(row["item_id"])
        assert row["rank"] == len(found[row["user_id"]])
    return found


def predictions(predicted: DataFrame) -> dict[tuple[int, int], float]:
    return {(row["user_id"], row["item_id"]): row["prediction"] for row in predicted.collect()}


def test_columns_of_any_name_become_ratings(spark, interpreted):
    frame = spark.createDataFrame([("Heat", 7, 1, 5.0, 3)], "title string, film int, who int, stars double, at bigint")
    found = as_ratings(frame, user="who", item="film", rating="stars", rated_at="at")
    assertDataFrameEqual(found, spark.createDataFrame([(1, 7, 5.0, 3)], RATINGS))


def test_the_latest_rows_of_each_user_are_the_holdout_and_ties_go_by_item(spark, interpreted):
    rows = [
        # The tie at instant 9 lies across the cut: item 3 is train although it stands last.
        (1, 7, 1.0, 9), (1, 50, 2.0, 1), (1, 40, 3.0, 2), (1, 30, 4.0, 3), (1, 3, 5.0, 9),
        # One row: floor(.8) is 0, so this user is cold.
        (2, 7, 3.0, 5),
        # Two rows in falling order of time: one each.
        (3, 1, 4.0, 20), (3, 2, 4.5, 10),
    ]  # fmt: skip
    parts = splitting.latest_of_each_user(spark.createDataFrame(rows, RATINGS), train_share=0.8)
    in_train = [rows[1], rows[2], rows[3], rows[4], rows[7]]
    assertDataFrameEqual(parts.train, spark.createDataFrame(in_train, RATINGS))
    assertDataFrameEqual(parts.holdout, spark.createDataFrame([rows[0], rows[5], rows[6]], RATINGS))


@pytest.mark.parametrize(("n", "share", "n_train"), [(9, 0.8, 7), (100, 0.29, 29), (3, 0.5, 1)])
def test_the_share_is_floored_as_it_is_written(spark, interpreted, n, share, n_train):
    parts = splitting.latest_of_each_user(rated(spark, *((1, item, 3.0) for item in range(n))), train_share=share)
    assert (parts.train.count(), parts.holdout.count()) == (n_train, n - n_train)


@pytest.mark.parametrize("share", [0.0, 1.0, 80.0])
def test_a_share_that_leaves_one_part_empty_is_refused(spark, share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        splitting.latest_of_each_user(rated(spark, (1, 1, 1.0)), train_share=share)


def test_a_sweep_takes_damped_means_of_items_and_then_of_users(spark, interpreted):
    train = rated(spark, (1, 10, 5.0), (1, 20, 3.0), (2, 10, 4.0))
    found = biases.fit(train, item_damping=1.0, user_damping=1.0, sweeps=1)
    assert found.mean == 4.0
    # Item 10: (1 + 0) / (2 + 1); item 20: -1 / (1 + 1). User 1: (1 - 1/3 - 1 + 1/2) / 3; user 2: (0 - 1/3) / 2.
    items = {row["item_id"]: row["item_bias"] for row in found.of_items.collect()}
    users = {row["user_id"]: row["user_bias"] for row in found.of_users.collect()}
    assert items == pytest.approx({10: 1 / 3, 20: -1 / 2})
    assert users == pytest.approx({1: 1 / 18, 2: -1 / 6})


def test_sweeps_end_at_the_least_squares_solution(spark, interpreted):
    rows = [(1, 1, 5.0), (1, 2, 4.0), (1, 3, 1.0), (2, 1, 3.0), (2, 3, 0.5), (3, 2, 2.0)]
    found = biases.fit(rated(spark, *rows), item_damping=2.0, user_damping=3.0, sweeps=8)
    design = np.zeros((len(rows), 6))
    for place, (user, item, _) in enumerate(rows):
        design[place, [user - 1, 3 + item - 1]] = 1
    stars = np.array([stars for *_, stars in rows])
    penalty = np.diag([3.0] * 3 + [2.0] * 3)
    exact = np.linalg.solve(design.T @ design + penalty, design.T @ (stars - stars.mean()))
    users = [row["user_bias"] for row in found.of_users.orderBy("user_id").collect()]
    items = [row["item_bias"] for row in found.of_items.orderBy("item_id").collect()]
    assert np.allclose([*users, *items], exact, atol=1e-4)


def test_a_user_or_item_that_is_not_in_train_adds_nothing_and_no_pair_is_dropped(spark, interpreted):
    found = biases.Biases(
        3.0,
        spark.createDataFrame([(1, 0.5), (2, -3.0)], "user_id int, user_bias double"),
        spark.createDataFrame([(10, 1.0), (20, 2.0)], "item_id int, item_bias double"),
    )
    asked = [(1, 10), (1, 20), (2, 99), (9, 10), (9, 99), (1, 99)]
    pairs = spark.createDataFrame(asked, "user_id int, item_id int")
    expected = {(1, 10): 4.5, (1, 20): 5.0, (2, 99): 0.5, (9, 10): 4.0, (9, 99): 3.0, (1, 99): 3.5}
    assert predictions(found.predict(pairs, bounds=STARS)) == expected
    wider = predictions(found.predict(pairs, bounds=(-10.0, 10.0)))
    assert (wider[1, 20], wider[2, 99]) == (5.5, 0.0)


def test_biases_of_no_ratings_are_refused(spark):
    with pytest.raises(ValueError, match="no ratings"):
        biases.fit(rated(spark, (1, 1, 1.0)).limit(0))


def test_a_residual_model_adds_the_product_of_factors_where_user_and_item_are_known(spark, interpreted):
    train = rated(spark, (1, 10, 5.0), (1, 20, 1.0), (2, 10, 1.0), (2, 20, 5.0), (3, 10, 4.5), (3, 30, 2.0))
    of_train = biases.fit(train, sweeps=1)
    model = factors.fit_residuals(train, of_train, SMALL)
    pairs = spark.createDataFrame([(1, 10), (3, 20), (1, 99), (9, 10), (9, 99)], "user_id int, item_id int")
    wide = (-100.0, 100.0)
    by_biases = predictions(of_train.predict(pairs, bounds=wide))
    by_model = predictions(model.predict(pairs, bounds=wide))
    of_users, of_items = (
        {row["id"]: np.array(row["features"]) for row in frame.collect()}
        for frame in (model.factors.userFactors, model.factors.itemFactors)
    )
    added = {(1, 10): of_users[1] @ of_items[10], (3, 20): of_users[3] @ of_items[20]}
    assert min(abs(part) for part in added.values()) > 0.01
    assert by_model == pytest.approx({pair: each + added.get(pair, 0.0) for pair, each in by_biases.items()}, abs=1e-6)
    assert set(predictions(model.predict(pairs, bounds=(3.0, 3.0))).values()) == {3.0}


def test_many_iterations_are_refused_where_nothing_would_cut_their_lineage(spark, monkeypatch):
    monkeypatch.setattr(type(spark.sparkContext), "getCheckpointDir", lambda _: None)
    with pytest.raises(ValueError, match="6 iterations need a checkpoint directory"):
        factors.fit_likes(rated(spark, (1, 10, 5.0)), replace(SMALL, iterations=6), at_least=4.0, alpha=1.0)


def test_the_largest_scores_come_first_and_equal_ones_by_place():
    scores = np.array([1.0, 3.0, -np.inf, 3.0, 2.0, 1.0])
    assert lists._best(scores, 2).tolist() == [1, 3]
    assert lists._best(scores, 4).tolist() == [1, 3, 4, 0]
    assert lists._best(scores, 9).tolist() == [1, 3, 4, 0, 5]
    assert lists._best(np.full(2, -np.inf), 1).tolist() == []
    assert lists._best(np.zeros(5000), 3).tolist() == [0, 1, 2]


def test_popular_items_come_first_without_those_seen(spark, interpreted):
    train = rated(
        spark, (1, 30, 4.0), (2, 30, 4.0), (1, 20, 4.0), (2, 10, 4.5), (1, 5, 1.0), (2, 5, 1.0), (3, 5, 1.0)
    )  # fmt: skip
    liked = lists.by_popularity(train, at_least=4.0)
    assert (liked.items.tolist(), liked.common.tolist()) == ([5, 10, 20, 30], [0.0, 1.0, 1.0, 2.0])
    users = spark.createDataFrame([(1,), (2,), (3,), (9,), (9,)], "user_id int")
    # 10 and 20 are equal; users 1 and 2 have seen all but one item; user 9 is not in train.
    expected = {1: [10], 2: [20], 3: [30, 10, 20], 9: [30, 10, 20]}
    assert held(lists.recommend(liked, users, train, n=3)) == expected
    assert held(lists.recommend(lists.by_popularity(train, at_least=0.0), users, train, n=1))[9] == [5]


def test_a_user_who_has_seen_everything_gets_nothing_and_strange_seen_items_do_no_harm(spark, interpreted):
    ranker = Ranker(np.array([10, 20]), np.array([1.0, 2.0]))
    seen = rated(spark, (1, 10, 3.0), (1, 20, 3.0), (2, 5, 3.0), (2, 15, 3.0), (2, 25, 3.0))
    assert held(lists.recommend(ranker, seen, seen, n=5)) == {2: [20, 10]}


def test_known_users_are_served_by_factors_and_others_by_the_common_order(spark, interpreted):
    of_users = spark.createDataFrame([(1, [1.0, 0.0]), (2, [0.0, -1.0])], "user_id int, factors array<float>")
    item_factors = np.array([[0.0, 3.0], [2.0, 1.0], [1.0, 2.0]])
    ranker = Ranker(np.array([10, 20, 30]), np.array([7.0, 8.0, 9.0]), item_factors, of_users)
    users = spark.createDataFrame([(1,), (2,), (3,)], "user_id int")
    found = lists.recommend(ranker, users, rated(spark, (1, 20, 5.0)), n=2)
    rows = [(1, 1, 30, 1.0), (1, 2, 10, 0.0), (2, 1, 20, -1.0), (2, 2, 30, -2.0), (3, 1, 30, 9.0), (3, 2, 20, 8.0)]
    assertDataFrameEqual(found, spark.createDataFrame(rows, LISTS))


def test_a_model_of_likes_ignores_low_ratings_and_still_ranks_every_item(spark, interpreted):
    train = rated(
        spark, (1, 10, 5.0), (1, 20, 4.0), (2, 10, 4.0), (2, 20, 5.0), (3, 30, 4.0), (4, 40, 1.0), (4, 10, 3.5)
    )  # fmt: skip
    model = factors.fit_likes(train, SMALL, at_least=4.0, alpha=10.0)
    assert sorted(row["id"] for row in model.itemFactors.collect()) == [10, 20, 30]
    ranker = lists.by_likes(model, train, at_least=4.0)
    assert ranker.items.tolist() == [10, 20, 30, 40]
    assert ranker.item_factors[3].tolist() == [0.0, 0.0]
    users = spark.createDataFrame([(1,), (4,)], "user_id int")
    nothing = rated(spark, (1, 10, 5.0)).limit(0)
    found = held(lists.recommend(ranker, users, nothing, n=4))
    assert set(found[1][:2]) == {10, 20}
    # No like of user 4: the most liked, equal ones by id.
    assert found[4] == [10, 20, 30, 40]
    with pytest.raises(ValueError, match="other ratings"):
        lists.by_likes(model, train.where("item_id < 30"), at_least=4.0)


def test_lists_by_bias_put_the_best_items_first(spark, interpreted):
    train = rated(spark, (1, 10, 1.0), (2, 10, 2.0), (1, 20, 5.0), (2, 20, 5.0), (1, 30, 3.5), (3, 30, 3.0))
    ranker = lists.by_bias(biases.fit(train, sweeps=1))
    users = spark.createDataFrame([(3,), (9,)], "user_id int")
    assert held(lists.recommend(ranker, users, train, n=3)) == {3: [20, 10], 9: [20, 30, 10]}


def test_errors_of_ratings_are_of_all_rows_and_of_known_items(spark, interpreted):
    train = rated(spark, (1, 10, 3.0))
    frame = spark.createDataFrame(
        [(1, 10, 4.0, 3.0), (2, 10, 2.0, 3.0), (1, 99, 5.0, 2.0)],
        "user_id int, item_id int, rating double, guess double",
    )
    found = measures.rating_errors(frame, train, predictors={"guess": F.col("guess"), "four": F.lit(4.0)})
    assert list(found) == ["guess", "four"]
    guess = found["guess"]
    assert (guess.all_rows.rows, guess.all_rows.mae) == (3, pytest.approx(5 / 3))
    assert guess.all_rows.rmse == pytest.approx((11 / 3) ** 0.5)
    assert (guess.known_items.rows, guess.known_items.rmse) == (2, pytest.approx(1.0))
    assert guess.known_share == pytest.approx(2 / 3)


def test_errors_without_a_known_item_or_with_a_missing_prediction(spark, interpreted):
    frame = spark.createDataFrame(
        [(1, 99, 5.0, 2.0, 1.0), (1, 98, 5.0, None, float("nan"))],
        "user_id int, item_id int, rating double, guess double, other double",
    )
    train = rated(spark, (1, 10, 3.0))
    found = measures.rating_errors(frame, train, predictors={"five": F.lit(5.0)})["five"]
    assert (found.known_items, found.known_share) == (None, 0.0)
    for name in ("guess", "other"):
        with pytest.raises(ValueError, match=f"{name} predicts nothing for 1 rows"):
            measures.rating_errors(frame, train, predictors={name: F.col(name)})


@pytest.fixture
def judged(spark, interpreted) -> tuple[DataFrame, DataFrame]:
    """Lists and a holdout, k = 3 and relevance from 4 stars on.

    User 1 has hits at ranks 2 and 3 of four relevant ones, and one at rank 4, which is too far down. User 2 has one
    relevant item, first in a list of one. User 3 has nothing relevant, user 4 no list.
    """
    holdout = rated(
        spark, (1, 20, 4.0), (1, 30, 5.0), (1, 40, 4.5), (1, 50, 4.0), (1, 10, 3.5),
        (2, 10, 4.0), (3, 10, 3.5), (4, 10, 5.0),
    )  # fmt: skip
    return listed(spark, {1: [10, 20, 30, 40], 2: [10], 3: [10, 20, 30]}), holdout


def test_measures_of_each_user_are_those_worked_out_by_hand(spark, judged):
    of_lists, holdout = judged
    found = measures.of_each_user(of_lists, holdout, k=3, at_least=4.0)
    dcg = 1 / log2(3) + 1 / log2(4)
    rows = [
        (1, 4, 2 / 3, 2 / 4, dcg / (1 + dcg), (1 / 2 + 2 / 3) / 3, 1.0),
        (2, 1, 1 / 3, 1.0, 1.0, 1.0, 1.0),
        (4, 1, 0.0, 0.0, 0.0, 0.0, 0.0),
    ]
    schema = "user_id int, n_relevant bigint, precision double, recall double, ndcg double, "
    expected = spark.createDataFrame(rows, schema + "average_precision double, hit double")
    assertDataFrameEqual(found, expected, ignoreNullable=True)


def test_overall_scores_are_means_over_users_and_shares_of_the_catalogue(spark, judged):
    of_lists, holdout = judged
    # Four users; item 10 was rated by two of them, 20 and 30 by one, 40 by all.
    train = rated(
        spark, (1, 10, 3.0), (2, 10, 3.0), (3, 20, 3.0), (4, 30, 3.0),
        (1, 40, 3.0), (2, 40, 3.0), (3, 40, 3.0), (4, 40, 3.0), (4, 60, 3.0),
    )  # fmt: skip
    per_user = measures.of_each_user(of_lists, holdout, k=3, at_least=4.0)
    found = measures.overall(per_user, of_lists, train, k=3)
    assert found.users == 3
    assert found.precision == pytest.approx((2 / 3 + 1 / 3) / 3)
    assert found.recall == pytest.approx(1.5 / 3)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert found.mean_average_precision == pytest.approx(((1 / 2 + 2 / 3) / 3 + 1) / 3)
    # Seven places within k: 10 three times (1 bit, 2 ratings), 20 and 30 twice each (2 bits, 1 rating); 3 of 5 items.
    assert found.coverage == pytest.approx(3 / 5)
    assert found.novelty == pytest.approx((3 * 1 + 4 * 2) / 7)
    assert found.train_count == pytest.approx((3 * 2 + 4 * 1) / 7)
    with pytest.raises(ValueError, match="2 places of the lists hold items that are not in train"):
        measures.overall(per_user, of_lists, train.where("item_id <> 30"), k=3)


def test_lists_cannot_be_judged_where_nothing_is_relevant(spark, judged):
    of_lists, holdout = judged
    per_user = measures.of_each_user(of_lists, holdout.where("rating < 4"), k=3, at_least=4.0)
    assert per_user.count() == 0
    with pytest.raises(ValueError, match="no user has a relevant item"):
        measures.overall(per_user, of_lists, holdout, k=3)


def test_a_difference_that_every_user_has_is_certain(spark, interpreted):
    schema = "user_id int, ndcg double"
    better = spark.createDataFrame([(1, 0.5), (2, 0.75), (3, 1.0)], schema)
    worse = spark.createDataFrame([(3, 0.75), (1, 0.25), (2, 0.5)], schema)
    found = comparing.difference(better, worse, measure="ndcg", seed=1)
    assert (found.users, found.candidate, found.baseline) == (3, 0.75, 0.5)
    assert (found.mean, found.low, found.high, found.is_gain) == (0.25, 0.25, 0.25, True)
    assert not comparing.difference(worse, worse, measure="ndcg", seed=1).is_gain
    with pytest.raises(ValueError, match="1 of 3 users have a value on one side only"):
        comparing.difference(better, worse.where("user_id < 3"), measure="ndcg", seed=1)


def test_the_interval_is_that_of_the_paired_t_test(spark, interpreted):
    random = np.random.default_rng(5)
    gains = random.normal(0.02, 0.3, 400)
    # Users differ far more than the two recommenders do: unpaired, the interval would be ten times as wide.
    levels = random.normal(0, 3, 400)
    one, other = (
        spark.createDataFrame([(n, float(value)) for n, value in enumerate(values)], "user_id int, ndcg double")
        for values in (levels + gains, levels)
    )
    found = comparing.difference(one, other, measure="ndcg", seed=1)
    half = 1.966 * gains.std(ddof=1) / 400**0.5
    assert found.mean == pytest.approx(gains.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert comparing.difference(one, other, measure="ndcg", seed=1) == found


def test_a_profile_is_what_a_user_likes_more_than_the_rest(spark, interpreted):
    items = spark.createDataFrame(
        [(1, "Action|Drama"), (2, "Drama"), (3, clusters.NO_GENRES), (4, "Comedy|Comedy"), (5, None), (6, "")],
        "item_id int, genres string",
    )
    ratings = rated(
        spark,
        # Mean 3: deviations 2, -1, -1, 0; without sign they sum to 4. Item 3 has no genre, item 99 is not listed.
        (1, 1, 5.0), (1, 2, 2.0), (1, 3, 2.0), (1, 99, 3.0),
        # All the same, and one rating only: nothing is liked more.
        (2, 1, 3.3), (2, 2, 3.3), (2, 4, 3.3), (3, 4, 5.0),
        # Mean 3: item 4 counts 1, not twice.
        (4, 4, 4.0), (4, 5, 2.5), (4, 6, 2.5),
    )  # fmt: skip
    found = clusters.profiles(ratings, items)
    assert found.genres == ("Action", "Comedy", "Drama")
    rows = [(1, [0.25, 0.0, 0.0]), (2, [0.0] * 3), (3, [0.0] * 3), (4, [0.0, 0.5, 0.0])]
    expected = spark.createDataFrame(rows, "user_id int, profile array<double>")
    assertDataFrameEqual(found.of_users, expected, ignoreNullable=True)
    with pytest.raises(ValueError, match="no item has a genre"):
        clusters.profiles(ratings, items.where("item_id = 3"))


def profiles_of(spark: SparkSession, *rows: list[float]) -> clusters.Profiles:
    frame = spark.createDataFrame(list(enumerate(rows)), "user_id int, profile array<double>")
    return clusters.Profiles(("Action", "Drama"), frame)


def test_users_of_one_taste_are_one_cluster(spark, interpreted):
    found = clusters.fit(profiles_of(spark, [1.0, 0.0], [0.0, 1.0], [0.8, 0.0], [0.9, 0.0]), clusters=2, seed=1)
    larger, smaller = found.clusters
    assert (larger.users, larger.mean_profile) == (3, pytest.approx({"Action": 0.9, "Drama": 0.0}))
    assert (smaller.users, smaller.mean_profile) == (1, {"Action": 0.0, "Drama": 1.0})
    placed = {row["user_id"]: row["cluster"] for row in found.of_users.collect()}
    assert placed == {0: larger.label, 1: smaller.label, 2: larger.label, 3: larger.label}
    # Squared distances of each of the three to its own two and to the other cluster; one alone counts 0.
    own = np.array([(0.04 + 0.01) / 2, (0.04 + 0.01) / 2, (0.01 + 0.01) / 2])
    other = np.array([2.0, 1.64, 1.81])
    assert found.silhouette == pytest.approx((1 - own / other).sum() / 4)


def test_users_who_are_all_alike_are_one_cluster_without_a_silhouette(spark, interpreted):
    found = clusters.fit(profiles_of(spark, [0.5, 0.0], [0.5, 0.0], [0.5, 0.0]), clusters=2, seed=1)
    assert [cluster.users for cluster in found.clusters] == [3]
    assert found.silhouette is None


#: Both chosen on the latest fifth of train, never on the rows judged here.
RESIDUALS = factors.AlsSettings(rank=30, regularization=0.2, iterations=10, seed=42, blocks=2)
LIKES = factors.AlsSettings(rank=32, regularization=0.03, iterations=10, seed=42, blocks=2)


@dataclass(frozen=True)
class MovieLens:
    train: DataFrame
    holdout: DataFrame
    movies: DataFrame


@pytest.fixture(scope="module")
def checkpoints(_spark_session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    _spark_session.sparkContext.setCheckpointDir(str(tmp_path_factory.mktemp("checkpoints")))


@pytest.fixture(scope="module")
def movielens(
    _spark_session: SparkSession, checkpoints: None, samples: Path, request: pytest.FixtureRequest
) -> MovieLens:
    shipped = samples / "movielens" / "ml-latest-small.zip"
    archive = shipped if shipped.exists() else request.getfixturevalue("shared_data") / "movielens" / shipped.name
    with zipfile.ZipFile(archive) as packed:
        tables = {
            name: list(csv.reader(io.StringIO(packed.read(f"ml-latest-small/{name}.csv").decode())))[1:]
            for name in ("ratings", "movies")
        }
    rows = [(int(user), int(item), float(stars), int(at)) for user, item, stars, at in tables["ratings"]]
    ratings = _spark_session.createDataFrame(rows, "user_id int, movie_id int, rating double, rated_at_s bigint")
    movies = [(int(item), genres) for item, _, genres in tables["movies"]]
    parts = splitting.latest_of_each_user(as_ratings(ratings, item="movie_id"), train_share=0.8)
    # Every test below reads both parts, most of them several times.
    return MovieLens(
        parts.train.localCheckpoint(), parts.holdout.localCheckpoint(),
        _spark_session.createDataFrame(movies, "item_id int, genres string"),
    )  # fmt: skip


def test_the_real_ratings_are_cut_as_in_protocol_m1(movielens):
    train, holdout = movielens.train, movielens.holdout
    assert (train.count(), holdout.count()) == (80_419, 20_417)
    # With ties in falling order of item these two are 8,229 and 1,704.
    assert train.select("item_id").distinct().count() == 8_230
    assert holdout.join(train, on="item_id", how="left_anti").count() == 1_702


@pytest.mark.models
def test_factors_of_residuals_beat_biases_on_the_real_ratings(movielens):
    train = movielens.train
    by_bias = biases.fit(train)
    model = factors.fit_residuals(train, by_bias, RESIDUALS)
    predicted = by_bias.predict(movielens.holdout, bounds=STARS, column="bias")
    predicted = model.predict(predicted, bounds=STARS, column="residual")
    found = measures.rating_errors(
        predicted, train, predictors={name: F.col(name) for name in ("bias", "residual")}
    )  # fmt: skip
    bias, residual = found["bias"], found["residual"]
    assert (bias.all_rows.rows, bias.known_items.rows) == (20_417, 18_715)
    assert bias.all_rows.rmse == pytest.approx(0.8960, abs=5e-4)
    assert bias.all_rows.mae == pytest.approx(0.6906, abs=5e-4)
    assert bias.known_items.rmse == pytest.approx(0.8841, abs=5e-4)
    assert residual.all_rows.rmse <= 0.886
    assert residual.known_items.rmse < bias.known_items.rmse


@pytest.mark.models
def test_lists_by_likes_beat_popular_ones_on_the_real_ratings(movielens):
    train, holdout = movielens.train, movielens.holdout
    model = factors.fit_likes(train, LIKES, at_least=4.0, alpha=0.3)
    rankers = {
        "popularity": lists.by_popularity(train, at_least=4.0),
        "likes": lists.by_likes(model, train, at_least=4.0),
    }
    made = {name: lists.recommend(each, holdout, train, n=10).localCheckpoint() for name, each in rankers.items()}
    per_user = {name: measures.of_each_user(each, holdout, k=10, at_least=4.0) for name, each in made.items()}
    found = {name: measures.overall(per_user[name], made[name], train, k=10) for name in made}
    for name, of_lists in made.items():
        assert of_lists.count() == 6_100, name
        assert of_lists.join(train, on=["user_id", "item_id"], how="left_semi").isEmpty(), name
    popularity, likes = found["popularity"], found["likes"]
    assert popularity.users == likes.users == 592
    assert popularity.ndcg == pytest.approx(0.079, abs=1e-3)
    assert popularity.precision == pytest.approx(0.0608, abs=1e-3)
    assert popularity.mean_average_precision == pytest.approx(0.0390, abs=1e-3)
    # .1206; other seeds and blocks have .118 to .120, and item-kNN has .1088.
    assert likes.ndcg >= 0.114
    assert likes.coverage > 5 * popularity.coverage
    assert likes.novelty > popularity.novelty
    gain = comparing.difference(per_user["likes"], per_user["popularity"], measure="ndcg", seed=42)
    assert gain.users == 592
    assert gain.is_gain


@pytest.mark.models
def test_real_users_have_tastes(movielens):
    found = clusters.profiles(movielens.train, movielens.movies)
    assert len(found.genres) == 19
    assert clusters.NO_GENRES not in found.genres
    made = clusters.fit(found, clusters=4, seed=42)
    assert sum(cluster.users for cluster in made.clusters) == 610
    assert made.silhouette > 0
