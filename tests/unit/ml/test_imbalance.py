"""Unequal classes: exact numbers of rows, choices that only key and seed decide, points that lie on segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual
from sklearn.neighbors import NearestNeighbors

from contracts.landed_files import HIGGS_FEATURES
from spark_apps.ml import imbalance

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

POINTS = "id bigint, label int, x double, y double"
#: Each remedy that draws, with its seed open.
DRAWING: dict[str, Callable[[DataFrame, int], DataFrame]] = {
    "undersample": lambda rows, seed: imbalance.undersample(rows, label="label", key="id", seed=seed),
    "oversample": lambda rows, seed: imbalance.oversample(rows, label="label", key="id", seed=seed),
    "induce": lambda rows, seed: imbalance.induce(rows, "label", 0.05, seed, "id"),
    "smote": lambda rows, seed: imbalance.smote(
        rows, label="label", features=["x", "y"], key="id", seed=seed, ratio=0.7
    ),
}


def points(spark: SparkSession, negatives: int, positives: int) -> DataFrame:
    """Rows at drawn places, the positives last."""
    at = np.random.default_rng(7).normal(size=(negatives + positives, 2)).tolist()
    return spark.createDataFrame([(n, int(n >= negatives), x, y) for n, (x, y) in enumerate(at)], POINTS)


def counts(frame: DataFrame) -> dict[object, int]:
    return imbalance.class_counts(frame, "label")


def starts(minority: np.ndarray, synthetic: np.ndarray, k: int) -> np.ndarray:
    """For each synthetic row, the minority rows from which it lies on the way to one of their k nearest."""
    _, near = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(minority).kneighbors(minority)
    found = np.zeros((len(synthetic), len(minority)), dtype=bool)
    for a in range(len(minority)):
        for b in near[a, 1:]:
            way = minority[b] - minority[a]
            share = (synthetic - minority[a]) @ way / (way @ way)
            off = np.abs(synthetic - minority[a] - share[:, None] * way).max(axis=1)
            found[:, a] |= (off < 1e-9) & (share > -1e-9) & (share < 1 + 1e-9)
    return found


def placed(frame: DataFrame, columns: list[str]) -> np.ndarray:
    return np.array(frame.select(*columns).collect())


def test_weighted_classes_weigh_the_same_and_all_rows_their_number(spark):
    rows = spark.createDataFrame([("a",), ("a",), ("a",), ("b",)], "label string")
    expected = [("a", 4 / 6), ("a", 4 / 6), ("a", 4 / 6), ("b", 2.0)]
    assertDataFrameEqual(
        imbalance.weights(rows, label="label"), spark.createDataFrame(expected, "label string, weight double")
    )


@pytest.mark.parametrize(("rows", "told"), [([1, None], "1 rows have no label"), ([1, 1], "1 classes; 2 or more")])
def test_rows_without_two_classes_are_refused(spark, rows, told):
    frame = spark.createDataFrame([(each,) for each in rows], "label int")
    with pytest.raises(ValueError, match=told):
        imbalance.weights(frame, label="label")


@pytest.mark.parametrize(("ratio", "kept"), [(1.0, 20), (2.5, 50), (9.0, 180), (20.0, 180)])
def test_undersampling_keeps_exactly_the_ratio(spark, ratio, kept):
    found = imbalance.undersample(points(spark, 180, 20), label="label", key="id", seed=1, ratio=ratio)
    assert counts(found) == {0: kept, 1: 20}
    assert found.distinct().count() == kept + 20
    with pytest.raises(ValueError, match="smallest class would lose"):
        imbalance.undersample(points(spark, 180, 20), label="label", key="id", seed=1, ratio=0.5)


def test_undersampling_thins_every_class_above_the_smallest(spark):
    rows = [(n, label) for n, label in enumerate("aaaaabbbcc")]
    found = imbalance.undersample(spark.createDataFrame(rows, "id int, label string"), label="label", key="id", seed=3)
    assert counts(found) == {"a": 2, "b": 2, "c": 2}


def test_oversampling_repeats_every_row_as_often_as_any_other_give_or_take_one(spark):
    found = imbalance.oversample(points(spark, 17, 5), label="label", key="id", seed=1)
    copies = {row["id"]: row["count"] for row in found.groupBy("id").count().collect()}
    assert counts(found) == {0: 17, 1: 17}
    assert [copies[n] for n in range(17)] == [1] * 17
    assert sorted(copies[n] for n in range(17, 22)) == [3, 3, 3, 4, 4]
    half = imbalance.oversample(points(spark, 17, 5), label="label", key="id", seed=1, ratio=0.5)
    assert counts(half) == {0: 17, 1: 8}


def test_an_induced_share_keeps_all_negatives_and_thins_positives(spark):
    found = imbalance.induce(points(spark, 100, 100), "label", 1 / 21, 1, "id")
    assert counts(found) == {0: 100, 1: 5}
    with pytest.raises(ValueError, match="needs 400 positives; there are 100"):
        imbalance.induce(points(spark, 100, 100), "label", 0.8, 1, "id")
    with pytest.raises(ValueError, match="0 and 1"):
        imbalance.induce(points(spark, 10, 10).withColumn("label", F.col("label") + 1), "label", 0.1, 1, "id")


@pytest.mark.parametrize("name", DRAWING)
def test_the_draw_depends_on_the_seed_and_on_nothing_else(spark, name):
    rows, draw = points(spark, 60, 25), DRAWING[name]
    first = draw(rows, 1)
    elsewhere = rows.orderBy(F.desc("id")).repartition(7).withColumn("id", F.col("id").cast("int"))
    assertDataFrameEqual(first, draw(elsewhere, 1).withColumn("id", F.col("id").cast("bigint")))
    assert sorted(map(str, first.collect())) != sorted(map(str, draw(rows, 2).collect()))


def test_smote_fills_up_with_points_on_the_way_to_one_of_five_neighbours(spark):
    rows = points(spark, 180, 24)
    found = imbalance.smote(rows, label="label", features=["x", "y"], key="id", seed=5)
    assert counts(found) == {0: 180, 1: 180}
    assertDataFrameEqual(found.where("not is_synthetic").drop("is_synthetic"), rows)
    made = found.where("is_synthetic")
    assert made.where("label = 1 AND id IS NULL").count() == 156
    from_row = starts(placed(rows.where("label = 1"), ["x", "y"]), placed(made, ["x", "y"]), 5)
    assert from_row.any(axis=1).all()
    # 156 = 6 * 24 + 12: each row starts 6 or 7; a point on a way that is gone both ways counts for both ends.
    assert (from_row.sum(axis=0) >= 6).all()
    # Neither the rows themselves nor the middles of the ways: the places on them are drawn.
    assert len(np.unique(placed(made, ["x", "y"]), axis=0)) == 156


def test_blocks_that_are_compared_pair_by_pair_find_the_same_neighbours(spark, monkeypatch):
    rows = points(spark, 60, 40)
    whole = imbalance.smote(rows, label="label", features=["x", "y"], key="id", seed=5).collect()
    monkeypatch.setattr(imbalance, "BLOCK_ROWS", 9)
    in_blocks = imbalance.smote(rows, label="label", features=["x", "y"], key="id", seed=5)
    assert sorted(map(str, in_blocks.collect())) == sorted(map(str, whole))
    monkeypatch.setattr(imbalance, "MOST_BLOCKS", 2)
    nearly = imbalance.smote(rows, label="label", features=["x", "y"], key="id", seed=5)
    assert counts(nearly) == {0: 60, 1: 60}
    minority, made = placed(rows.where("label = 1"), ["x", "y"]), placed(nearly.where("is_synthetic"), ["x", "y"])
    assert not starts(minority, made, 5).any(axis=1).all()
    assert starts(minority, made, 39).any(axis=1).all()


def test_fewer_rows_than_neighbours_have_those_there_are(spark):
    rows = points(spark, 6, 2)
    found = imbalance.smote(rows, label="label", features=["x", "y"], key="id", seed=1)
    minority, made = placed(rows.where("label = 1"), ["x", "y"]), placed(found.where("is_synthetic"), ["x", "y"])
    assert len(made) == 4
    assert starts(minority, made, 1).any(axis=1).all()


def test_a_single_row_and_rows_with_gaps_are_refused(spark):
    with pytest.raises(ValueError, match="2 rows and 1 neighbour are required"):
        imbalance.smote(points(spark, 6, 1), label="label", features=["x", "y"], key="id", seed=1)
    gaps = points(spark, 6, 3).withColumn("y", F.when(F.col("id") != 7, F.col("y")))
    with pytest.raises(ValueError, match="1 rows lack a feature"):
        imbalance.smote(gaps, label="label", features=["x", "y"], key="id", seed=1)


def test_smote_of_a_vector_column_and_of_enough_rows(spark):
    rows = [(n, float(n > 3), Vectors.dense([float(n), 1.0])) for n in range(7)]
    frame = spark.createDataFrame(rows, ["id", "label", "features"])
    found = imbalance.smote(frame, label="label", features="features", key="id", seed=1)
    assert found.schema["features"].dataType == frame.schema["features"].dataType
    (made,) = found.where("is_synthetic").collect()
    assert made["label"] == 1.0
    assert 4 <= made["features"][0] <= 6
    assert made["features"][1] == 1.0
    assert imbalance.smote(frame, label="label", features="features", key="id", seed=1, ratio=0.5).count() == 7


def test_probabilities_of_a_balanced_training_become_those_of_the_true_share(spark):
    # Two normal densities, 2 apart: the probability at x is known for every share.
    def truth(x: float, share: float) -> float:
        odds = np.exp(2 * x - 2) * share / (1 - share)
        return float(odds / (1 + odds))

    places = [-3.0, 0.0, 1.0, 2.5]
    frame = spark.createDataFrame([(truth(x, 0.5), truth(x, 0.05)) for x in places], "p double, expected double")
    told = imbalance.corrected(F.col("p"), trained_share=0.5, true_share=0.05)
    assert frame.where(F.abs(told - F.col("expected")) > 1e-12).count() == 0
    ends = spark.createDataFrame([(0.0,), (1.0,)], "p double").select(told.alias("p"))
    assert sorted(row["p"] for row in ends.collect()) == [0.0, 1.0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        imbalance.corrected(F.col("p"), trained_share=0.5, true_share=0.0)


@pytest.mark.long
def test_real_collisions_one_to_twenty_are_filled_up_again(spark, samples, request):
    shipped = samples / "higgs" / "higgs_rows_0_9999_rounded.csv.gz"
    path = shipped if shipped.exists() else request.getfixturevalue("shared_data") / "higgs" / shipped.stem
    columns = list(HIGGS_FEATURES)
    schema = ", ".join(f"{column} double" for column in ["label", *columns])
    rows = spark.read.csv(str(path), header=True, schema=schema).withColumn("id", F.monotonically_increasing_id())
    rare = imbalance.induce(rows, "label", 1 / 21, 42, "id")
    assert counts(rare) == {0.0: 4705, 1.0: 235}
    found = imbalance.smote(rare, label="label", features=columns, key="id", seed=42)
    assert counts(found) == {0.0: 4705, 1.0: 4705}
    minority, made = placed(rare.where("label = 1"), columns), placed(found.where("is_synthetic"), columns)
    assert starts(minority, made, 5).any(axis=1).all()
