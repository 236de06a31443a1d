"""Does a feature know the future? Found out by changing the future and looking whether the past changes."""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def columns_looking_ahead(
    rows: DataFrame, make: Callable[[DataFrame], DataFrame], *, occurred: str, key: str, columns: list[str], at: Column
) -> list[str]:
    """Names of the feature columns that change for some ``key`` <= ``at`` when only rows from ``at`` on change.

    Every row with ``occurred`` >= ``at`` is counted three times; a feature of ``at`` or earlier must not notice.
    ``make`` builds the features from rows; ``key`` identifies a row of its result and is its instant. ``at`` is a
    timestamp.
    """
    later = rows.where(F.col(occurred) >= at)
    disturbed = make(rows.unionAll(later).unionAll(later)).where(F.col(key) <= at)
    undisturbed = make(rows).where(F.col(key) <= at)
    # A full join, so that a row that appears or disappears is a difference too.
    pairs = undisturbed.alias("a").join(disturbed.alias("b"), on=F.col(f"a.{key}") == F.col(f"b.{key}"), how="full")
    differs = [F.max(~F.col(f"a.{c}").eqNullSafe(F.col(f"b.{c}"))).alias(c) for c in columns]
    found = pairs.agg(*differs).collect()[0]
    return [column for column in columns if found[column]]
