"""Splits by time within each user: the first ratings of each are trained on, the latest are judged on."""

from fractions import Fraction

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

_IS_HOLDOUT = "_is_holdout"


class UserBounds(BaseModel):
    """Share and rows of the two parts of a table of ratings; stored with the model.

    The parts are cut anew from the frame that the split was made of. ``until`` and ``content`` tell that frame again:
    its last instant, and a sum of hashes of its rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    item: str
    #: Whole numbers that rise with time.
    at: str
    holdout_share: float
    train_rows: int
    holdout_rows: int
    until: int
    content: str
    #: Content of an earlier state of the same ratings, to which only later ones were added.
    continues: str = ""

    def train(self, frame: DataFrame) -> DataFrame:
        return self._part(frame, ~F.col(_IS_HOLDOUT))

    def holdout(self, frame: DataFrame) -> DataFrame:
        return self._part(frame, F.col(_IS_HOLDOUT))

    def _part(self, frame: DataFrame, is_in: Column) -> DataFrame:
        held = is_latest(user=self.user, item=self.item, at=self.at, share=self.holdout_share).alias(_IS_HOLDOUT)
        return frame.select("*", held).where(is_in).drop(_IS_HOLDOUT)


def is_latest(*, user: str, item: str, at: str, share: float) -> Column:
    """Whether a row is not among the first floor((1 - ``share``) n) of its user's ``n``, by time, then item.

    The order within one instant is part of the split: one in five MovieLens users has a tie across the cut. A user
    whose floor is 0 is in the holdout only.
    """
    # As written, not as stored: floor((1 - .2) * 5) may be 3 in floating point.
    kept = 1 - Fraction(str(share)).limit_denominator(1_000_000)
    of_user = Window.partitionBy(user)
    rows = F.count("*").over(of_user.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing))
    place = F.row_number().over(of_user.orderBy(at, item).rowsBetween(Window.unboundedPreceding, Window.currentRow))
    return place > F.floor(rows * kept.numerator / kept.denominator)


def latest_of_each_user(frame: DataFrame, *, user: str, item: str, at: str, share: float) -> UserBounds | None:
    """The latest ``share`` of each user's rows as holdout; None where a part would be empty."""
    held = is_latest(user=user, item=item, at=at, share=share).alias(_IS_HOLDOUT)
    found = (
        frame.select(user, item, at, held)
        .agg(
            F.count_if(~F.col(_IS_HOLDOUT)).alias("train"), F.count_if(_IS_HOLDOUT).alias("holdout"),
            F.max(at).alias("until"), _content(user, item, at).alias("content"),
        )
        .collect()[0]
    )  # fmt: skip
    if not (found["train"] and found["holdout"]):
        return None
    return UserBounds(
        user=user, item=item, at=at, holdout_share=share, train_rows=found["train"], holdout_rows=found["holdout"],
        until=found["until"], content=found["content"],
    )  # fmt: skip


def continuing(frame: DataFrame, split: UserBounds, earlier: UserBounds) -> UserBounds:
    """The split, which says that it continues ``earlier`` where ``frame`` holds its ratings and later ones only.

    Later ratings move each user's cut forward, so that what ``earlier`` trained on is trained on again.
    """
    before = frame.where(F.col(earlier.at) <= earlier.until)
    content = before.agg(_content(earlier.user, earlier.item, earlier.at)).collect()[0][0]
    return split.model_copy(update={"continues": earlier.content}) if content == earlier.content else split


def known_to(earlier: UserBounds, split: UserBounds) -> str:
    """Why a model that was trained by ``earlier`` may know ratings of this holdout; empty where it cannot."""
    columns = [(each.user, each.item, each.at) for each in (earlier, split)]
    if columns[0] != columns[1] or earlier.holdout_share < split.holdout_share:
        return "was split in another way"
    is_continued = earlier.content in (split.content, split.continues)
    return "" if is_continued else "was trained on ratings that are not the first ones of this snapshot"


def _content(user: str, item: str, at: str) -> Column:
    """Rows and a sum of their hashes as text, whatever their order."""
    hashes = F.sum(F.xxhash64(user, item, at).cast("decimal(20,0)"))
    return F.concat_ws("/", F.count("*").cast("string"), hashes.cast("string"))
