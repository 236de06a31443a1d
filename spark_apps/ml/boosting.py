"""Boosted trees of xgboost as an estimator of Spark. Imported where a pipeline asks for it: it takes a second."""

import logging
from collections.abc import Mapping
from typing import Any

from pyspark.ml import Estimator, Transformer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

from contracts.pipelines.algorithms import Task

# They report the start and the end of every fit with all parameters.
for _chatty in ("XGBoost-PySpark", "SparkXGBClassifier", "SparkXGBRegressor"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)

_OBJECTIVES = {"squared_error": "reg:squarederror", "absolute_error": "reg:absoluteerror"}


def fit(
    prepared: DataFrame, task: Task, chosen: Mapping[str, Any], *, columns: Mapping[str, Any], seed: int
) -> Transformer:
    """Fit on all rows in one task, which holds them as 8 bytes a value; ``columns`` names features, label, prediction.

    One worker, because two add up gradients in whatever order they come: a repeat would not agree to 1e-9.
    """
    hyperparameters = {name: value for name, value in chosen.items() if name != "objective"}
    made: Estimator[Any]
    if task == "classification":
        made = SparkXGBClassifier(num_workers=1, random_state=seed, verbose=False, **columns, **hyperparameters)
    else:
        objective = _OBJECTIVES[chosen["objective"]]
        made = SparkXGBRegressor(
            num_workers=1, random_state=seed, verbose=False, objective=objective, **columns, **hyperparameters
        )
    # A shuffle to one partition mixes the rows, and where there are barriers Spark allows nothing else.
    numbers = vector_to_array(F.col(columns["features_col"]))
    model: Transformer = made.fit(prepared.repartition(1).sortWithinPartitions(numbers, columns["label_col"]))
    return model
