"""Everybody's lists for the same users, and everybody's ratings of the same pairs where they predict any."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.ml import PipelineModel
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from spark_apps.ml import algorithms
from spark_apps.ml.measuring import paired
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.measuring.subgroups import GroupLoss
from spark_apps.ml.recommending import biases, lists, measures
from spark_apps.ml.recommending.biases import Biases
from spark_apps.ml.recommending.columns import USER, as_ratings, asked_of
from spark_apps.ml.recommending.factors import ResidualModel
from spark_apps.ml.recommending.lists import Ranker
from spark_apps.ml.recommending.measures import NDCG, ListScores

_BY = "by_"


@dataclass(frozen=True)
class Predictor:
    """Who makes lists, and predicts ratings where it can."""

    ranker: Ranker
    rater: Biases | ResidualModel | None = None


@dataclass(frozen=True)
class Lists:
    """Scores of everybody by name, and frames of ``user_id, ndcg``, one row for each user with a relevant item."""

    scores: dict[str, ListScores]
    of_users: dict[str, DataFrame]

    def measures(self) -> dict[str, Measures]:
        """In the order in which they were asked: the baselines first."""
        return {**self.scores}

    def against(self, name: str, other: str) -> Difference:
        """The paired test by user: what one's nDCG lacks to the other's, below 0 where the first is better."""
        lacks = (F.col("theirs") - F.col("ours")).alias("d")
        ours = self.of_users[name].withColumnRenamed(NDCG, "ours")
        theirs = self.of_users[other].withColumnRenamed(NDCG, "theirs")
        return paired.over_blocks(ours.join(theirs, on=USER, how="inner").select(USER, lacks))

    def by_subgroup(self, _name: str, _other: str) -> dict[str, GroupLoss]:
        """None: a list is judged as a whole, and a spec for lists names no subgroups."""
        return {}


def judge(train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec) -> Lists:
    """Ask the baselines, which know ``train`` alone, and each model of likes for lists that the holdout judges."""
    known, held = ratings(train, spec), ratings(holdout, spec)
    everybody = baselines(known, biases.fit(known), spec)
    for name, model in models.items():
        everybody[name] = of_likes(likes_in(model), known, spec)
    return ask(known, held, everybody, spec)


def asked(
    train: DataFrame, holdout: DataFrame, models: Mapping[str, PipelineModel], spec: PipelineSpec
) -> dict[str, DataFrame]:
    """The lists of each model alone for everybody in the holdout, not worked out yet."""
    known, held, top = ratings(train, spec), ratings(holdout, spec), asked_of(spec).top
    rankers = {name: of_likes(likes_in(model), known, spec).ranker for name, model in models.items()}
    return {name: lists.recommend(ranker, held, known, n=top) for name, ranker in rankers.items()}


def ratings(rows: DataFrame, spec: PipelineSpec) -> DataFrame:
    """Rows of a snapshot as ratings, in an order of their own, kept: every model, list and measure reads them."""
    return as_ratings(algorithms.ordered(rows, spec), spec).persist()


def baselines(train: DataFrame, fitted: Biases, spec: PipelineSpec) -> dict[str, Predictor]:
    """The most liked items for everybody, and mean and biases, which are ``fitted`` on ``train``."""
    popular = lists.by_popularity(train, at_least=asked_of(spec).liked_from)
    made = (Predictor(popular), Predictor(lists.by_bias(fitted), fitted))
    return dict(zip(spec.baseline_names, made, strict=True))


def of_likes(model: ALSModel, train: DataFrame, spec: PipelineSpec) -> Predictor:
    return Predictor(lists.by_likes(model, train, at_least=asked_of(spec).liked_from))


def likes_in(model: PipelineModel) -> ALSModel:
    """The factors in a model as it is stored."""
    [factors] = model.stages
    if not isinstance(factors, ALSModel):
        raise TypeError(f"a model of likes holds factors; this one holds {type(factors).__name__}")
    return factors


def ask(train: DataFrame, holdout: DataFrame, everybody: Mapping[str, Predictor], spec: PipelineSpec) -> Lists:
    """Lists for every user of the holdout and ratings of all its rows; both frames are ``ratings``."""
    asked, rows = asked_of(spec), holdout.count()
    scores: dict[str, ListScores] = {}
    of_users: dict[str, DataFrame] = {}
    for name, predictor in everybody.items():
        # Read by the measures of users and by those of all lists.
        made = lists.recommend(predictor.ranker, holdout, train, n=asked.top).persist()
        per_user = measures.of_each_user(made, holdout, k=asked.top, at_least=asked.liked_from)
        # Read by the means and by every paired test.
        of_users[name] = per_user.persist().select(USER, NDCG)
        scores[name] = measures.overall(per_user, made, train, k=asked.top, rows=rows)
        made.unpersist()
    for name, errors in _rating_errors(train, holdout, everybody, asked.bounds).items():
        scores[name] = scores[name].model_copy(update={"rmse": errors.all_rows.rmse, "mae": errors.all_rows.mae})
    return Lists(scores, of_users)


def _rating_errors(
    train: DataFrame, holdout: DataFrame, everybody: Mapping[str, Predictor], bounds: tuple[float, float]
) -> dict[str, measures.RatingErrors]:
    predicted, names = holdout, []
    for name, predictor in everybody.items():
        if predictor.rater:
            predicted = predictor.rater.predict(predicted, bounds=bounds, column=f"{_BY}{name}")
            names.append(name)
    return measures.rating_errors(predicted, train, predictors={name: F.col(f"{_BY}{name}") for name in names})
