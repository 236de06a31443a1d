"""Which rows a model is fitted on and which it is judged on. Ordered data is split by time, never at random."""

from datetime import datetime
from fnmatch import fnmatchcase
from typing import cast

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import Ratings, RegularSeries
from contracts.pipelines.parts import FileSplit, RandomSplit
from spark_apps.ml.splitting import group_splits, strata, twins, user_splits
from spark_apps.ml.splitting.group_splits import GroupSplit
from spark_apps.ml.splitting.instants import from_micros
from spark_apps.ml.splitting.strata import StratifiedBounds
from spark_apps.ml.splitting.user_splits import UserBounds


class TimeBounds(BaseModel):
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


class FileBounds(BaseModel):
    """Landed files (hex SHA-256) and rows of the two parts, and the holdout rows (file, line) that were left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_files: tuple[str, ...]
    holdout_files: tuple[str, ...]
    #: Twins of training rows.
    left_out: tuple[tuple[str, int], ...]
    train_rows: int
    holdout_rows: int

    def train(self, frame: DataFrame) -> DataFrame:
        return frame.where(F.col("source_sha256").isin(*self.train_files))

    def holdout(self, frame: DataFrame) -> DataFrame:
        kept = frame.where(F.col("source_sha256").isin(*self.holdout_files))
        return kept.where(~self._is_left_out()) if self.left_out else kept

    def _is_left_out(self) -> Column:
        lines: dict[str, list[int]] = {}
        for file, line in self.left_out:
            lines.setdefault(file, []).append(line)
        found = F.lit(False)  # noqa: FBT003 - a literal of Spark
        for file, numbers in lines.items():
            found = found | ((F.col("source_sha256") == file) & F.col("source_line").isin(*numbers))
        return found


class RandomBounds(BaseModel):
    """Rows of the two parts, which are told apart by a number drawn from the columns ``by`` and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: tuple[str, ...]
    seed: int
    holdout_share: float
    train_rows: int
    holdout_rows: int

    def train(self, frame: DataFrame) -> DataFrame:
        return frame.where(~self.is_holdout)

    def holdout(self, frame: DataFrame) -> DataFrame:
        return frame.where(self.is_holdout)

    @property
    def is_holdout(self) -> Column:
        drawn = F.pmod(F.xxhash64(F.lit("holdout"), F.lit(self.seed), *self.by), F.lit(1_000_000))
        return drawn < F.lit(round(self.holdout_share * 1_000_000))


Bounds = TimeBounds | FileBounds | GroupSplit | RandomBounds | StratifiedBounds | UserBounds
_BOUNDS: TypeAdapter[Bounds] = TypeAdapter(Bounds)


def from_json(text: str) -> Bounds:
    """Bounds as ``model_dump_json`` of one of them wrote them."""
    return _BOUNDS.validate_json(text)


def of(frame: DataFrame, spec: PipelineSpec) -> Bounds | None:
    """The split that the spec asks for; None where ordered rows make no two parts. A side without files has no rows."""
    if isinstance(spec.split, FileSplit):
        return by_files(frame, spec.split)
    if isinstance(spec.split, RandomSplit):
        how = spec.split
        if how.stratify:
            return strata.drawn(frame, label=spec.label, by=spec.key, share=how.holdout_fraction, seed=spec.seed)
        return drawn(frame, by=how.together or spec.key, share=how.holdout_fraction, seed=spec.seed)
    at, share = str(spec.ordered_by), spec.split.holdout_fraction
    if isinstance(spec.features, Ratings):
        asked = spec.features
        return user_splits.latest_of_each_user(frame, user=asked.user, item=asked.item, at=asked.at, share=share)
    if spec.split.kind == "time":
        return newest_as_holdout(frame, ordered_by=at, holdout_fraction=share)
    # The spec has seen to it that the features name the group.
    group = cast("RegularSeries", spec.features).group
    bounds = group_splits.newest_share_per_group(frame, group=group, at=at, share=share)
    return bounds if bounds.train_rows and bounds.holdout_rows else None


def known_to(champion: Bounds, split: Bounds) -> str:
    """Why a champion that was trained by its own bounds cannot be judged on this holdout; empty where it can."""
    if isinstance(champion, TimeBounds) and isinstance(split, TimeBounds):
        if champion.train_until < split.holdout_from:
            return ""
        until, first = champion.train_until.isoformat(), split.holdout_from.isoformat()
        return f"was trained on rows until {until}; the holdout begins {first}"
    if isinstance(champion, FileBounds) and isinstance(split, FileBounds):
        shared = sorted(set(champion.train_files) & set(split.holdout_files))
        return f"was trained on {len(shared)} of the holdout's files" if shared else ""
    if isinstance(champion, GroupSplit) and isinstance(split, GroupSplit):
        return group_splits.known_to(champion, split)
    if isinstance(champion, RandomBounds) and isinstance(split, RandomBounds):
        same = (champion.by, champion.seed) == (split.by, split.seed) and champion.holdout_share >= split.holdout_share
        return "" if same else "was drawn in another way"
    if isinstance(champion, StratifiedBounds) and isinstance(split, StratifiedBounds):
        return strata.known_to(champion, split)
    if isinstance(champion, UserBounds) and isinstance(split, UserBounds):
        return user_splits.known_to(champion, split)
    return "was split in another way"


def by_files(frame: DataFrame, split: FileSplit) -> FileBounds:
    """Files by name; holdout rows with a twin among the training rows are left out."""
    counted = frame.groupBy("source_file", "source_sha256").agg(F.count("*").alias("rows")).collect()
    parts = {
        part: {row["source_sha256"]: row["rows"] for row in counted if fnmatchcase(row["source_file"], pattern)}
        for part, pattern in (("train", split.train), ("holdout", split.holdout))
    }
    train, holdout = parts["train"], {file: n for file, n in parts["holdout"].items() if file not in parts["train"]}
    bounds = FileBounds(
        train_files=tuple(sorted(train)), holdout_files=tuple(sorted(holdout)), left_out=(),
        train_rows=sum(train.values()), holdout_rows=sum(holdout.values()),
    )  # fmt: skip
    if not split.twin_columns or not train or not holdout:
        return bounds
    found = twins.near(
        bounds.train(frame), bounds.holdout(frame), columns=split.twin_columns, distance=split.twin_distance
    )
    rows = found.select("source_sha256", "source_line").collect()
    keys = tuple(sorted((row["source_sha256"], row["source_line"]) for row in rows))
    return bounds.model_copy(update={"left_out": keys, "holdout_rows": bounds.holdout_rows - len(keys)})


def drawn(frame: DataFrame, *, by: tuple[str, ...], share: float, seed: int) -> RandomBounds:
    """About ``share`` of the rows are the holdout; rows that agree in the columns ``by`` are on one side."""
    bounds = RandomBounds(by=by, seed=seed, holdout_share=share, train_rows=0, holdout_rows=0)
    rows, held = frame.agg(F.count("*"), F.count_if(bounds.is_holdout)).collect()[0]
    return bounds.model_copy(update={"train_rows": rows - held, "holdout_rows": held})


def newest_as_holdout(frame: DataFrame, *, ordered_by: str, holdout_fraction: float) -> TimeBounds | None:
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
    return TimeBounds(
        ordered_by=ordered_by, train_from=from_micros(train["first"]), train_until=from_micros(train["last"]),
        holdout_from=from_micros(holdout["first"]), holdout_until=from_micros(holdout["last"]),
        train_rows=train["rows"], holdout_rows=holdout["rows"],
    )  # fmt: skip


def unseen_by_both(frame: DataFrame, split: Bounds, champion: Bounds, *, min_rows: int) -> Bounds:
    """The split with a holdout that begins after what ``champion`` trained on, where that leaves ``min_rows``.

    For comparing with a model that was trained on rows of this holdout: it would be asked what it was told. A split by
    user says whether it continues the champion's; one that was drawn class by class, or cut within groups, gives up
    what the champion knows; those by file stay as they are.
    """
    if isinstance(split, UserBounds) and isinstance(champion, UserBounds):
        return user_splits.continuing(frame, split, champion)
    if isinstance(split, StratifiedBounds) and isinstance(champion, StratifiedBounds):
        return strata.unseen_by_both(frame, split, champion, min_rows=min_rows)
    if isinstance(split, GroupSplit) and isinstance(champion, GroupSplit):
        return group_splits.unseen_by_both(frame, split, champion, min_rows=min_rows)
    if not (isinstance(split, TimeBounds) and isinstance(champion, TimeBounds)) or not known_to(champion, split):
        return split
    rows = split.holdout(frame).where(F.col(split.ordered_by) > F.lit(champion.train_until))
    found = rows.agg(F.min(F.unix_micros(split.ordered_by)).alias("first"), F.count("*").alias("rows")).collect()[0]
    if found["rows"] < min_rows:
        return split
    return split.model_copy(update={"holdout_from": from_micros(found["first"]), "holdout_rows": found["rows"]})
