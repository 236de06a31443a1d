"""Which rows a model is fitted on and which it is judged on. Ordered data is split by time, never at random."""

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict
from pyspark.sql import DataFrame
from pyspark.sql import functions as F


class Split(BaseModel):
    """Bounds (UTC, all inclusive) and rows of the two parts; stored with the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ordered_by: str
    train_from: datetime
    train_until: datetime
    holdout_from: datetime
    holdout_until: datetime
    train_rows: int
    holdout_rows: int

    def train(self, frame: DataFrame) -> DataFrame:
        return frame.where(F.col(self.ordered_by).between(F.lit(self.train_from), F.lit(self.train_until)))

    def holdout(self, frame: DataFrame) -> DataFrame:
        return frame.where(F.col(self.ordered_by).between(F.lit(self.holdout_from), F.lit(self.holdout_until)))


def newest_as_holdout(frame: DataFrame, *, ordered_by: str, holdout_fraction: float) -> Split | None:
    """Cut at an instant so that the newest ``holdout_fraction`` of the rows (rounded, at least one) is the holdout.

    Rows of one instant stay together, in the holdout. None where one of the parts would be empty.
    """
    # Instants travel as microseconds: Python would read a timestamp in the zone of this machine.
    instants = frame.select(F.unix_micros(ordered_by).alias("at"))
    rows = instants.count()
    cut = instants.orderBy("at").offset(rows - max(1, round(rows * holdout_fraction))).first() if rows else None
    if cut is None:
        return None
    parts = instants.groupBy((F.col("at") >= cut["at"]).alias("is_holdout")).agg(
        F.min("at").alias("first"), F.max("at").alias("last"), F.count("*").alias("rows")
    )
    part = {row["is_holdout"]: row for row in parts.collect()}
    if len(part) < 2:
        return None
    train, holdout = part[False], part[True]
    return Split(
        ordered_by=ordered_by, train_from=from_micros(train["first"]), train_until=from_micros(train["last"]),
        holdout_from=from_micros(holdout["first"]), holdout_until=from_micros(holdout["last"]),
        train_rows=train["rows"], holdout_rows=holdout["rows"],
    )  # fmt: skip


def unseen_by_both(frame: DataFrame, split: Split, trained_until: datetime, *, min_rows: int) -> Split:
    """The split with a holdout that begins after ``trained_until``, where that leaves ``min_rows``; else unchanged.

    For comparing with a model that was trained on rows of this holdout: it would be asked what it was told.
    """
    if trained_until < split.holdout_from:
        return split
    rows = split.holdout(frame).where(F.col(split.ordered_by) > F.lit(trained_until))
    found = rows.agg(F.min(F.unix_micros(split.ordered_by)).alias("first"), F.count("*").alias("rows")).collect()[0]
    if found["rows"] < min_rows:
        return split
    return split.model_copy(update={"holdout_from": from_micros(found["first"]), "holdout_rows": found["rows"]})


def from_micros(micros: int) -> datetime:
    """Instant of that many microseconds since 1970, UTC; exact, unlike a float of seconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
