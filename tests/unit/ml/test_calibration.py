"""Calibrators: what they do to distorted probabilities whose truth is known, and to a forest on real collisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import ValidationError
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import DecisionTreeClassifier, RandomForestClassifier
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.ml.regression import IsotonicRegression
from pyspark.sql import functions as F

from contracts.landed_files import HIGGS_FEATURES
from spark_apps.ml import calibration
from spark_apps.ml.calibration import Isotonic, Platt
from spark_apps.ml.measuring import binary_scores

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

STEPS = Isotonic(boundaries=(0.1, 0.3, 0.4, 0.8), predictions=(0.05, 0.05, 0.6, 0.9))


def distorted(spark: SparkSession, rows: int = 6000, seed: int = 3) -> DataFrame:
    """Outcomes of a known probability, and scores of a model that is too sure of itself and a little too high."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 1.2, rows)
    labels = random.random(rows) < 1 / (1 + np.exp(-logit))
    scores = 1 / (1 + np.exp(-(2 * logit + 0.5)))
    return spark.createDataFrame(
        list(zip(labels.astype(int).tolist(), scores.tolist(), strict=True)), "y int, p double"
    )


def applied(frame: DataFrame, calibrator: Platt | Isotonic, score: str = "p") -> binary_scores.Scores:
    calibrated = frame.withColumn("calibrated", calibrator.apply(F.col(score)))
    return binary_scores.count(calibrated, label="y", score="calibrated")


@pytest.mark.parametrize("calibrator", [Platt(slope=0.37, intercept=-1.25e-7), STEPS])
def test_a_calibrator_survives_json_to_the_last_bit(calibrator):
    assert calibration.from_json(calibration.to_json(calibrator)) == calibrator


@pytest.mark.parametrize(
    "text",
    [
        '{"method": "platt", "slope": 0.0, "intercept": 1.0}',
        '{"method": "platt", "slope": 1.0}',
        '{"method": "beta", "slope": 1.0, "intercept": 1.0}',
        '{"method": "isotonic", "boundaries": [], "predictions": []}',
        '{"method": "isotonic", "boundaries": [0.1, 0.2], "predictions": [0.1]}',
        '{"method": "isotonic", "boundaries": [0.2, 0.2], "predictions": [0.1, 0.2]}',
        '{"method": "isotonic", "boundaries": [0.1, 0.2], "predictions": [0.3, 0.2]}',
    ],
)
def test_what_is_no_rising_function_is_no_calibrator(text):
    with pytest.raises(ValidationError):
        calibration.from_json(text)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("calibrator", "expected"),
    [
        (
            Platt(slope=0.5, intercept=-0.25),
            lambda p: (
                1 / (1 + np.exp(-(0.5 * np.log(np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6))) - 0.25)))
            ),
        ),
        (STEPS, lambda p: np.interp(p, STEPS.boundaries, STEPS.predictions)),
        (Isotonic(boundaries=(0.2, 0.7), predictions=(0.4, 0.4)), lambda p: np.full_like(p, 0.4)),
    ],
)
def test_column_and_sql_are_the_formula(spark, calibrator, expected):
    scores = np.array([0.0, 1e-9, 0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.8, 0.95, 1.0])
    frame = spark.createDataFrame([*[(each,) for each in scores.tolist()], (None,)], "`a score` double")
    found = frame.select(
        calibrator.apply(F.col("a score")).alias("column"), F.expr(calibrator.as_sql("a score")).alias("sql")
    ).collect()
    assert found[-1] == (None, None)
    assert np.allclose(np.array(found[:-1], dtype=float), expected(scores)[:, None], rtol=0, atol=1e-14)


@pytest.mark.spark
def test_platt_undoes_a_distortion_and_keeps_the_order(spark):
    frame = distorted(spark)
    found = calibration.fit(frame, label="y", score="p", method="platt")
    # The scores' logit is 2 z + 0.5, so z = 0.5 logit - 0.25; the standard error of both is about .02.
    assert (found.slope, found.intercept) == (pytest.approx(0.5, abs=0.06), pytest.approx(-0.25, abs=0.08))
    before, after = binary_scores.count(frame, label="y", score="p"), applied(frame, found)
    assert binary_scores.roc_auc(after) == pytest.approx(binary_scores.roc_auc(before), abs=1e-5)
    assert binary_scores.ece(before) > 5 * binary_scores.perfect_ece(before, 0.95)
    assert binary_scores.ece(after) < binary_scores.perfect_ece(after, 0.95)


@pytest.mark.spark
def test_isotonic_is_what_spark_fits_clipped_and_calibrates_other_rows(spark):
    frame = distorted(spark)
    found = calibration.fit(frame, label="y", score="p", method="isotonic")
    assert (found.predictions[0], found.predictions[-1]) == (0.001, 0.999)
    rows = frame.select(F.col("y").cast("double").alias("label"), F.col("p").alias("features"))
    told = IsotonicRegression().fit(rows).transform(rows)
    clipped = F.least(F.greatest(F.col("prediction"), F.lit(0.001)), F.lit(0.999))
    assert told.where(F.abs(found.apply(F.col("features")) - clipped) > 1e-12).count() == 0
    others = distorted(spark, seed=4)
    before, after = binary_scores.count(others, label="y", score="p"), applied(others, found)
    assert binary_scores.ece(after) < 0.2 * binary_scores.ece(before)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("rows", "method", "told"),
    [
        ([], "platt", "0 positives of 0 rows"),
        ([(1, 0.2), (1, 0.4)], "isotonic", "2 positives of 2 rows"),
        ([(1, 0.2), (1, 0.3), (0, 0.3), (0, 0.9), (1, 0.9)], "platt", "no better than chance"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(spark, rows, method, told):
    frame = spark.createDataFrame(rows, "y int, p double")
    with pytest.raises(ValueError, match=told):
        calibration.fit(frame, label="y", score="p", method=method)


@pytest.mark.spark
def test_every_row_is_scored_by_a_model_of_the_other_folds(spark):
    rows = [(n, int(n in {0, 1, 4}), float(n)) for n in range(7)]
    frame = spark.createDataFrame(rows, "number int, label int, x double")
    seen: list[set[int]] = []

    def fit(train: DataFrame) -> PipelineModel:
        seen.append({row["number"] for row in train.collect()})
        # A tree without a split: its probability is the share of positives among the rows it was fitted on.
        stump = DecisionTreeClassifier(maxDepth=0)
        return Pipeline(stages=[VectorAssembler(inputCols=["x"], outputCol="features"), stump]).fit(train)

    found = calibration.out_of_fold(frame, fit, number=F.col("number"), folds=3)
    assert found.columns == ["number", "label", "x", "score"]
    # Folds are {0, 3, 6}, {1, 4} and {2, 5}; outside of them are 2 of 4, 1 of 5 and 3 of 5 positives.
    assert seen == [{1, 2, 4, 5}, {0, 2, 3, 5, 6}, {0, 1, 3, 4, 6}]
    scores = {row["number"]: row["score"] for row in found.collect()}
    shares = {0: 2 / 4, 1: 1 / 5, 2: 3 / 5}
    assert scores == {n: pytest.approx(shares[n % 3]) for n in range(7)}
    with pytest.raises(ValueError, match="fewer than 2"):
        calibration.out_of_fold(frame, fit, number=F.col("number"), folds=1)


@pytest.mark.spark
def test_a_row_without_a_number_is_not_lost(spark):
    rows = [(None, 1, 1.0), (1, 0, 2.0), (2, 0, 3.0), (3, 1, 4.0)]
    frame = spark.createDataFrame(rows, "number int, label int, x double")
    stages = [VectorAssembler(inputCols=["x"], outputCol="features"), DecisionTreeClassifier(maxDepth=0)]
    found = calibration.out_of_fold(
        frame, lambda train: Pipeline(stages=stages).fit(train), number=F.col("number"), folds=2
    )
    assert sorted(row["x"] for row in found.collect()) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.spark
def test_a_calibrator_travels_inside_a_saved_model(spark, tmp_path):
    frame = distorted(spark, rows=300)
    calibrator = calibration.fit(frame, label="y", score="p", method="isotonic")
    stage = SQLTransformer(statement=f"SELECT *, {calibrator.as_sql('p')} AS calibrated FROM __THIS__")
    PipelineModel(stages=[stage]).save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model")).transform(frame)
    assert loaded.where(F.col("calibrated") != calibrator.apply(F.col("p"))).count() == 0


@pytest.mark.spark
@pytest.mark.long
def test_a_forest_on_real_collisions_is_calibrated_out_of_fold(spark, samples, request):
    """Protocol H1, with the 6 of 10,984 test rows that also occur in train left in; forest of Spark's defaults."""

    def read(name: str, columns: list[str]) -> DataFrame:
        shipped = samples / "higgs" / f"{name}.csv.gz"
        path = shipped if shipped.exists() else request.getfixturevalue("shared_data") / "higgs" / f"{name}.csv"
        schema = ", ".join(f"{column} double" for column in columns)
        rows = spark.read.csv(str(path), header=True, schema=schema).withColumnRenamed("label", "y")
        return rows.withColumn("row", F.monotonically_increasing_id()).repartition(2, "row").cache()

    features = list(HIGGS_FEATURES)
    train = read("higgs_rows_0_9999_rounded", ["label", *features])
    test = read("higgs_random_10984_labelled_last", [*features, "label"])
    forest = RandomForestClassifier(labelCol="y", numTrees=20, maxDepth=5, seed=42)
    stages = [VectorAssembler(inputCols=features, outputCol="features"), forest]

    def fit(rows: DataFrame) -> PipelineModel:
        return Pipeline(stages=stages).fit(rows)

    scores = calibration.out_of_fold(train, fit, number=F.col("row"))
    scored = fit(train).transform(test).select("y", vector_to_array("probability")[1].alias("p")).cache()
    before = binary_scores.count(scored, label="y", score="p")
    platt, isotonic = (
        applied(scored, calibration.fit(scores, label="y", score="score", method=method))
        for method in ("platt", "isotonic")
    )
    assert binary_scores.ece(before) == pytest.approx(0.0934, abs=0.012)
    # So shallow a forest is off in a way that no logistic curve mends wholly; isotonic does, and costs order.
    assert binary_scores.ece(platt) < 0.5 * binary_scores.ece(before)
    assert binary_scores.ece(isotonic) < 0.25 * binary_scores.ece(before)
    assert binary_scores.log_loss(platt) < binary_scores.log_loss(before) - 0.01
    assert binary_scores.log_loss(isotonic) < binary_scores.log_loss(platt)
    assert binary_scores.roc_auc(platt) == pytest.approx(binary_scores.roc_auc(before), abs=1e-5)
    assert binary_scores.roc_auc(isotonic) == pytest.approx(binary_scores.roc_auc(before), abs=5e-3)
