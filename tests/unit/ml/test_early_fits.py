"""Six ways to fit before the split: each is found, and none where training rows alone were fitted on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import (
    Imputer,
    StandardScaler,
    StringIndexer,
    TargetEncoder,
    UnivariateFeatureSelector,
    VectorAssembler,
)
from pyspark.ml.regression import LinearRegression
from pyspark.sql import functions as F

from spark_apps.ml import audit, imbalance
from spark_apps.ml.audit import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark


def stages() -> dict[str, object]:
    selector = UnivariateFeatureSelector(
        featuresCol="scaled", outputCol="chosen", labelCol="label", selectionMode="numTopFeatures"
    )
    return {
        "imputer": Imputer(inputCols=["a", "b"], outputCols=["whole_a", "whole_b"]),
        "indexer": StringIndexer(inputCol="town", outputCol="town_index", handleInvalid="keep"),
        "target encoder": TargetEncoder(
            inputCols=["town_index"], outputCols=["town_rate"], labelCol="label", targetType="binary",
            handleInvalid="keep",
        ),
        "assembler": VectorAssembler(inputCols=["whole_a", "whole_b", "town_index", "town_rate"], outputCol="raw"),
        "scaler": StandardScaler(inputCol="raw", outputCol="scaled"),
        "selector": selector.setFeatureType("continuous").setLabelType("categorical").setSelectionThreshold(2),
        "model": LinearRegression(featuresCol="chosen", labelCol="label", regParam=0.01, maxIter=3),
    }  # fmt: skip


def prepared(early: str) -> Callable[[DataFrame], PipelineModel]:
    """A fit in which the stage of that name sees all rows and the others the training rows."""

    def fit(rows: DataFrame) -> PipelineModel:
        fitted: list[Transformer] = []
        for name, stage in stages().items():
            seen = rows if name == early else rows.where(~F.col("is_holdout"))
            made = stage if isinstance(stage, Transformer) else stage.fit(PipelineModel(fitted).transform(seen))
            fitted.append(made)
        return PipelineModel(fitted)

    return fit


def with_smote(*, early: bool) -> Callable[[DataFrame], PipelineModel]:
    def fit(rows: DataFrame) -> PipelineModel:
        whole = rows.na.fill(0.0)
        seen = whole if early else whole.where(~F.col("is_holdout"))
        grown = imbalance.smote(seen, label="label", features=["a", "b"], key="id", seed=1)
        train = grown.where(F.col("is_synthetic") | ~F.col("is_holdout"))
        assembler = VectorAssembler(inputCols=["a", "b"], outputCol="features", handleInvalid="keep")
        model = LinearRegression(labelCol="label", regParam=0.01, maxIter=3).fit(assembler.transform(train))
        return PipelineModel([assembler, model])

    return fit


def audited(spark: SparkSession, fit: Callable[[DataFrame], PipelineModel]) -> list[Finding]:
    random = np.random.default_rng(9)
    rows = [
        (
            n, int(n % 4 == 0), float(random.normal() + (n % 4 == 0)),
            None if n % 10 == 3 else float(random.normal(5, 2)),
            str(random.choice(["north", "south", "east"], p=[0.5, 0.3, 0.2])), n % 3 == 0,
        )
        for n in range(120)
    ]  # fmt: skip
    frame = spark.createDataFrame(rows, "id int, label int, a double, b double, town string, is_holdout boolean")
    return audit.early_fits(frame, fit, features=["a", "b", "town"], label="label", probe_rows=40)


@pytest.mark.parametrize("early", ["imputer", "indexer", "target encoder", "scaler", "selector"])
def test_a_stage_that_was_fitted_before_the_split_is_found(spark, early):
    (finding,) = audited(spark, prepared(early))
    assert finding.kind == "early_fit"
    # Nothing before the stage is blamed.
    order = {"imputer": "whole_b", "indexer": "town_index", "target encoder": "town_rate", "scaler": "scaled"}
    assert finding.columns[0] == (order | {"selector": "chosen"})[early]
    assert Finding.model_validate_json(finding.model_dump_json()) == finding


def test_smote_before_the_split_is_found(spark):
    (finding,) = audited(spark, with_smote(early=True))
    assert finding.columns == ("prediction",)


def test_smote_after_the_split_passes(spark):
    assert audited(spark, with_smote(early=False)) == []


def test_stages_that_were_fitted_on_training_rows_only_pass(spark):
    assert audited(spark, prepared("nothing")) == []


def test_a_fit_that_cannot_be_repeated_cannot_be_audited(spark):
    calls = iter(range(99))

    def fit(rows: DataFrame) -> PipelineModel:
        model = StandardScaler(inputCol="raw", outputCol="scaled")
        assembler = VectorAssembler(inputCols=["a"], outputCol="raw", handleInvalid="keep")
        shifted = rows.where(~F.col("is_holdout")).withColumn("a", F.col("a") * (1 + next(calls)))
        return PipelineModel([assembler, model.fit(assembler.transform(shifted))])

    with pytest.raises(ValueError, match="two fits on the same rows differ"):
        audited(spark, fit)


def test_features_that_cannot_be_made_strange_and_labels_that_do_not_vary_are_refused(spark):
    rows = [(n, 1, datetime(2014, 1, 1, tzinfo=UTC), n == 0) for n in range(3)]
    frame = spark.createDataFrame(rows, "id int, label int, at timestamp, is_holdout boolean")
    scaler = VectorAssembler(inputCols=["id"], outputCol="raw")
    with pytest.raises(ValueError, match="what does not vary"):
        audit.early_fits(frame, lambda _: scaler, features=["id"], label="label")
    with pytest.raises(ValueError, match="at is not"):
        audit.early_fits(frame.withColumn("label", F.col("id")), lambda _: scaler, features=["at"], label="label")
    with pytest.raises(ValueError, match="no training rows"):
        audit.early_fits(frame.where("is_holdout"), lambda _: scaler, features=["id"], label="label")
