"""What a model says: a number, or the probability of class 1. A correction becomes part of the model."""

from typing import Protocol

from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import Vectors
from pyspark.ml.regression import IsotonicRegression
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec

#: Column that a model adds: the number, or the class.
PREDICTION = "prediction"
CALIBRATED, _PROBABILITY = "calibrated_probability", "probability_of_1"


class Correction(Protocol):
    """What makes a better probability of one: a calibrator, or a return to the true share of classes."""

    def as_sql(self, column: str) -> str:
        """As a Spark SQL expression on the column of that name."""


def answer(transformed: DataFrame, spec: PipelineSpec) -> Column:
    """The answers in ``transformed``, which the model made: double."""
    if spec.task == "regression":
        return F.col(PREDICTION)
    if CALIBRATED in transformed.columns:
        return F.col(CALIBRATED)
    if "probability" in transformed.columns:
        return vector_to_array(F.col("probability"))[1]
    # A margin is no probability; the logistic function at least puts it between 0 and 1, in the same order.
    return 1 / (1 + F.exp(-vector_to_array(F.col("rawPrediction"))[1]))


def calibrated(model: PipelineModel, correction: Correction, spark: SparkSession) -> PipelineModel:
    """The model with two more stages, so that it is stored, loaded and served as one."""
    ends = [(Vectors.dense(1.0, 0.0), 0.0), (Vectors.dense(0.0, 1.0), 1.0)]
    # No SQL function takes a number out of a vector; the straight line from 0 to 1 does, and changes nothing.
    second = IsotonicRegression(
        featuresCol="probability", featureIndex=1, labelCol="label", predictionCol=_PROBABILITY
    ).fit(spark.createDataFrame(ends, ["probability", "label"]))
    said = SQLTransformer(statement=f"SELECT *, {correction.as_sql(_PROBABILITY)} AS {CALIBRATED} FROM __THIS__")
    return PipelineModel([*model.stages, second, said])
