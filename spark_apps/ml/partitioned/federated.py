"""Federated averaging: weights travel, rows stay where they are.

McMahan and others, Communication-Efficient Learning of Deep Networks from Decentralized Data (AISTATS 2017), algorithm
1 with every owner in every round and all of an owner's rows in every step.
"""

from collections.abc import Callable, Iterable, Iterator
from time import process_time

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines.study import Federated
from spark_apps.ml.partitioned.models import Probabilities

Numbers = NDArray[np.float64]
_ANSWER = "weights array<double>, rows bigint, cpu_s double"


class Model:
    """Softmax of a linear function of standardized features. ``weights``: (features + 1, classes), the last row biases.

    ``cpu_s`` is what the owners' processes spent; Spark's own count of CPU time does not see Python.
    """

    def __init__(self, mean: Numbers, deviation: Numbers, n_classes: int) -> None:
        self.mean, self.deviation = mean, deviation
        self.weights = np.zeros((len(mean) + 1, n_classes))
        self.cpu_s = 0.0

    def probabilities(self, features: Numbers) -> Probabilities:
        """(rows, classes) of features (rows, features) as they are in the frame."""
        return softmax(with_bias((features - self.mean) / self.deviation) @ self.weights)


def train(encoded: DataFrame, spec: Federated, *, n_classes: int, reg_param: float) -> Model:
    """``encoded`` has ``features array<double>`` and ``label int``; each of its Spark partitions is one owner's rows.

    Owners first say the sums of their columns and squares, so that all of them standardize alike.
    """
    model = Model(*_moments(encoded), n_classes)
    for _ in range(spec.rounds):
        steps = local_steps(model, spec, reg_param)
        answers = encoded.mapInPandas(steps, _ANSWER).collect()
        rows = sum(answer["rows"] for answer in answers)
        model.weights = np.array(
            sum(np.array(answer["weights"]) * (answer["rows"] / rows) for answer in answers)
        ).reshape(model.weights.shape)
        model.cpu_s += sum(answer["cpu_s"] for answer in answers)
    return model


def local_steps(
    model: Model, spec: Federated, reg_param: float
) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    """What one owner does in a round: some steps down the slope of the mean log loss, from everybody's weights."""
    start, mean, deviation = model.weights, model.mean, model.deviation

    def run(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        began = process_time()
        rows = pd.concat(batches, ignore_index=True)
        if rows.empty:
            return
        inputs = with_bias((np.stack(rows["features"].to_list()) - mean) / deviation)
        wanted = np.eye(start.shape[1])[rows["label"].to_numpy()]
        weights = start.copy()
        for _ in range(spec.local_steps):
            weights -= spec.step * slope(weights, inputs, wanted, reg_param)
        yield pd.DataFrame({"weights": [weights.ravel()], "rows": [len(rows)], "cpu_s": [process_time() - began]})

    return run


def slope(weights: Numbers, inputs: Numbers, wanted: Numbers, reg_param: float) -> Numbers:
    """Gradient of mean log loss + reg_param / 2 * |weights|^2 without biases, as in Spark's LogisticRegression."""
    penalty = reg_param * weights
    penalty[-1] = 0
    found: Numbers = inputs.T @ (softmax(inputs @ weights) - wanted) / len(inputs) + penalty
    return found


def softmax(scores: Numbers) -> Probabilities:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Probabilities = powers / powers.sum(axis=1, keepdims=True)
    return found


def with_bias(inputs: Numbers) -> Numbers:
    return np.hstack([inputs, np.ones((len(inputs), 1))])


def _moments(encoded: DataFrame) -> tuple[Numbers, Numbers]:
    """Mean and standard deviation of each feature; a feature that never changes is divided by 1."""
    size = len(encoded.first()["features"])  # type: ignore[index]
    columns = [F.col("features")[n] for n in range(size)]
    found = encoded.select(
        *[F.avg(column).alias(f"mean_{n}") for n, column in enumerate(columns)],
        *[F.stddev_pop(column).alias(f"deviation_{n}") for n, column in enumerate(columns)],
    ).collect()[0]
    mean = np.array([found[f"mean_{n}"] for n in range(size)])
    deviation = np.array([found[f"deviation_{n}"] for n in range(size)])
    return mean, np.where(deviation > 0, deviation, 1.0)
