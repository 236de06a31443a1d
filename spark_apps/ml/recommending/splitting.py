"""Which ratings a recommender is fitted on and which it is judged on: the latest of each user are the holdout."""

from dataclasses import dataclass
from fractions import Fraction

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from spark_apps.ml.recommending.columns import ITEM, RATED_AT, RATING, USER

_IS_HOLDOUT = "is_holdout"


@dataclass(frozen=True)
class Parts:
    """Ratings cut in two; together they are all that there were."""

    train: DataFrame
    holdout: DataFrame


def latest_of_each_user(ratings: DataFrame, *, train_share: float) -> Parts:
    """Sort each user's rows by time, then item, ascending: the first floor(``train_share`` n) are train.

    The order within one instant is part of the protocol: one in five MovieLens users has a tie across the cut. A user
    whose floor is 0 is in the holdout only. The parts are not kept: each read sorts again.
    """
    if not 0 < train_share < 1:
        raise ValueError(f"train_share is {train_share}; a share between 0 and 1 cuts ratings in two")
    # As written, not as stored: floor(.29 * 100) is 28 in floating point.
    share = Fraction(str(train_share))
    of_user = Window.partitionBy(USER)
    all_rows = F.count("*").over(of_user.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing))
    in_order = of_user.orderBy(RATED_AT, ITEM, RATING)
    place = F.row_number().over(in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    is_holdout = place > F.floor(all_rows * share.numerator / share.denominator)
    placed = ratings.select(*ratings.columns, is_holdout.alias(_IS_HOLDOUT))
    return Parts(placed.where(~F.col(_IS_HOLDOUT)).drop(_IS_HOLDOUT), placed.where(_IS_HOLDOUT).drop(_IS_HOLDOUT))
