"""Lists of the best items for each user, by any model: candidates are all items of train, equal scores go by id."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_apps.ml.recommending.biases import ITEM_BIAS, Biases
from spark_apps.ml.recommending.columns import ITEM, RANK, RATING, USER
from spark_apps.ml.recommending.factors import ResidualModel

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

_SEEN = "seen"
_FACTORS = "factors"
_SCORE = "score"


@dataclass(frozen=True)
class Ranker:
    """What lists are made from; the arrays have one entry (row) per item and travel to every task.

    A user of ``of_users`` (``user_id, factors``) scores an item by the product of factors, any other by ``common``.
    """

    items: Ids
    common: Floats
    item_factors: Floats | None = None
    of_users: DataFrame | None = None


def by_popularity(train: DataFrame, *, at_least: float) -> Ranker:
    """Items with the most ratings of ``at_least`` first: the baseline of every list."""
    likes = F.count_if(F.col(RATING) >= at_least).alias(_SCORE)
    found = train.groupBy(ITEM).agg(likes).orderBy(ITEM).toPandas()
    return Ranker(found[ITEM].to_numpy(np.int64), found[_SCORE].to_numpy(np.float64))


def by_bias(biases: Biases) -> Ranker:
    """Items with the highest bias first. A user's own bias adds the same to all items, so it changes no list."""
    found = biases.of_items.orderBy(ITEM).toPandas()
    return Ranker(found[ITEM].to_numpy(np.int64), found[ITEM_BIAS].to_numpy(np.float64))


def by_likes(model: ALSModel, train: DataFrame, *, at_least: float) -> Ranker:
    """Items in the order of a model of likes, fitted on ``train``; by popularity for users without a like.

    An item without a like has no factors and scores 0, which is what they would give. A model of earlier ratings knows
    neither later users nor later items; items that are not in train are never listed.
    """
    popularity = by_popularity(train, at_least=at_least)
    of_users = model.userFactors.select(F.col("id").alias(USER), F.col("features").alias(_FACTORS))
    return Ranker(popularity.items, popularity.common, _of_items(model, popularity.items), of_users)


def by_residuals(model: ResidualModel) -> Ranker:
    """Items in the order of the ratings that a model of residuals expects of a user; by bias for users it never saw."""
    bias = by_bias(model.biases)
    item_factors = np.column_stack([_of_items(model.factors, bias.items), bias.common])
    # A factor of 1 for every user adds the item's bias to the product.
    factors = F.concat("features", F.array(F.lit(1.0).cast("float")))
    of_users = model.factors.userFactors.select(F.col("id").alias(USER), factors.alias(_FACTORS))
    return Ranker(bias.items, bias.common, item_factors, of_users)


def recommend(ranker: Ranker, users: DataFrame, seen: DataFrame, *, n: int) -> DataFrame:
    """``user_id, rank, item_id, score``: the best ``n`` items for each user, without those of the user in ``seen``.

    A list is shorter only where fewer items are left.
    """
    seen_by = seen.groupBy(USER).agg(F.collect_set(ITEM).alias(_SEEN))
    asked = users.select(USER).distinct().join(seen_by, on=USER, how="left")
    if ranker.of_users is None:
        asked = asked.withColumn(_FACTORS, F.lit(None).cast("array<float>"))
    else:
        asked = asked.join(ranker.of_users, on=USER, how="left")
    items, common, item_factors = ranker.items, ranker.common, ranker.item_factors

    def lists(batches: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        for batch in batches:
            made = []
            for seen_items, factors in zip(batch[_SEEN], batch[_FACTORS], strict=True):
                if item_factors is None or factors is None:
                    scores = common.copy()
                else:
                    scores = item_factors @ factors.astype(np.float64)
                if seen_items is not None:
                    places = np.minimum(np.searchsorted(items, seen_items), len(items) - 1)
                    scores[places[items[places] == seen_items]] = -np.inf
                best = _best(scores, n)
                made.append((np.arange(1, len(best) + 1), items[best], scores[best]))
            columns = dict(zip((RANK, ITEM, _SCORE), map(np.concatenate, zip(*made, strict=True)), strict=True))
            yield pd.DataFrame({USER: np.repeat(batch[USER].to_numpy(), [len(ranks) for ranks, *_ in made]), **columns})

    # numpy: Spark's own recommendForAllUsers knows neither seen items nor an order of equal scores, and a cross join
    # in SQL multiplies the factors of all pairs one number at a time.
    schema = f"{USER} int, {RANK} int, {ITEM} int, {_SCORE} double"
    return asked.select(USER, _SEEN, _FACTORS).mapInPandas(lists, schema)


def _of_items(model: ALSModel, items: Ids) -> Floats:
    """A row of factors for each of ``items``, which rise; zeros where the model has none."""
    found = model.itemFactors.toPandas()
    found = found[np.isin(found["id"], items)]
    factors = np.zeros((len(items), model.rank))
    if len(found):
        factors[np.searchsorted(items, found["id"])] = np.stack(found["features"].to_list())
    return factors


def _best(scores: Floats, n: int) -> NDArray[np.intp]:
    """Places of the ``n`` largest scores above minus infinity, largest first, equal ones by place."""
    n = min(n, len(scores))
    least = np.partition(scores, -n)[-n]
    among = np.flatnonzero((scores >= least) & (scores > -np.inf))
    return among[np.argsort(-scores[among], kind="stable")][:n]
