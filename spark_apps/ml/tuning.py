"""Choosing an algorithm and its hyperparameters on folds of the training part, before the holdout is looked at."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, prod
from statistics import fmean
from time import monotonic
from typing import Any

import optuna
from pyspark.ml import Pipeline
from pyspark.sql import DataFrame

from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm, Range, combinations, hyperparameters
from contracts.pipelines.parts import Metric, Search
from spark_apps.ml import algorithms, folds, metrics, preparation
from spark_apps.ml.answers import answer

log = logging.getLogger("millrace")
optuna.logging.set_verbosity(optuna.logging.WARNING)

#: Trials that are finished before the median means something.
_BEFORE_STOPPING = 4


@dataclass(frozen=True)
class Trial:
    """One combination of hyperparameters and its loss on each fold it was fitted on; fewer where it was stopped."""

    algorithm: str
    chosen: dict[str, Any]
    losses: tuple[float, ...]
    seconds: float
    state: str
    problem: str = ""

    @property
    def loss(self) -> float:
        """Mean over the folds; infinite unless all of them were fitted."""
        return fmean(self.losses) if self.state == "done" else inf


def best(trials: list[Trial]) -> dict[str, Trial]:
    """The trial with the least loss of each algorithm that has one, the best algorithm first; ties by order."""
    found: dict[str, Trial] = {}
    for trial in trials:
        if isfinite(trial.loss) and (trial.algorithm not in found or trial.loss < found[trial.algorithm].loss):
            found[trial.algorithm] = trial
    return dict(sorted(found.items(), key=lambda item: item[1].loss))


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
        prepared = [_prepared(pair, spec, columns, algorithm) for pair in pairs]
        try:
            made += _of_algorithm(prepared, spec, algorithm, spec.search)
        finally:
            for pair in prepared:
                for frame in pair:
                    frame.unpersist()
    return made


def _prepared(pair: folds.Fold, spec: PipelineSpec, columns: list[str], algorithm: Algorithm) -> folds.Fold:
    stages = preparation.stages(spec, columns, algorithm)
    model = Pipeline(stages=stages).fit(pair[0])
    # Read by every trial, which would otherwise read and prepare the rows again.
    fitted, judged = (model.transform(frame).select(preparation.VECTOR, spec.label) for frame in pair)
    return fitted.persist(), judged.persist()


def _of_algorithm(pairs: list[folds.Fold], spec: PipelineSpec, algorithm: Algorithm, search: Search) -> list[Trial]:
    given = hyperparameters(algorithm)
    study = optuna.create_study(
        sampler=_sampler(search, spec.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_BEFORE_STOPPING)
        if search.stop_hopeless
        else optuna.pruners.NopPruner(),
    )
    lists = {name: value for name, value in given.items() if isinstance(value, tuple)}
    if search.method == "grid":
        for one in combinations(algorithm):
            study.enqueue_trial({name: one[name] for name in lists})
    number = prod(len(values) for values in lists.values()) if search.method == "grid" else search.trials
    found: dict[int, Trial] = {}
    study.optimize(
        _objective(pairs, spec, algorithm, search.metric, found),
        n_trials=number,
        n_jobs=min(search.parallelism, number or 1),
    )
    return [found[key] for key in sorted(found)]


def _objective(
    pairs: list[folds.Fold], spec: PipelineSpec, algorithm: Algorithm, metric: Metric, found: dict[int, Trial]
) -> Callable[[optuna.Trial], float]:
    def run(trial: optuna.Trial) -> float:
        chosen = {name: _suggested(trial, name, value) for name, value in hyperparameters(algorithm).items()}
        losses: list[float] = []
        began, state, problem = monotonic(), "done", ""
        try:
            for number, (fitted, judged) in enumerate(pairs):
                made = algorithms.estimator(spec, algorithm, chosen).fit(fitted).transform(judged)
                losses.append(_loss(made, spec, metric))
                trial.report(fmean(losses), number)
                if number + 1 < len(pairs) and trial.should_prune():
                    state = "stopped"
                    break
        except Exception as error:  # noqa: BLE001 - whatever Spark or a solver raises: one trial is lost, not the search
            state, problem = "failed", f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
        found[trial.number] = Trial(algorithm.name, chosen, tuple(losses), monotonic() - began, state, problem)
        log.info(
            "trial=%d algorithm=%s chosen=%s losses=%s state=%s seconds=%.1f %s",
            trial.number, algorithm.name, chosen, losses, state, found[trial.number].seconds, problem,
        )  # fmt: skip
        if state != "done":
            raise optuna.TrialPruned(problem)
        return fmean(losses)

    return run


def _loss(made: DataFrame, spec: PipelineSpec, metric: Metric) -> float:
    """Loss of the answers in ``made``; ValueError where it is no number."""
    loss = metrics.loss(metrics.measure(made, spec, {"trial": answer(made, spec)})["trial"], metric)
    if not isfinite(loss):
        raise ValueError(f"{metric} is {loss}")
    return loss


def _suggested(trial: optuna.Trial, name: str, value: Any) -> Any:  # noqa: ANN401 - any hyperparameter
    if isinstance(value, tuple):
        return trial.suggest_categorical(name, value)
    if isinstance(value, Range):
        is_whole = value.low.is_integer() and value.high.is_integer() and not value.log and value.high - value.low > 1
        if is_whole:
            return trial.suggest_int(name, int(value.low), int(value.high))
        return trial.suggest_float(name, value.low, value.high, log=value.log)
    return value


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    if search.method == "bayesian":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)
