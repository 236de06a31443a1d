"""Fitting: one function per algorithm of the pipeline spec, repeatable to 1e-9 on the same rows."""

from collections.abc import Callable
from typing import Any

from pyspark.ml import Estimator, Pipeline, PipelineModel, Transformer
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.regression import GeneralizedLinearRegression
from pyspark.sql import DataFrame

from contracts.pipelines import PipelineSpec
from spark_apps.ml import features

PREDICTION = "prediction"


def fit(train: DataFrame, spec: PipelineSpec, columns: list[str]) -> PipelineModel:
    """Fit ``spec.algorithm`` on rows without nulls; the model takes the raw ``columns`` and adds ``prediction``."""
    inputs, numeric = features.as_model_inputs(columns, spec)
    assembled = VectorAssembler(inputCols=numeric, outputCol="assembled", handleInvalid="error")
    # One regularization suits columns of one scale; a constant column becomes 0 and not a singular matrix.
    scaled = StandardScaler(inputCol="assembled", outputCol="scaled", withMean=True, withStd=True)
    stages: list[Estimator[Any] | Transformer] = [inputs, assembled, scaled, _ESTIMATORS[spec.algorithm.name](spec)]
    return Pipeline(stages=stages).fit(ordered(train, spec))


def ordered(frame: DataFrame, spec: PipelineSpec) -> DataFrame:
    """The rows in ``spec.fit_partitions`` Spark partitions, sorted by key: sums are then added in one order."""
    return frame.repartition(spec.fit_partitions, *spec.key).sortWithinPartitions(*spec.key)


def _poisson_glm(spec: PipelineSpec) -> Estimator[Any]:
    return GeneralizedLinearRegression(
        family="poisson", link="log", featuresCol="scaled", labelCol=spec.label, predictionCol=PREDICTION,
        regParam=spec.algorithm.reg_param, maxIter=spec.algorithm.max_iter,
    )  # fmt: skip


_ESTIMATORS: dict[str, Callable[[PipelineSpec], Estimator[Any]]] = {"poisson_glm": _poisson_glm}
