"""Folds of the training part, to choose hyperparameters by: rows of one fold validate what the others teach."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import Ratings, RegularSeries
from contracts.pipelines.parts import FileSplit, UserSplit
from spark_apps.ml import group_splits, user_splits

Fold = tuple[DataFrame, DataFrame]


def of(train: DataFrame, spec: PipelineSpec, number: int) -> list[Fold]:
    """``number`` pairs of rows to fit on and rows to validate on: rolling-origin where rows have an order."""
    if isinstance(spec.features, Ratings) and isinstance(spec.split, UserSplit):
        return by_user(train, spec.features, number=number, share=spec.split.holdout_fraction)
    if isinstance(spec.split, FileSplit) or spec.ordered_by is None:
        return by_key(train, key=spec.key, number=number, seed=spec.seed)
    if isinstance(spec.features, RegularSeries):
        plan = group_splits.FoldPlan(n_folds=number, test_share=1 / (number + 1))
        made = group_splits.folds(train, plan, group=spec.features.group, at=spec.ordered_by)
        return [(split.train(train), split.holdout(train)) for split in made]
    return rolling_origin(train, ordered_by=spec.ordered_by, number=number)


def by_key(train: DataFrame, *, key: tuple[str, ...], number: int, seed: int) -> list[Fold]:
    """Each row validates once; which fold a row is in depends on its key and the seed, not on how rows are spread."""
    fold = F.pmod(F.xxhash64(F.lit(seed), *key), F.lit(number))
    return [(train.where(fold != n), train.where(fold == n)) for n in range(number)]


def by_user(train: DataFrame, asked: Ratings, *, number: int, share: float) -> list[Fold]:
    """Rolling-origin within each user: the latest ``share`` of all rows validates, then that of what is left."""
    made: list[Fold] = []
    for _ in range(number):
        bounds = user_splits.latest_of_each_user(train, user=asked.user, item=asked.item, at=asked.at, share=share)
        if bounds is None:
            raise ValueError(f"{len(made)} of {number} folds leave no ratings to fit on")
        made.append((bounds.train(train), bounds.holdout(train)))
        train = made[-1][0]
    return made[::-1]


def rolling_origin(train: DataFrame, *, ordered_by: str, number: int) -> list[Fold]:
    """Fit on the oldest part, validate on the next: the rows are cut at instants into ``number + 1`` like parts.

    Rows of one instant stay together (Tashman, International Journal of Forecasting 16, 2000).
    """
    at = F.unix_micros(ordered_by)
    instants = train.select(at.alias("at"))
    rows = instants.count()
    places = [round(rows * n / (number + 1)) for n in range(1, number + 1)]
    cuts = [int(instants.orderBy("at").offset(place).first()["at"]) for place in places]  # type: ignore[index]
    ends = [*cuts[1:], None]
    return [
        (train.where(at < start), train.where(at >= start if end is None else (at >= start) & (at < end)))
        for start, end in zip(cuts, ends, strict=True)
    ]
