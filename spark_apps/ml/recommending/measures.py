"""How good predicted ratings and lists are, on all rows and users they were asked for."""

from collections.abc import Mapping
from math import log2

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark_apps.ml.measuring import regression_errors
from spark_apps.ml.measuring.regression_errors import Errors
from spark_apps.ml.recommending.columns import ITEM, RANK, RATING, USER

#: Columns of ``of_each_user`` that a mean is taken of.
PRECISION, RECALL, NDCG, AVERAGE_PRECISION, HIT = "precision", "recall", "ndcg", "average_precision", "hit"
_RELEVANT = "n_relevant"


class RatingErrors(BaseModel):
    """Errors of one predictor on all rows, and on rows whose item is in train (None without such rows)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    all_rows: Errors
    known_items: Errors | None

    @property
    def known_share(self) -> float:
        """Share of rows whose item is in train."""
        return self.known_items.rows / self.all_rows.rows if self.known_items else 0.0


class ListScores(BaseModel):
    """Means over the ``users`` with a relevant item among ``rows``, from coverage on means over all lists.

    ``coverage``: share of train items in any list. ``novelty``: mean -log2 of the share of train users who rated the
    item, in bits (Zhou et al., PNAS 107, 2010). ``train_count``: mean train ratings of a listed item. ``rmse`` and
    ``mae`` are of all rows, in units of a rating; None for who makes lists only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    users: int
    ndcg: float
    precision: float
    recall: float
    mean_average_precision: float
    hit_rate: float
    coverage: float
    novelty: float
    train_count: float
    rmse: float | None = None
    mae: float | None = None

    def numbers(self) -> dict[str, float]:
        """The scores by name, without counts and without what is not predicted."""
        found = self.model_dump(exclude={"rows", "users"})
        return {name: value for name, value in found.items() if value is not None}


def rating_errors(
    predicted: DataFrame, train: DataFrame, *, predictors: Mapping[str, Column]
) -> dict[str, RatingErrors]:
    """Errors of each predictor against ``rating``; ValueError where one predicts nothing for a row."""
    missing = [F.count_if(each.isNull() | F.isnan(each)).alias(str(n)) for n, each in enumerate(predictors.values())]
    for name, rows in zip(predictors, predicted.agg(*missing).collect()[0], strict=True):
        if rows:
            raise ValueError(f"{name} predicts nothing for {rows} rows; errors would be those of the others")
    known = predicted.join(train.select(ITEM).distinct(), on=ITEM, how="left_semi")
    of_all = regression_errors.measure(predicted, label=RATING, predictors=predictors)
    of_known = {} if known.isEmpty() else regression_errors.measure(known, label=RATING, predictors=predictors)
    return {name: RatingErrors(all_rows=of_all[name], known_items=of_known.get(name)) for name in predictors}


def of_each_user(lists: DataFrame, holdout: DataFrame, *, k: int, at_least: float) -> DataFrame:
    """``user_id, n_relevant`` and the measures of the first ``k`` of its list, for users with a relevant item.

    Relevant is a holdout rating of ``at_least``; a user without a list scores 0. Precision is hits / k, recall hits /
    relevant. nDCG (Jarvelin and Kekalainen, ACM TOIS 20, 2002): gains of 1, discounted by log2(rank + 1) as in Burges
    et al. (ICML 2005), over those of a list with all relevant items first. Average precision: sum of the precisions at
    the hits (Manning, Raghavan and Schutze, Introduction to Information Retrieval, 2008, section 8.4) over min(k,
    relevant).
    """
    relevant = holdout.where(F.col(RATING) >= at_least).select(USER, ITEM).distinct()
    so_far = Window.partitionBy(USER).orderBy(RANK).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    hits = lists.where(F.col(RANK) <= k).join(relevant, on=[USER, ITEM], how="left_semi")
    found = (
        hits.select(USER, RANK, F.row_number().over(so_far).alias("hits"))
        .groupBy(USER)
        .agg(
            F.max("hits").alias("hits"),
            F.sum(1 / F.log2(F.col(RANK) + 1)).alias("gain"),
            F.sum(F.col("hits") / F.col(RANK)).alias("precisions"),
        )
    )
    per_user = relevant.groupBy(USER).agg(F.count("*").alias(_RELEVANT)).join(found, on=USER, how="left")
    hit, gain, precisions = (F.coalesce(name, F.lit(0)) for name in ("hits", "gain", "precisions"))
    most = F.least(F.col(_RELEVANT), F.lit(k)).cast("int")
    best = F.element_at(F.array(*(F.lit(_best_gain(n)) for n in range(1, k + 1))), most)
    return per_user.select(
        USER, _RELEVANT, (hit / k).alias(PRECISION), (hit / F.col(_RELEVANT)).alias(RECALL),
        (gain / best).alias(NDCG), (precisions / most).alias(AVERAGE_PRECISION),
        (hit > 0).cast("double").alias(HIT),
    )  # fmt: skip


def overall(per_user: DataFrame, lists: DataFrame, train: DataFrame, *, k: int, rows: int) -> ListScores:
    """Means of ``of_each_user``, and what the first ``k`` of the lists hold; ValueError for an item not in train."""
    measured = (PRECISION, RECALL, NDCG, AVERAGE_PRECISION, HIT)
    means = per_user.agg(F.count("*"), *(F.avg(name) for name in measured)).collect()[0]
    if not means[0]:
        raise ValueError("no user has a relevant item in the holdout, so lists cannot be judged")
    counts = train.groupBy(ITEM).agg(F.count("*").alias("ratings"))
    users, items = train.agg(F.countDistinct(USER), F.countDistinct(ITEM)).collect()[0]
    held = (
        lists.where(F.col(RANK) <= k)
        .join(counts, on=ITEM, how="left")
        .agg(
            F.countDistinct(ITEM).alias("items"),
            F.count_if(F.col("ratings").isNull()).alias("unknown"),
            F.avg(-F.log2(F.col("ratings") / users)).alias("novelty"),
            F.avg("ratings").alias("ratings"),
        )
        .collect()[0]
    )
    if held["unknown"]:
        raise ValueError(f"{held['unknown']} places of the lists hold items that are not in train")
    return ListScores(
        rows=rows, users=means[0], precision=means[1], recall=means[2], ndcg=means[3], mean_average_precision=means[4],
        hit_rate=means[5], coverage=held["items"] / items, novelty=held["novelty"], train_count=held["ratings"],
    )  # fmt: skip


def _best_gain(n: int) -> float:
    """Discounted gain of a list that begins with ``n`` relevant items."""
    return sum(1 / log2(rank + 1) for rank in range(1, n + 1))
