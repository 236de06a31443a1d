"""Columns of ratings, pairs and lists as this package calls them; users and items are integers of 32 bits."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

USER = "user_id"
ITEM = "item_id"
RATING = "rating"
RATED_AT = "rated_at_s"
PREDICTION = "prediction"
#: Place in a user's list, from 1.
RANK = "rank"


def as_ratings(
    frame: DataFrame, *, item: str, user: str = USER, rating: str = RATING, rated_at: str = RATED_AT
) -> DataFrame:
    """The four columns of a rating under the names used here; a user rates an item once."""
    names = {user: USER, item: ITEM, rating: RATING, rated_at: RATED_AT}
    return frame.select(*(F.col(theirs).alias(ours) for theirs, ours in names.items()))
