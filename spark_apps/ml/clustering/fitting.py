"""Find groups on one part of a snapshot, and rate them, with everyone they must beat, on the other."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pyspark.ml import Estimator, PipelineModel, Transformer
from pyspark.ml.clustering import BisectingKMeans, GaussianMixture, KMeans
from pyspark.sql import DataFrame

from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm
from contracts.pipelines.parts import Search
from spark_apps.ml import trials
from spark_apps.ml.algorithms import ordered
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.clustering import judging, profiles, silhouettes, space
from spark_apps.ml.fitted import CANDIDATE, Fitted
from spark_apps.ml.measuring import metrics
from spark_apps.ml.splitting import folds
from spark_apps.ml.splitting.splits import Bounds
from spark_apps.ml.trials import Trial

_BY_NAME: dict[str, Callable[..., Estimator[Any]]] = {
    "kmeans": KMeans,
    "bisecting_kmeans": BisectingKMeans,
    "gaussian_mixture": GaussianMixture,
}


def fit_and_rate(frame: DataFrame, split: Bounds, spec: PipelineSpec) -> Fitted:
    """Choose and fit on ``split.train`` only, then rate on all rows of ``split.holdout``; ``frame`` is a snapshot.

    Which algorithm becomes the candidate, and how many groups it has, is decided on folds of the training part.
    """
    train = split.train(frame)
    found = search(train, spec, spec.search) if spec.search else []
    chosen = trials.choices(found, spec)
    named: dict[str, Algorithm] = {algorithm.name: algorithm for algorithm in spec.algorithms}
    models = {name: fit(train, spec, named[name], how) for name, how in chosen.items()}
    winner = next(iter(models))
    # First, because the baselines make as many groups as the first one has; last in the answer.
    asked = {CANDIDATE: models.pop(winner), **models}
    errors = judging.judge(train, split.holdout(frame), asked, spec).measures()
    errors[CANDIDATE] = errors.pop(CANDIDATE)
    return Fitted(
        asked[CANDIDATE], spec.features.columns, errors, winner, chosen[winner], found,
        profiles=profiles.of(asked[CANDIDATE], train, spec.features.columns),
    )  # fmt: skip


def fit(train: DataFrame, spec: PipelineSpec, algorithm: Algorithm, chosen: Mapping[str, Any]) -> PipelineModel:
    """Fit on rows without nulls, with the ``chosen`` hyperparameters; the model takes the raw feature columns."""
    rows = ordered(train, spec)
    way = space.fit(rows, spec)
    # Read by every start and every step of it.
    placed = way.transform(rows).select(space.VECTOR).persist()
    model = PipelineModel([*way.stages, fit_placed(placed, spec, algorithm, chosen)])
    placed.unpersist()
    return model


def fit_placed(placed: DataFrame, spec: PipelineSpec, algorithm: Algorithm, chosen: Mapping[str, Any]) -> Transformer:
    """Fit on rows that hold ``space.VECTOR``, from every start; the closest result, the first of equals."""
    if algorithm.name == "gaussian_mixture":
        # Each step makes the last bits of the one before larger, and sums from two tasks are added as they arrive.
        placed = placed.coalesce(1)

    def start(number: int) -> Transformer:
        made: Transformer = _BY_NAME[algorithm.name](
            featuresCol=space.VECTOR, predictionCol=PREDICTION, k=chosen["k"], maxIter=chosen["max_iter"],
            seed=spec.seed + number,
        ).fit(placed)  # fmt: skip
        return made

    starts = chosen.get("starts", 1)
    return start(0) if starts == 1 else min((start(number) for number in range(starts)), key=_cost)


def _cost(model: Transformer) -> float:
    """Squared distances to the centres, to nine digits: the same result from two starts differs in the last bits."""
    return float(f"{model.summary.trainingCost:.9g}")  # type: ignore[attr-defined]


def search(train: DataFrame, spec: PipelineSpec, how: Search) -> list[Trial]:
    """Every trial of every algorithm, in the order they were started; the space is learned anew for each fold."""
    placed = [_placed(pair, spec) for pair in folds.of(ordered(train, spec), spec, how.folds)]
    try:
        return [
            trial
            for algorithm in spec.algorithms
            for trial in trials.of_algorithm(
                [partial(_rate, pair, spec, algorithm, how) for pair in placed], spec, algorithm, how
            )
        ]
    finally:
        for fitted, judged in placed:
            fitted.unpersist()
            judged.unpersist()


def _placed(pair: folds.Fold, spec: PipelineSpec) -> folds.Fold:
    way = space.fit(pair[0], spec)
    # Read by every trial, which would otherwise read and scale the rows again.
    fitted, judged = (way.transform(rows).select(space.VECTOR).persist() for rows in pair)
    return fitted, judged


def _rate(pair: folds.Fold, spec: PipelineSpec, algorithm: Algorithm, how: Search, chosen: dict[str, Any]) -> float:
    """Loss of the groups on rows they were not fitted on; ValueError where one of them is too small."""
    fitted, judged = pair
    made = fit_placed(fitted, spec, algorithm, chosen).transform(judged).select(space.VECTOR, PREDICTION)
    measured, _ = silhouettes.measure(made, {PREDICTION: chosen["k"]})
    found, least = measured[PREDICTION], spec.gate.min_cluster_share
    if found.smallest_share < least:
        raise ValueError(
            f"the smallest of {chosen['k']} clusters holds {found.smallest_share:.1%} of the rows that judge, less "
            f"than gate.min_cluster_share {least:.1%}; the largest holds {found.largest_share:.1%}"
        )
    return metrics.loss(found, how.metric)
