"""Choose and fit the model that lists are made by, and rate it beside the baselines and a model of ratings.

Only the model of likes may become the candidate, and only its lists decide: models with a smaller error of ratings
made worse lists (Cremonesi, Koren and Turrin, RecSys 2010).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import Algorithm, combinations
from spark_apps.ml import trials
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.fitted import CANDIDATE, Fitted
from spark_apps.ml.recommending import biases, factors, judging, lists, measures
from spark_apps.ml.recommending.columns import RATING, asked_of
from spark_apps.ml.recommending.factors import AlsSettings
from spark_apps.ml.recommending.judging import Predictor
from spark_apps.ml.recommending.measures import NDCG
from spark_apps.ml.splitting import folds
from spark_apps.ml.splitting.splits import Bounds
from spark_apps.ml.trials import Trial

LIKES, RESIDUALS = "implicit_als", "residual_als"


def fit_and_rate(frame: DataFrame, split: Bounds, spec: PipelineSpec) -> Fitted:
    """Choose and fit on ``split.train`` only, then ask for lists and ratings of ``split.holdout``."""
    named: dict[str, Algorithm] = {algorithm.name: algorithm for algorithm in spec.algorithms}
    train, holdout = (judging.ratings(part, spec) for part in (split.train(frame), split.holdout(frame)))
    refuse_without_likes({"train on": train, "judge on": holdout}, spec)
    tried = search(split.train(frame), spec, named[LIKES]) if spec.search else []
    chosen = trials.choices(tried, spec)[LIKES]
    model = fit_likes(train, spec, chosen)
    of_train = biases.fit(train)
    everybody = judging.baselines(train, of_train, spec)
    if RESIDUALS in named:
        settings = _settings(spec, next(combinations(named[RESIDUALS])))
        residuals = factors.fit_residuals(train, of_train, settings)
        everybody[RESIDUALS] = Predictor(lists.by_residuals(residuals), residuals)
    everybody[CANDIDATE] = judging.of_likes(model, train, spec)
    judged = judging.ask(train, holdout, everybody, spec)
    return Fitted(PipelineModel([model]), spec.features.columns, judged.measures(), LIKES, chosen, tried)


def refuse_without_likes(parts: Mapping[str, DataFrame], spec: PipelineSpec) -> None:
    """Raise QualityGateError where a part has no rating that lists could be made from, or judged by."""
    least = asked_of(spec).liked_from
    for part, rows in parts.items():
        if rows.where(F.col(RATING) >= least).isEmpty():
            raise QualityGateError(
                f"Training {spec.name}", found=f"no {spec.label} of {least:g} or more in the rows to {part}",
                required="likes on each side of the split", next_step="Compare features.liked_from with the ratings.",
            )  # fmt: skip


def search(train: DataFrame, spec: PipelineSpec, algorithm: Algorithm) -> list[Trial]:
    """Every trial of the model of likes, by what its lists lack to perfect ones on the latest of each user's ratings.

    A trial that raises is recorded with its problem; the others go on.
    """
    if spec.search is None:
        raise ValueError(f"{spec.name} says nothing about a search")
    pairs = [
        (judging.ratings(fitted, spec), judging.ratings(judged, spec))
        for fitted, judged in folds.of(train, spec, spec.search.folds)
    ]
    try:
        rates = [partial(_loss, fitted, judged, spec) for fitted, judged in pairs]
        return trials.of_algorithm(rates, spec, algorithm, spec.search)
    finally:
        for fitted, judged in pairs:
            fitted.unpersist()
            judged.unpersist()


def fit_likes(train: DataFrame, spec: PipelineSpec, chosen: Mapping[str, Any]) -> ALSModel:
    """The model as it is stored: it reads the snapshot's columns of user and item, and adds ``prediction``."""
    asked = asked_of(spec)
    made = factors.fit_likes(train, _settings(spec, chosen), at_least=asked.liked_from, alpha=chosen["alpha"])
    return made.setUserCol(asked.user).setItemCol(asked.item).setPredictionCol(PREDICTION)


def _loss(fitted: DataFrame, judged: DataFrame, spec: PipelineSpec, chosen: Mapping[str, Any]) -> float:
    """What the nDCG of a model with ``chosen`` lacks to 1."""
    asked = asked_of(spec)
    ranker = judging.of_likes(fit_likes(fitted, spec, chosen), fitted, spec).ranker
    made = lists.recommend(ranker, judged, fitted, n=asked.top)
    found = measures.of_each_user(made, judged, k=asked.top, at_least=asked.liked_from).agg(F.avg(NDCG)).collect()[0][0]
    if found is None:
        raise ValueError(f"no user has a {spec.label} of {asked.liked_from:g} or more to validate by")
    return 1 - float(found)


def _settings(spec: PipelineSpec, chosen: Mapping[str, Any]) -> AlsSettings:
    return AlsSettings(
        rank=chosen["rank"], regularization=chosen["reg_param"], iterations=chosen["max_iter"], seed=spec.seed,
        blocks=spec.fit_partitions,
    )  # fmt: skip
