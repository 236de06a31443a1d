"""Trials: combinations of hyperparameters, each with its losses, proposed, stopped and run beside others by Optuna."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite
from math import log as ln
from statistics import fmean
from time import monotonic
from typing import Any

import optuna
from py4j.protocol import Py4JNetworkError

from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm, Range, combinations, hyperparameters
from contracts.pipelines.parts import Search

log = logging.getLogger("millrace")
optuna.logging.set_verbosity(optuna.logging.WARNING)

#: The loss on one fold of a model with these hyperparameters, fitted and asked.
Rate = Callable[[dict[str, Any]], float]

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


def choices(trials: list[Trial], spec: PipelineSpec) -> dict[str, dict[str, Any]]:
    """Hyperparameters of each algorithm, the best algorithm first; QualityGateError where every trial failed."""
    if spec.search is None:
        [algorithm] = spec.algorithms
        return {algorithm.name: next(combinations(algorithm))}
    found = {name: trial.chosen for name, trial in best(trials).items()}
    if not found:
        problems = sorted({trial.problem for trial in trials if trial.problem})
        raise QualityGateError(
            f"Searching hyperparameters of {spec.name}", found=f"no trial that ended well: {'; '.join(problems)}",
            required="one at least", next_step="Correct algorithms in the pipeline's file.",
        )  # fmt: skip
    return found


def of_algorithm(folds: Sequence[Rate], spec: PipelineSpec, algorithm: Algorithm, search: Search) -> list[Trial]:
    """Every trial of one algorithm, in the order they were started; one that raises is recorded with its problem."""
    given = hyperparameters(algorithm)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=spec.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_BEFORE_STOPPING)
        if search.stop_hopeless
        else optuna.pruners.NopPruner(),
    )
    searched = [name for name, value in given.items() if isinstance(value, tuple | Range)]
    known = list(combinations(algorithm)) if search.method == "grid" else []
    if search.method == "random":
        # Drawn beforehand: Optuna seeds its threads anew, so that parallel trials would never be the same again.
        chance = random.Random(f"{spec.seed} {algorithm.name}")  # noqa: S311 - a seed, no secret
        draws = range(search.trials or 0) if searched else ()
        known = [{name: _drawn(chance, given[name]) for name in searched} for _ in draws]
    for one in known:
        study.enqueue_trial({name: one[name] for name in searched})
    # Without anything to search, a second trial would fit the same model again.
    number = len(known) or (search.trials if searched else 1)
    found: dict[int, Trial] = {}
    study.optimize(
        _objective(folds, algorithm, search, found),
        n_trials=number,
        n_jobs=min(search.parallelism, number or 1),
    )
    return [found[key] for key in sorted(found)]


def _objective(
    folds: Sequence[Rate], algorithm: Algorithm, search: Search, found: dict[int, Trial]
) -> Callable[[optuna.Trial], float]:
    def run(trial: optuna.Trial) -> float:
        chosen = {name: _suggested(trial, name, value) for name, value in hyperparameters(algorithm).items()}
        losses: list[float] = []
        began, state, problem = monotonic(), "done", ""
        try:
            for number, rate in enumerate(folds):
                loss = rate(chosen)
                if not isfinite(loss):
                    raise ValueError(f"{search.metric} is {loss}")
                losses.append(loss)
                trial.report(fmean(losses), number)
                if number + 1 < len(folds) and trial.should_prune():
                    state = "stopped"
                    break
        except (Py4JNetworkError, ConnectionError):
            raise  # the JVM is gone: no trial will end well, and a retry may
        except Exception as error:  # noqa: BLE001 - whatever Spark or a solver raises: one trial is lost, not the search
            # Of an error in the JVM the first line says only that there was one, the second what.
            state, problem = "failed", " ".join(f"{type(error).__name__}: {error}".splitlines()[:2])[:400]
        found[trial.number] = Trial(algorithm.name, chosen, tuple(losses), monotonic() - began, state, problem)
        log.info(
            "trial=%d algorithm=%s chosen=%s losses=%s state=%s seconds=%.1f %s",
            trial.number, algorithm.name, chosen, losses, state, found[trial.number].seconds, problem,
        )  # fmt: skip
        if state != "done":
            raise optuna.TrialPruned(problem)
        return fmean(losses)

    return run


def _suggested(trial: optuna.Trial, name: str, value: Any) -> Any:  # noqa: ANN401 - any hyperparameter
    if isinstance(value, tuple):
        return trial.suggest_categorical(name, value)
    if isinstance(value, Range):
        suggest = trial.suggest_int if isinstance(value.low, int) else trial.suggest_float
        return suggest(name, value.low, value.high, log=value.log)
    return value


def _drawn(chance: random.Random, value: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, tuple):
        return chance.choice(value)
    if isinstance(value.low, int) and not value.log:
        return chance.randint(value.low, value.high)
    low, high = float(value.low), float(value.high)
    drawn = exp(chance.uniform(ln(low), ln(high))) if value.log else chance.uniform(low, high)
    return min(max(round(drawn), value.low), value.high) if isinstance(value.low, int) else min(max(drawn, low), high)
