"""Draws class by class, so that every part has each class in the share that all rows have it."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

CLASSES = (0, 1)
#: Below the least draw: nothing of a class lies there.
_NOTHING = -(2**63)

#: Rows, or a draw, of class 0 and of class 1.
OfBoth = tuple[int, int]


class StratifiedBounds(BaseModel):
    """The draws at which rows of class 0, and of class 1, are parted, and the rows of the two parts.

    A draw is a number made of the columns ``by`` and the seed. Where the cuts lie follows from the rows there were, so
    that the parts have exact shares of each class; a row's side follows from its draw, its class and the stored cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    by: tuple[str, ...]
    seed: int
    #: Least draw that is trained on; draws that are judged on are smaller than ``holdout_below``, which is never above.
    train_from: OfBoth
    holdout_below: OfBoth
    train_rows: int
    holdout_rows: int

    def train(self, frame: DataFrame) -> DataFrame:
        """Rows of no class come along, for `training.refuse_one_class` to find."""
        return frame.where(F.coalesce(self._draw >= _of_class(self.label, self.train_from), F.lit(True)))  # noqa: FBT003 - a literal of Spark

    def holdout(self, frame: DataFrame) -> DataFrame:
        return frame.where(self._draw < _of_class(self.label, self.holdout_below))

    @property
    def _draw(self) -> Column:
        return draw("holdout", self.seed, self.by)


def drawn(frame: DataFrame, *, label: str, by: tuple[str, ...], share: float, seed: int) -> StratifiedBounds:
    """``share`` of the rows of each class are the holdout, rounded; of two rows and more, one at least on each side."""
    rows, counts = frame.count(), class_counts(frame, label)
    exact = Fraction(str(share)).limit_denominator(1_000_000)
    [cut] = cuts(frame, draw("holdout", seed, by), label=label, counts=counts, shares=[exact])
    held = sum(rows_below(n, exact) for n in counts)
    return StratifiedBounds(
        label=label, by=by, seed=seed, train_from=cut, holdout_below=cut, train_rows=rows - held, holdout_rows=held
    )


def known_to(champion: StratifiedBounds, split: StratifiedBounds) -> str:
    """Why a model that was trained by ``champion`` may know rows of this holdout; empty where it cannot.

    It knows draws from ``train_from`` on, whatever rows were added since. A row whose label was corrected in between
    may have changed sides, where its draw lies between the cuts of the two classes.
    """
    if not _draw_alike(champion, split):
        return "was drawn in another way"
    late = [c for c in CLASSES if split.holdout_below[c] > champion.train_from[c]]
    return f"was trained on rows of the holdout with {split.label} {' and '.join(map(str, late))}" if late else ""


def unseen_by_both(
    frame: DataFrame, split: StratifiedBounds, champion: StratifiedBounds, *, min_rows: int
) -> StratifiedBounds:
    """The split with the rows of its holdout that ``champion`` did not train on, where both classes remain.

    Rows that were added move the cuts a little, so that about every other later holdout has a few rows too many.
    """
    if not _draw_alike(champion, split) or not known_to(champion, split):
        return split
    below = tuple(map(min, split.holdout_below, champion.train_from))
    narrowed = split.model_copy(update={"holdout_below": below})
    counts = class_counts(narrowed.holdout(frame), split.label)
    if min(counts) == 0 or sum(counts) < min_rows:
        return split
    return narrowed.model_copy(update={"holdout_rows": sum(counts)})


def draw(purpose: str, seed: int, by: Sequence[str]) -> Column:
    """A 64-bit number of these columns, unrelated to that of another purpose or seed."""
    return F.xxhash64(F.lit(purpose), F.lit(seed), *by)


def class_counts(frame: DataFrame, label: str) -> OfBoth:
    """Rows of class 0 and of class 1."""
    zeros, ones = frame.agg(*[F.count_if(F.col(label) == each) for each in CLASSES]).collect()[0]
    return zeros, ones


def cuts(frame: DataFrame, draw: Column, *, label: str, counts: OfBoth, shares: Sequence[Fraction]) -> list[OfBoth]:
    """For each share the draws of both classes below which that much of the class lies; they rise with the share.

    ``counts`` are the `class_counts` of ``frame``. One pass over it; what comes back is a row for each class and share.
    """
    up_to_here = Window.partitionBy("class").orderBy("draw").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    of_class = frame.where(F.col(label).isin(*CLASSES)).select(F.col(label).alias("class"), draw.alias("draw"))
    ranked = of_class.select("*", F.row_number().over(up_to_here).alias("place"))
    # The first row that does not lie below.
    places = [[rows_below(n, share) + 1 for share in shares] for n in counts]
    is_wanted = [(F.col("class") == each) & F.col("place").isin(*places[each]) for each in CLASSES]
    found = {(row["class"], row["place"]): row["draw"] for row in ranked.where(is_wanted[0] | is_wanted[1]).collect()}
    return [(found.get((0, zero), _NOTHING), found.get((1, one), _NOTHING)) for zero, one in zip(*places, strict=True)]


def rows_below(rows: int, share: Fraction) -> int:
    """That share of the rows, a half rounded up; neither none nor all of them where there are two or more."""
    return max(0, min(max(1, floor(rows * share + Fraction(1, 2))), rows - 1))


def part(draw: Column, *, label: str, between: Sequence[OfBoth]) -> Column:
    """Number of the part that a row is in, from 0: how many of the cuts its draw has passed."""
    passed = [(draw >= _of_class(label, cut)).cast("int") for cut in between]
    return sum(passed[1:], start=passed[0])


def _draw_alike(a: StratifiedBounds, b: StratifiedBounds) -> bool:
    return (a.label, a.by, a.seed) == (b.label, b.by, b.seed)


def _of_class(label: str, values: OfBoth) -> Column:
    """Null for a row of neither class."""
    return F.when(F.col(label) == CLASSES[0], F.lit(values[0])).when(F.col(label) == CLASSES[1], F.lit(values[1]))
