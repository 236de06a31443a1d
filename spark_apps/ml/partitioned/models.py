"""What is trained: multinomial logistic regression on one-hot categories, and how its answers are read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import OneHotEncoder, StringIndexer, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines.study import StudySpec
from spark_apps.ml.partitioned.owners import LABEL

FEATURES = "features"
Probabilities = NDArray[np.float64]


def encoder(columns: tuple[str, ...], spec: StudySpec) -> list[Any]:
    """Stages StringIndexer, OneHotEncoder and VectorAssembler; a category that was not fitted is all zeros."""
    categories = [name for name in spec.categorical if name in columns]
    numbers = [name for name in spec.numeric if name in columns]
    indexed, encoded = [f"{name}_index" for name in categories], [f"{name}_encoded" for name in categories]
    stages: list[Any] = []
    if categories:
        stages = [
            StringIndexer(inputCols=categories, outputCols=indexed, handleInvalid="keep"),
            OneHotEncoder(inputCols=indexed, outputCols=encoded, dropLast=True),
        ]
    return [*stages, VectorAssembler(inputCols=[*encoded, *numbers], outputCol=FEATURES)]


def fit(rows: DataFrame, columns: tuple[str, ...], spec: StudySpec) -> PipelineModel:
    """A model that knows all classes of the study, also where ``rows`` lack one."""
    regression = LogisticRegression(
        featuresCol=FEATURES, labelCol=LABEL, family="multinomial", maxIter=spec.max_iter, regParam=spec.reg_param
    )
    named = rows.withColumn(LABEL, _with_classes(spec))
    return Pipeline(stages=[*encoder(columns, spec), regression]).fit(named)


def probabilities(model: PipelineModel, rows: DataFrame, spec: StudySpec) -> Probabilities:
    """(rows, classes), ordered by the study's key."""
    answered = model.transform(rows).select(*spec.key, vector_to_array(F.col("probability")).alias("answer"))
    return np.array([row["answer"] for row in answered.orderBy(*spec.key).collect()])


def _with_classes(spec: StudySpec) -> Column:
    """The label as Spark's nominal attribute: it would otherwise take the highest label it sees for the last class."""
    attribute = {"type": "nominal", "name": LABEL, "vals": list(spec.classes)}
    return F.col(LABEL).alias(LABEL, metadata={"ml_attr": attribute})
