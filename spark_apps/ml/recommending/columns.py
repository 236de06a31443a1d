"""Columns of ratings, pairs and lists as this package calls them; users and items are integers of 32 bits."""

from typing import cast

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.features import Ratings

USER = "user_id"
ITEM = "item_id"
RATING = "rating"
#: Place in a user's list, from 1.
RANK = "rank"


def asked_of(spec: PipelineSpec) -> Ratings:
    """What the spec says about ratings; it has seen to it that task recommendation has them."""
    return cast("Ratings", spec.features)


def as_ratings(frame: DataFrame, spec: PipelineSpec) -> DataFrame:
    """The three columns of a rating under the names used here."""
    asked = asked_of(spec)
    return frame.select(
        F.col(asked.user).alias(USER), F.col(asked.item).alias(ITEM), F.col(spec.label).cast("double").alias(RATING)
    )
