"""What each user likes more, and less, than the rest of what he rates, by genre."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contracts.pipelines.features import GenreTastes

#: Deviations that sum to less are rounding: the user gives every item the same rating.
_NOTHING = 1e-9


def features(ratings: DataFrame, items: DataFrame, asked: GenreTastes) -> DataFrame:
    """One row for each user with ``min_ratings``: the user and a number from -1 to 1 for each genre in ``asked.of``.

    It is the sum of rating less user's mean over the genre's items, divided by the sum of all the user's such
    deviations without sign. An item of m genres gives each 1/m; one that ``items`` does not know counts in the mean
    only, and a user whose ratings are all the same has zeros.
    """
    genres = F.array_distinct(F.split(asked.genres, r"\|")).alias("genres")
    of_user = Window.partitionBy(asked.user).rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    deviation = (F.col(asked.rating) - F.avg(asked.rating).over(of_user)).alias("deviation")
    rows = ratings.select(asked.user, asked.item, deviation).join(
        items.select(asked.item, genres), on=asked.item, how="left"
    )
    every = F.sum(F.abs("deviation"))
    share = F.col("deviation") / F.size("genres")
    likes = (
        F.sum(F.when(F.array_contains("genres", genre), share).otherwise(0.0)).alias(column)
        for genre, column in zip(asked.of, asked.numeric, strict=True)
    )
    sums = rows.groupBy(asked.user).agg(F.count("*").alias("ratings"), every.alias("every"), *likes)
    known = sums.where(F.col("ratings") >= asked.min_ratings)
    return known.select(
        asked.user,
        *[F.when(F.col("every") > _NOTHING, F.col(c) / F.col("every")).otherwise(0.0).alias(c) for c in asked.numeric],
    )
