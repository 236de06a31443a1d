"""Estimators by name, fitted so that a repeat on the same rows agrees to 1e-9."""

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.ml import Estimator, Pipeline, PipelineModel, Transformer
from pyspark.ml import classification as cls
from pyspark.ml import regression as reg
from pyspark.sql import DataFrame, SparkSession

from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm
from spark_apps.ml import answers, preparation, remedies
from spark_apps.ml.answers import PREDICTION

_BY_NAME: dict[tuple[str, str], Callable[..., Estimator[Any]]] = {
    ("classification", "logistic_regression"): cls.LogisticRegression,
    ("classification", "linear_svc"): cls.LinearSVC,
    ("classification", "random_forest"): cls.RandomForestClassifier,
    ("classification", "gbt"): cls.GBTClassifier,
    ("classification", "naive_bayes"): cls.NaiveBayes,
    ("regression", "linear_regression"): reg.LinearRegression,
    ("regression", "random_forest"): reg.RandomForestRegressor,
    ("regression", "gbt"): reg.GBTRegressor,
    ("regression", "generalized_linear"): reg.GeneralizedLinearRegression,
}


def fit(
    train: DataFrame, spec: PipelineSpec, columns: list[str], algorithm: Algorithm, chosen: Mapping[str, Any]
) -> PipelineModel:
    """Fit on rows without nulls, with the ``chosen`` hyperparameters; the model takes the raw ``columns``.

    What the spec says about unequal classes is done to the rows, and undone in the answers unless a calibration does.
    """
    rows = ordered(train, spec)
    prepared = Pipeline(stages=preparation.stages(spec, columns, algorithm)).fit(rows)
    remedied = remedies.apply(prepared.transform(rows), spec)
    model = PipelineModel([*prepared.stages, fit_prepared(remedied.rows, spec, algorithm, chosen)])
    if remedied.shift is None or spec.calibration:
        return model
    return answers.calibrated(model, remedied.shift, train.sparkSession)


def fit_prepared(
    prepared: DataFrame, spec: PipelineSpec, algorithm: Algorithm, chosen: Mapping[str, Any]
) -> Transformer:
    """Fit on rows that hold VECTOR and perhaps WEIGHT. A tree gets as many bins as the largest category has values."""
    if algorithm.name == "xgboost":
        from spark_apps.ml import boosting

        names = {"features_col": preparation.VECTOR, "label_col": spec.label, "prediction_col": PREDICTION}
        weight = {"weight_col": remedies.WEIGHT} if remedies.WEIGHT in prepared.columns else {}
        return boosting.fit(prepared, spec.task, chosen, columns=names | weight, seed=spec.seed)
    made = estimator(spec, algorithm, chosen)
    if remedies.WEIGHT in prepared.columns:
        made = made.setWeightCol(remedies.WEIGHT)  # type: ignore[attr-defined]
    if made.hasParam("maxBins"):
        attributes = prepared.schema[preparation.VECTOR].metadata.get("ml_attr", {}).get("attrs", {})
        most = max((len(each["vals"]) for each in attributes.get("nominal", []) if "vals" in each), default=0)
        made = made.setMaxBins(max(most, made.getMaxBins()))  # type: ignore[attr-defined]
    return _without_summary(made.fit(prepared), prepared.sparkSession)


def _without_summary(model: Transformer, spark: SparkSession) -> Transformer:
    """The model without the account of its training, which holds the session and goes into every task that predicts.

    A session that has been observed once (``DataFrame.observe``) cannot be serialised any more, and no such task run.
    """
    if getattr(model, "hasSummary", False):
        nothing = spark._jvm.scala.Option.empty()  # type: ignore[union-attr]  # noqa: SLF001 - pyspark cannot drop it
        model._java_obj.setSummary(nothing)  # type: ignore[attr-defined]  # noqa: SLF001
    return model


def estimator(spec: PipelineSpec, algorithm: Algorithm, chosen: Mapping[str, Any]) -> Estimator[Any]:
    """The estimator over ``preparation.VECTOR`` with all hyperparameters, each one value."""
    made = _BY_NAME[spec.task, algorithm.name](
        featuresCol=preparation.VECTOR, labelCol=spec.label, predictionCol=PREDICTION,
        **{_camel(name): value for name, value in chosen.items()},
    )  # fmt: skip
    return made.setSeed(spec.seed) if made.hasParam("seed") else made  # type: ignore[attr-defined]


def ordered(frame: DataFrame, spec: PipelineSpec) -> DataFrame:
    """The rows in ``spec.fit_partitions`` Spark partitions, sorted by key: sums are then added in one order."""
    return frame.repartition(spec.fit_partitions, *spec.key).sortWithinPartitions(*spec.key)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
