"""Choosing an algorithm and its hyperparameters on folds of the training part, before the holdout is looked at."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.ml import Pipeline
from pyspark.sql import DataFrame

from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm
from contracts.pipelines.parts import Metric
from spark_apps.ml import algorithms, preparation, remedies, trials
from spark_apps.ml.answers import answer
from spark_apps.ml.measuring import metrics
from spark_apps.ml.remedies import PriorShift
from spark_apps.ml.splitting import folds
from spark_apps.ml.trials import Trial


def search(train: DataFrame, spec: PipelineSpec, columns: list[str]) -> list[Trial]:
    """Every trial of every algorithm, in the order they were started.

    What an algorithm prepares is fitted once per fold, on the rows that the fold fits on, and kept for all its trials.
    A trial that raises is recorded with its problem; the others go on.
    """
    if spec.search is None:
        raise ValueError(f"{spec.name} says nothing about a search")
    made: list[Trial] = []
    pairs = folds.of(algorithms.ordered(train, spec), spec, spec.search.folds)
    for algorithm in spec.algorithms:
        prepared: list[_Prepared] = []
        try:
            for pair in pairs:
                prepared.append(_prepared(pair, spec, columns, algorithm))  # noqa: PERF401 - the first are released
            rates = [partial(_rate, pair, spec, algorithm, spec.search.metric) for pair in prepared]
            made += trials.of_algorithm(rates, spec, algorithm, spec.search)
        finally:
            for one in prepared:
                one.fitted.unpersist()
                one.judged.unpersist()
    return made


@dataclass(frozen=True)
class _Prepared:
    """A fold whose rows hold what an algorithm sees, and what its remedy for unequal classes did to their share."""

    fitted: DataFrame
    judged: DataFrame
    shift: PriorShift | None


def _prepared(pair: folds.Fold, spec: PipelineSpec, columns: list[str], algorithm: Algorithm) -> _Prepared:
    stages = preparation.stages(spec, columns, algorithm)
    model = Pipeline(stages=stages).fit(pair[0])
    try:
        remedied = remedies.apply(model.transform(pair[0]), spec)
    except ValueError as error:
        raise QualityGateError(
            f"Preparing a fold of {spec.name}", found=str(error), required="rows of both classes in every fold",
            next_step="Set search.stratify, or ask for fewer search.folds.",
        ) from error  # fmt: skip
    # Read by every trial, which would otherwise read and prepare the rows again.
    judged = model.transform(pair[1]).select(preparation.VECTOR, spec.label).persist()
    return _Prepared(remedied.rows.persist(), judged, remedied.shift)


def _rate(pair: _Prepared, spec: PipelineSpec, algorithm: Algorithm, metric: Metric, chosen: dict[str, Any]) -> float:
    made = algorithms.fit_prepared(pair.fitted, spec, algorithm, chosen).transform(pair.judged)
    found = answer(made, spec)
    return metrics.loss_of(made, spec, pair.shift.apply(found) if pair.shift else found, metric)
