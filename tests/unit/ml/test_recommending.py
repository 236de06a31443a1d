"""Models of ratings and of likes, lists and their measures: literal rows with results worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from spark_apps.ml.recommending import biases, factors, lists, measures
from spark_apps.ml.recommending.lists import Ranker

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

STARS = (0.5, 5.0)
RATINGS = "user_id int, item_id int, rating double"
LISTS = "user_id int, rank int, item_id int, score double"
SMALL = factors.AlsSettings(rank=2, regularization=0.1, iterations=3, seed=1, blocks=2)


def rated(spark: SparkSession, *rows: tuple[int, int, float]) -> DataFrame:
    """``user, item, rating``."""
    return spark.createDataFrame(list(rows), RATINGS)


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


def test_a_sweep_takes_damped_means_of_items_and_then_of_users(spark):
    train = rated(spark, (1, 10, 5.0), (1, 20, 3.0), (2, 10, 4.0))
    found = biases.fit(train, item_damping=1.0, user_damping=1.0, sweeps=1)
    assert found.mean == 4.0
    # Item 10: (1 + 0) / (2 + 1); item 20: -1 / (1 + 1). User 1: (1 - 1/3 - 1 + 1/2) / 3; user 2: (0 - 1/3) / 2.
    items = {row["item_id"]: row["item_bias"] for row in found.of_items.collect()}
    users = {row["user_id"]: row["user_bias"] for row in found.of_users.collect()}
    assert items == pytest.approx({10: 1 / 3, 20: -1 / 2})
    assert users == pytest.approx({1: 1 / 18, 2: -1 / 6})


def test_sweeps_end_at_the_least_squares_solution(spark):
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


def test_a_user_or_item_that_is_not_in_train_adds_nothing_and_no_pair_is_dropped(spark):
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


def test_a_residual_model_adds_the_product_of_factors_where_user_and_item_are_known(spark):
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


def test_popular_items_come_first_without_those_seen(spark):
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


def test_a_user_who_has_seen_everything_gets_nothing_and_strange_seen_items_do_no_harm(spark):
    ranker = Ranker(np.array([10, 20]), np.array([1.0, 2.0]))
    seen = rated(spark, (1, 10, 3.0), (1, 20, 3.0), (2, 5, 3.0), (2, 15, 3.0), (2, 25, 3.0))
    assert held(lists.recommend(ranker, seen, seen, n=5)) == {2: [20, 10]}


def test_known_users_are_served_by_factors_and_others_by_the_common_order(spark):
    of_users = spark.createDataFrame([(1, [1.0, 0.0]), (2, [0.0, -1.0])], "user_id int, factors array<float>")
    item_factors = np.array([[0.0, 3.0], [2.0, 1.0], [1.0, 2.0]])
    ranker = Ranker(np.array([10, 20, 30]), np.array([7.0, 8.0, 9.0]), item_factors, of_users)
    users = spark.createDataFrame([(1,), (2,), (3,)], "user_id int")
    found = lists.recommend(ranker, users, rated(spark, (1, 20, 5.0)), n=2)
    rows = [(1, 1, 30, 1.0), (1, 2, 10, 0.0), (2, 1, 20, -1.0), (2, 2, 30, -2.0), (3, 1, 30, 9.0), (3, 2, 20, 8.0)]
    assertDataFrameEqual(found, spark.createDataFrame(rows, LISTS))


def test_a_model_of_likes_ignores_low_ratings_and_still_ranks_every_item(spark):
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
    # A model of other ratings: what it knows beyond these is not listed.
    assert lists.by_likes(model, train.where("item_id < 30"), at_least=4.0).items.tolist() == [10, 20]


def test_lists_by_residuals_are_in_the_order_of_predicted_ratings(spark):
    train = rated(spark, (1, 10, 5.0), (1, 20, 1.0), (2, 10, 1.0), (2, 20, 5.0), (3, 10, 4.5), (3, 30, 2.0))
    model = factors.fit_residuals(train, biases.fit(train, sweeps=1), SMALL)
    users = spark.createDataFrame([(1,), (2,), (9,)], "user_id int")
    made = lists.recommend(lists.by_residuals(model), users, train.limit(0), n=3).collect()
    rating = predictions(
        model.predict(users.crossJoin(train.select("item_id").distinct()), bounds=(-100.0, 100.0))
    )  # fmt: skip
    # Scores are ratings less what is the same for all items of a user; user 9 is not known to the factors.
    score = {(row["user_id"], row["item_id"]): row["score"] for row in made}
    for user in (1, 2, 9):
        for item in (20, 30):
            assert score[user, item] - score[user, 10] == pytest.approx(rating[user, item] - rating[user, 10], abs=1e-5)
        ordered = [row["item_id"] for row in sorted(made) if row["user_id"] == user]
        assert ordered == sorted([10, 20, 30], key=lambda item, user=user: -rating[user, item])


def test_lists_by_bias_put_the_best_items_first(spark):
    train = rated(spark, (1, 10, 1.0), (2, 10, 2.0), (1, 20, 5.0), (2, 20, 5.0), (1, 30, 3.5), (3, 30, 3.0))
    ranker = lists.by_bias(biases.fit(train, sweeps=1))
    users = spark.createDataFrame([(3,), (9,)], "user_id int")
    assert held(lists.recommend(ranker, users, train, n=3)) == {3: [20, 10], 9: [20, 30, 10]}


def test_errors_of_ratings_are_of_all_rows_and_of_known_items(spark):
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


def test_errors_without_a_known_item_or_with_a_missing_prediction(spark):
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
def judged(spark) -> tuple[DataFrame, DataFrame]:
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
    found = measures.overall(per_user, of_lists, train, k=3, rows=8)
    assert (found.rows, found.users) == (8, 3)
    assert found.precision == pytest.approx((2 / 3 + 1 / 3) / 3)
    assert found.recall == pytest.approx(1.5 / 3)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert found.mean_average_precision == pytest.approx(((1 / 2 + 2 / 3) / 3 + 1) / 3)
    # Seven places within k: 10 three times (1 bit, 2 ratings), 20 and 30 twice each (2 bits, 1 rating); 3 of 5 items.
    assert found.coverage == pytest.approx(3 / 5)
    assert found.novelty == pytest.approx((3 * 1 + 4 * 2) / 7)
    assert found.train_count == pytest.approx((3 * 2 + 4 * 1) / 7)
    with pytest.raises(ValueError, match="2 places of the lists hold items that are not in train"):
        measures.overall(per_user, of_lists, train.where("item_id <> 30"), k=3, rows=8)


def test_lists_cannot_be_judged_where_nothing_is_relevant(spark, judged):
    of_lists, holdout = judged
    per_user = measures.of_each_user(of_lists, holdout.where("rating < 4"), k=3, at_least=4.0)
    assert per_user.count() == 0
    with pytest.raises(ValueError, match="no user has a relevant item"):
        measures.overall(per_user, of_lists, holdout, k=3, rows=1)
