"""Folds of the training part, to choose hyperparameters by: rows of one fold validate what the others teach."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import Ratings, RegularSeries
from contracts.pipelines.parts import RollingOrigin, UserSplit
from spark_apps.ml.splitting import group_splits, strata, user_splits
from spark_apps.ml.splitting.instants import MINUTE

Fold = tuple[DataFrame, DataFrame]


@dataclass(frozen=True)
class Window:
    """Both parts of a fold of ordered rows: from the first of two instants to before the second, in microseconds.

    None where nothing bounds it.
    """

    fitted: tuple[int | None, int]
    judged: tuple[int, int | None]


def of(train: DataFrame, spec: PipelineSpec, number: int) -> list[Fold]:
    """``number`` pairs of rows to fit on and rows to validate on: rolling-origin where rows have an order."""
    around = (spec.search and spec.search.rolling_origin) or RollingOrigin()
    if isinstance(spec.features, Ratings) and isinstance(spec.split, UserSplit):
        return by_user(train, spec.features, number=number, share=spec.split.holdout_fraction)
    if not spec.has_rolling_folds or spec.ordered_by is None:
        if spec.search and spec.search.stratify:
            return by_class(train, key=spec.key, label=spec.label, number=number, seed=spec.seed)
        return by_key(train, key=spec.key, number=number, seed=spec.seed)
    if isinstance(spec.features, RegularSeries):
        plan = group_splits.FoldPlan(n_folds=number, test_share=1 / (number + 1), around=around)
        made = group_splits.folds(train, plan, group=spec.features.group, at=spec.ordered_by)
        _refuse_empty([(split.train_rows, split.holdout_rows) for split in made], around)
        return [(split.train(train), split.holdout(train)) for split in made]
    return rolling_origin(train, ordered_by=spec.ordered_by, number=number, around=around)


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
            raise QualityGateError(
                f"Cutting {number} folds of each user's ratings", found=f"ratings for {len(made)} of them",
                required="ratings to fit on and to validate on in each", next_step="Lower search.folds.",
            )  # fmt: skip
        made.append((bounds.train(train), bounds.holdout(train)))
        train = made[-1][0]
    return made[::-1]


def by_class(train: DataFrame, *, key: tuple[str, ...], label: str, number: int, seed: int) -> list[Fold]:
    """Each row validates once; of each class as many rows validate in a fold as in any other, give or take one."""
    counts = strata.class_counts(train, label)
    if min(counts) < number:
        raise QualityGateError(
            f"Cutting {number} folds", found=f"{counts[0]} rows of {label} 0 and {counts[1]} of {label} 1",
            required=f"{number} of each, one a fold at least",
            next_step="Lower search.folds, or gather more rows of the rarer class.",
        )  # fmt: skip
    drawn = strata.draw("fold", seed, key)
    shares = [Fraction(n, number) for n in range(1, number)]
    cuts = strata.cuts(train, drawn, label=label, counts=counts, shares=shares)
    fold = strata.part(drawn, label=label, between=cuts)
    return [(train.where(fold != n), train.where(fold == n)) for n in range(number)]


def rolling_origin(
    train: DataFrame, *, ordered_by: str, number: int, around: RollingOrigin | None = None
) -> list[Fold]:
    """Fit on the oldest part, validate on the next: the rows are cut at instants into ``number + 1`` like parts.

    Rows of one instant stay together (Tashman, International Journal of Forecasting 16, 2000).
    """
    around, at = around or RollingOrigin(), F.unix_micros(ordered_by)
    instants = train.select(at.alias("at"))
    rows = instants.count()
    if rows <= number:
        _refuse_empty([(rows, 0)] * number, around)
    places = [round(rows * n / (number + 1)) for n in range(1, number + 1)]
    cuts = [int(instants.orderBy("at").offset(place).first()["at"]) for place in places]  # type: ignore[index]
    made = windows(cuts, around)
    parts = [_within(at, bounds) for window in made for bounds in (window.fitted, window.judged)]
    counts = train.agg(*[F.count_if(part) for part in parts]).collect()[0]
    _refuse_empty(list(zip(counts[::2], counts[1::2], strict=True)), around)
    return [(train.where(parts[n]), train.where(parts[n + 1])) for n in range(0, len(parts), 2)]


def windows(cuts: Sequence[int], around: RollingOrigin) -> list[Window]:
    """A fold for each of the ``cuts``, which rise: fitted on what lies before it, validated until the next.

    A rolling window begins at the cut before, as like parts have as many rows as each other.
    """
    gap, embargo = around.gap_min * MINUTE, around.embargo_min * MINUTE
    begins = [None, *cuts[:-1]] if around.window == "rolling" else [None] * len(cuts)
    return [
        Window(fitted=(begin, cut - gap), judged=(cut + embargo, end))
        for begin, cut, end in zip(begins, cuts, [*cuts[1:], None], strict=True)
    ]


def _within(at: Column, bounds: tuple[int | None, int | None]) -> Column:
    first, end = bounds
    is_after = at.isNotNull() if first is None else at >= first
    return is_after if end is None else is_after & (at < end)


def _refuse_empty(rows: list[tuple[int, int]], around: RollingOrigin) -> None:
    for number, (fitted, judged) in enumerate(rows, start=1):
        if not (fitted and judged):
            left_out = f"gap_min {around.gap_min} and embargo_min {around.embargo_min} of search.rolling_origin"
            more = left_out if around.gap_min or around.embargo_min else "gather rows of more instants"
            raise QualityGateError(
                f"Cutting {len(rows)} folds of ordered rows",
                found=f"{fitted} rows to fit on and {judged} to validate on in fold {number}",
                required="rows of both",
                next_step=f"Lower search.folds, or {more}.",
            )  # fmt: skip
