"""Rows of one table that are rows of another, but for rounding or a little noise."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

#: Numbers the rows that are looked for.
ROW = "_row"


def near(known: DataFrame, sought: DataFrame, *, columns: Sequence[str], distance: float) -> DataFrame:
    """The rows of ``sought`` that are in a pair, each once."""
    return pairs(known, sought, columns=columns, distance=distance).dropDuplicates([ROW]).select(*sought.columns)


def pairs(
    known: DataFrame, sought: DataFrame, *, columns: Sequence[str], distance: float, bucket_by: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> DataFrame:  # fmt: skip
    """Pairs of a ``sought`` and a ``known`` row of which every column is less than ``distance`` away: the columns of
    ``sought``, ROW (its number) and ``known_<name>`` for each name in ``keep``.

    Exact: rows are compared where the buckets of ``bucket_by`` (width ``distance``) are the same or neighbours. Left
    out, those are the two columns with the most buckets among the known rows, which suits continuous columns of a range
    far wider than the distance. A null is near to nothing.
    """
    chosen = list(bucket_by) or _widest(known, columns, distance)
    others = known.select(
        *[F.col(each).alias(f"_t{place}") for place, each in enumerate(columns)],
        *[_bucket(each, distance).alias(f"_b{place}") for place, each in enumerate(chosen)],
        *[F.col(each).alias(f"known_{each}") for each in keep],
    )
    spread = sought.withColumn(ROW, F.monotonically_increasing_id())
    for place, each in enumerate(chosen):
        bucket = _bucket(each, distance)
        spread = spread.withColumn(f"_near_b{place}", F.explode(F.sequence(bucket - 1, bucket + 1)))
    is_near = [F.col(f"_near_b{place}") == F.col(f"_b{place}") for place in range(len(chosen))]
    is_near += [F.abs(F.col(each) - F.col(f"_t{place}")) < distance for place, each in enumerate(columns)]
    found = spread.join(others, on=is_near, how="inner")
    return found.select(*sought.columns, ROW, *[f"known_{each}" for each in keep])


def _bucket(column: str, width: float) -> Column:
    return F.floor(F.col(column) / width)


def _widest(frame: DataFrame, columns: Sequence[str], width: float) -> list[str]:
    counts = frame.agg(*[F.approx_count_distinct(_bucket(each, width)).alias(each) for each in columns]).collect()[0]
    return sorted(columns, key=lambda each: -counts[each])[:2]
