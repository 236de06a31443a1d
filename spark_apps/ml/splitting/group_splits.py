"""Splits by time within each group: groups that were watched in different years are each cut at their own instant."""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from contracts.pipelines.parts import RollingOrigin
from spark_apps.ml.splitting.instants import MINUTE, from_micros

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Stretch(BaseModel):
    """Rows of one group in one part: from ``first_at`` to ``last_at`` (UTC), both inclusive."""

    model_config = _FROZEN

    group: str
    first_at: datetime
    last_at: datetime
    rows: int


class GroupSplit(BaseModel):
    """Both parts of a split, a stretch for each group that has rows in the part; stored with the model as JSON."""

    model_config = _FROZEN

    grouped_by: str
    ordered_by: str
    train_stretches: tuple[Stretch, ...]
    holdout_stretches: tuple[Stretch, ...]

    @property
    def train_rows(self) -> int:
        return sum(stretch.rows for stretch in self.train_stretches)

    @property
    def holdout_rows(self) -> int:
        return sum(stretch.rows for stretch in self.holdout_stretches)

    def train(self, frame: DataFrame) -> DataFrame:
        return self._within(frame, self.train_stretches)

    def holdout(self, frame: DataFrame) -> DataFrame:
        return self._within(frame, self.holdout_stretches)

    def _within(self, frame: DataFrame, stretches: tuple[Stretch, ...]) -> DataFrame:
        """Rows in the stretches; by a join, because a predicate would grow with the number of groups."""
        bounds = frame.sparkSession.createDataFrame(
            [(each.group, each.first_at, each.last_at) for each in stretches],
            "_group string, _first_at timestamp, _last_at timestamp",
        )
        is_inside = (F.col(self.grouped_by).cast("string") == F.col("_group")) & F.col(self.ordered_by).between(
            F.col("_first_at"), F.col("_last_at")
        )
        return frame.join(F.broadcast(bounds), on=is_inside, how="left_semi")


def known_to(champion: GroupSplit, split: GroupSplit) -> str:
    """Why a model that was trained by ``champion`` may know rows of this holdout; empty where it cannot."""
    begins = {part.group: part.first_at for part in split.holdout_stretches}
    trained = [part for part in champion.train_stretches if part.group in begins]
    late = [part.group for part in trained if part.last_at >= begins[part.group]]
    return f"was trained on rows of the holdout of {', '.join(late)}" if late else ""


def unseen_by_both(frame: DataFrame, split: GroupSplit, champion: GroupSplit, *, min_rows: int) -> GroupSplit:
    """The split with a holdout that begins, in each group, after what ``champion`` trained on.

    A group that is left without rows is judged no more; the split stays as it is where fewer than ``min_rows`` remain.
    """
    if not known_to(champion, split):
        return split
    until = {part.group: part.last_at + timedelta(microseconds=1) for part in champion.train_stretches}
    unknown = tuple(
        part.model_copy(update={"first_at": max(part.first_at, until.get(part.group, part.first_at))})
        for part in split.holdout_stretches
    )
    rows = split.model_copy(update={"holdout_stretches": unknown}).holdout(frame)
    instants = _instants(rows, split.grouped_by, split.ordered_by)
    found = instants.groupBy("group").agg(*_bounds("left", F.lit(True))).orderBy("group").collect()  # noqa: FBT003
    narrowed = split.model_copy(update={"holdout_stretches": _stretches(found, "left")})
    return narrowed if narrowed.holdout_rows >= min_rows else split


class FoldPlan(BaseModel):
    """Rolling-origin split: ``n_folds`` test windows follow each other, the last ends with the group's last row.

    ``test_share`` is the share of a group's rows in one test window. The train part of a fold is what lies before its
    test window: all of it, or as many rows as the first fold has; ``around`` says which, and what is left out between.
    """

    model_config = _FROZEN

    n_folds: int = Field(ge=1)
    test_share: float = Field(gt=0, lt=1)
    around: RollingOrigin = RollingOrigin()

    @model_validator(mode="after")
    def _can_be_cut(self) -> Self:
        if self.n_folds * _exact(self.test_share) >= 1:
            raise ValueError(f"{self.n_folds} test windows of {self.test_share} leave no rows to train on")
        return self


def newest_share_per_group(frame: DataFrame, *, group: str, at: str, share: float) -> GroupSplit:
    """The newest ``share`` of each group's rows, rounded down, is the holdout; rows of one instant stay together."""
    return folds(frame, FoldPlan(n_folds=1, test_share=share), group=group, at=at)[0]


def folds(frame: DataFrame, plan: FoldPlan, *, group: str, at: str) -> list[GroupSplit]:
    """The folds of the plan, oldest first; cut by rank within the group, so that no two groups need a common clock.

    A group that is too small for a part has no stretch in it. Rows of one instant stay together, in the part of the
    first of them. One pass over ``frame``; what comes back is a row for each group.
    """
    instants = _instants(frame, group, at)
    whole = Window.partitionBy("group").rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    up_to_here = Window.partitionBy("group").orderBy("at").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ranked = instants.select("*", F.rank().over(up_to_here).alias("rank"), F.count("*").over(whole).alias("n"))
    in_window = [
        (F.col("rank") > _rows_before(plan, fold)) & (F.col("rank") <= _rows_before(plan, fold + 1))
        for fold in range(plan.n_folds)
    ]
    begun = [F.min(F.when(is_in, F.col("at"))).over(whole).alias(f"begin_{n}") for n, is_in in enumerate(in_window)]
    bounds = [
        bound
        for fold, is_in in enumerate(in_window)
        for bound in (
            *_bounds(f"train_{fold}", _is_train(plan, fold)),
            *_bounds(
                f"holdout_{fold}", is_in & (F.col("at") >= F.col(f"begin_{fold}") + plan.around.embargo_min * MINUTE)
            ),
        )
    ]
    found = ranked.select("*", *begun).groupBy("group").agg(*bounds).orderBy("group").collect()
    return [
        GroupSplit(
            grouped_by=group,
            ordered_by=at,
            train_stretches=_stretches(found, f"train_{fold}"),
            holdout_stretches=_stretches(found, f"holdout_{fold}"),
        )
        for fold in range(plan.n_folds)
    ]


def _instants(frame: DataFrame, group: str, at: str) -> DataFrame:
    """Columns ``group``, as text, and ``at``, as microseconds."""
    return frame.select(F.col(group).cast("string").alias("group"), F.unix_micros(at).alias("at"))


def _rows_before(plan: FoldPlan, fold: int) -> Column:
    """Rows of a group of ``n`` before the fold's test window; what is cut off at the end is rounded down."""
    share = _exact(plan.test_share) * (plan.n_folds - fold)
    return F.col("n") - F.floor(F.col("n") * share.numerator / share.denominator)


def _is_train(plan: FoldPlan, fold: int) -> Column:
    # Without a test window there is no instant to keep away from, and what lies before it is known by rank only.
    begin = F.col(f"begin_{fold}")
    is_before = F.coalesce(
        F.col("at") < begin - plan.around.gap_min * MINUTE, F.col("rank") <= _rows_before(plan, fold)
    )
    if plan.around.window == "expanding":
        return is_before
    return is_before & (F.col("rank") > _rows_before(plan, fold) - _rows_before(plan, 0))


def _bounds(name: str, is_part: Column) -> list[Column]:
    instants = F.when(is_part, F.col("at"))
    bounds = {"first": F.min(instants), "last": F.max(instants), "rows": F.count(instants)}
    return [bound.alias(f"{name}_{which}") for which, bound in bounds.items()]


def _stretches(found: list[Row], name: str) -> tuple[Stretch, ...]:
    return tuple(
        Stretch(
            group=row["group"],
            first_at=from_micros(row[f"{name}_first"]),
            last_at=from_micros(row[f"{name}_last"]),
            rows=row[f"{name}_rows"],
        )
        for row in found
        if row[f"{name}_rows"]
    )


def _exact(share: float) -> Fraction:
    """The share as it is written, 0.2 a fifth, in numbers that do not overflow when they multiply rows."""
    return Fraction(str(share)).limit_denominator(1_000_000)
