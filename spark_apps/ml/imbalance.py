"""Remedies for unequal classes: weights, fewer rows, more rows, SMOTE; and the way back to true probabilities.

For training rows only: a thinned or filled-up holdout measures another world. Which rows are taken depends on the text
of ``key`` (a column that identifies a row) and on the seed, never on the Spark partitions. Numbers of rows are exact.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

#: Minority rows that are compared with each other at once: 8 MB of distances in a Python worker.
BLOCK_ROWS = 1000
#: Blocks that a row is compared with. Up to BLOCK_ROWS * MOST_BLOCKS minority rows, that is all of them.
MOST_BLOCKS = 20


def class_counts(frame: DataFrame, label: str) -> dict[Any, int]:
    """Rows by class, for two classes or more; ValueError for rows without one."""
    found = frame.groupBy(F.col(label).alias("class")).agg(F.count("*").alias("n")).collect()
    counts = {row["class"]: int(row["n"]) for row in found}
    if None in counts:
        raise ValueError(f"{counts[None]} rows have no {label}")
    if len(counts) < 2:
        raise ValueError(f"{label} has {len(counts)} classes; 2 or more are required")
    return counts


def weights(frame: DataFrame, *, label: str, into: str = "weight", ratio: float = 1.0) -> DataFrame:
    """The frame with a weight: every class weighs ``ratio`` times the largest or more, all rows together ``rows``."""
    counts = class_counts(frame, label)
    wanted = {each: max(n, ratio * max(counts.values())) for each, n in counts.items()}
    rest = sum(counts.values()) / sum(wanted.values())
    return frame.withColumn(into, _by_class(label, {each: wanted[each] * rest / n for each, n in counts.items()}))


def undersample(frame: DataFrame, *, label: str, key: str, seed: int, ratio: float = 1.0) -> DataFrame:
    """No class keeps more than ``ratio`` (1 or more) times the rows of the smallest; drawn without replacement."""
    if ratio < 1:
        raise ValueError(f"ratio is {ratio}; below 1 the smallest class would lose rows")
    counts = class_counts(frame, label)
    most = round(ratio * min(counts.values()))
    return _thinned(frame, label, {each: most for each, n in counts.items() if n > most}, _draw("under", seed, key))


def oversample(frame: DataFrame, *, label: str, key: str, seed: int, ratio: float = 1.0) -> DataFrame:
    """Every class below ``ratio`` times the rows of the largest is repeated until it has them; copies share a key.

    No row is lost and no row has two copies more than another of its class; drawn are those that have one more.
    """
    counts = class_counts(frame, label)
    wanted, draw, copies = round(ratio * max(counts.values())), _draw("over", seed, key), F.lit(1)
    for each, n in counts.items():
        if n < wanted:
            of_class = F.col(label) == F.lit(each)
            copies = F.when(of_class, _shares(frame.where(of_class), draw, wanted, n)).otherwise(copies)
    return frame.select("*", F.explode(F.array_repeat(F.lit(0), copies)).alias("_copy")).drop("_copy")


def induce(frame: DataFrame, label: str, positive_share: float, seed: int, key: str) -> DataFrame:
    """All rows with label 0, and as many with label 1 as make up ``positive_share``; 1 / 21 is one to twenty."""
    counts = class_counts(frame, label)
    if set(counts) != {0, 1} or not 0 < positive_share < 1:
        raise ValueError(f"classes {sorted(counts)}, share {positive_share}; 0 and 1 and a share between are required")
    kept = round(counts[0] * positive_share / (1 - positive_share))
    if not 0 < kept <= counts[1]:
        raise ValueError(f"a share of {positive_share} needs {kept} positives; there are {counts[1]}")
    return _thinned(frame, label, {1: kept}, _draw("induce", seed, key))


def smote(
    frame: DataFrame,
    *,
    label: str,
    features: str | Sequence[str],
    key: str,
    seed: int,
    k: int = 5,
    ratio: float = 1.0,
) -> DataFrame:
    """The frame and synthetic rows, so that the smallest class has ``ratio`` times the rows of the largest.

    A synthetic row lies on the segment from a row of the class to one of its ``k`` nearest of the class (Chawla et al.,
    JAIR 16, 2002), at one drawn point for all features; each row starts equally many, give or take one. ``features`` is
    a Vector column or numeric columns, which become doubles; scale them before, distances are Euclidean. The other
    columns of synthetic rows are null, the added ``is_synthetic`` tells them apart. Fewer than k + 1 rows have fewer
    neighbours, a single row is a ValueError. Neighbours are exact up to BLOCK_ROWS * MOST_BLOCKS rows of the class;
    above, they are the nearest among a random part of that size, so that the cost grows with the rows, not squared.
    """
    counts = class_counts(frame, label)
    smallest = min(counts, key=lambda each: (counts[each], str(each)))
    have = counts[smallest]
    more = max(0, round(ratio * max(counts.values())) - have)
    if have < 2 or k < 1:
        raise ValueError(f"{have} rows of {label} {smallest!r} and k = {k}; 2 rows and 1 neighbour are required")
    points = frame.where(F.col(label) == F.lit(smallest)).select(_draw("id", 0, key).alias("id"), _array(features))
    _refuse_gaps(points)
    found = points.join(_nearest(points, have, min(k, have - 1)), on="id", how="inner")
    draw = _draw("start", seed, "id")
    started = found.withColumn("copy", F.explode(F.sequence(F.lit(1), F.lit(max(1, math.ceil(more / have))))))
    started = started.where(F.col("copy") <= _shares(points, draw, more, have))
    chosen = 1 + F.floor(_uniform("pick", seed, "id", "copy") * F.size("nearest"))
    segments = started.select(
        "at",
        F.element_at("nearest", chosen.cast("int"))["neighbour_at"].alias("neighbour_at"),
        _uniform("gap", seed, "id", "copy").alias("gap"),
    )
    between = F.zip_with("at", "neighbour_at", lambda a, b: a + F.col("gap") * (b - a))
    return _joined(frame, segments.select(between.alias("at")), {label: F.lit(smallest)}, features)


def corrected(probability: Column, *, trained_share: float, true_share: float) -> Column:
    """The probability of class 1 where its share is ``true_share``, from a model that was trained at another share.

    Odds are scaled by the ratio of the prior odds (Elkan, IJCAI 2001, theorem 2; Saerens et al., Neural Computation 14,
    2002, eq. 4). ``trained_share`` is that of the rows the model saw: 0.5 after ``weights``.
    """
    if not (0 < trained_share < 1 and 0 < true_share < 1):
        raise ValueError(f"shares {trained_share} and {true_share}; between 0 and 1 is required")
    of_positive = probability * (true_share / trained_share)
    return of_positive / (of_positive + (1 - probability) * ((1 - true_share) / (1 - trained_share)))


def _by_class(label: str, values: Mapping[Any, float]) -> Column:
    literals = [F.lit(each) for pair in values.items() for each in pair]
    return F.create_map(*literals)[F.col(label)]


def _draw(purpose: str, seed: int, *columns: str) -> Column:
    """A 64-bit number of the columns' text, unrelated to that of another purpose or seed."""
    return F.xxhash64(F.lit(purpose), F.lit(seed), *[F.col(column).cast("string") for column in columns])


def _uniform(purpose: str, seed: int, *columns: str) -> Column:
    """The same in [0, 1): the upper 53 bits."""
    return F.shiftrightunsigned(_draw(purpose, seed, *columns), 11) / F.lit(float(2**53))


def _among_smallest(frame: DataFrame, draw: Column, n: int) -> Column:
    """True for the ``n`` (1 or more) rows of the frame whose draws are smallest."""
    last = frame.select(draw.alias("draw")).orderBy("draw").offset(n - 1).first()
    if last is None:
        raise ValueError(f"{n} rows were asked for; there are fewer")
    return draw <= F.lit(last["draw"])


def _thinned(frame: DataFrame, label: str, kept: Mapping[Any, int], draw: Column) -> DataFrame:
    thinned = frame
    for each, n in kept.items():
        of_class = F.col(label) == F.lit(each)
        thinned = thinned.where(~of_class | _among_smallest(frame.where(of_class), draw, n))
    return thinned


def _shares(frame: DataFrame, draw: Column, wanted: int, rows: int) -> Column:
    """``wanted`` spread over the frame's ``rows``: equally many for each, one more for those that are drawn."""
    each, rest = divmod(wanted, rows)
    return F.when(_among_smallest(frame, draw, rest), each + 1).otherwise(each) if rest else F.lit(each)


def _array(features: str | Sequence[str]) -> Column:
    if isinstance(features, str):
        return vector_to_array(F.col(features)).alias("at")
    return F.array(*[F.col(each).cast("double") for each in features]).alias("at")


def _refuse_gaps(points: DataFrame) -> None:
    is_whole = F.forall("at", lambda value: value.isNotNull() & ~F.isnan(value))
    gaps = points.where(F.col("at").isNull() | ~is_whole).count()
    if gaps:
        raise ValueError(f"{gaps} rows lack a feature; a point between nothing and something is nowhere")


def _nearest(points: DataFrame, rows: int, k: int) -> DataFrame:
    """``id, nearest``: up to ``k`` structs with ``neighbour_at``, nearest first; ``points`` has ``id, at``."""
    blocks = math.ceil(rows / BLOCK_ROWS)
    steps = F.explode(F.sequence(F.lit(0), F.lit(min(blocks, MOST_BLOCKS) - 1))).alias("step")
    spread = points.select("id", "at", F.pmod("id", F.lit(blocks)).alias("here"), steps)
    ahead, behind = (F.pmod(F.col("here") + sign * F.col("step"), F.lit(blocks)) for sign in (1, -1))
    is_query, is_other = (F.lit(each).alias("is_query") for each in (True, False))
    queries = spread.select("id", "at", F.col("here").alias("block"), ahead.alias("other"), is_query)
    others = spread.select("id", "at", behind.alias("block"), F.col("here").alias("other"), is_other)
    # In numpy, because a distance by Spark's array functions is interpreted element by element. One frame of both, as
    # a cogroup of a frame with itself loses columns in Spark 4.0.4 where few of the result's are asked for.
    pairs = queries.unionAll(others).groupBy("block", "other")
    found = pairs.applyInPandas(_searcher(k), "id bigint, square double, neighbour bigint, neighbour_at array<double>")
    nearest = F.sort_array(F.collect_list(F.struct("square", "neighbour", "neighbour_at")))
    return found.groupBy("id").agg(F.slice(nearest, 1, k).alias("nearest"))


def _searcher(k: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """For two blocks: the ``k`` nearest of the second for each row of the first (``is_query``), itself left out."""

    # Nested, so that a Python worker gets it by value and needs no project.
    def search(pair: pd.DataFrame) -> pd.DataFrame:
        # By id, so that a tie is settled alike wherever the rows come from.
        queries, others = pair[pair["is_query"]], pair[~pair["is_query"]].sort_values("id")
        if queries.empty or others.empty:
            return pd.DataFrame(columns=["id", "square", "neighbour", "neighbour_at"])
        ids, other_ids = queries["id"].to_numpy(), others["id"].to_numpy()
        at, other_at = np.stack(list(queries["at"])), np.stack(list(others["at"]))
        squares = np.zeros((len(ids), len(other_ids)))
        # Column by column: |a|^2 - 2ab + |b|^2 would be quicker and cancels where rows are close.
        for column in range(at.shape[1]):
            squares += (at[:, column, None] - other_at[None, :, column]) ** 2
        squares[ids[:, None] == other_ids[None, :]] = np.inf
        order = np.argsort(squares, axis=1, kind="stable")[:, :k]
        rows, columns = np.repeat(np.arange(len(ids)), order.shape[1]), order.ravel()
        found = pd.DataFrame({"id": ids[rows], "square": squares[rows, columns], "neighbour": other_ids[columns]})
        found["neighbour_at"] = list(other_at[columns])
        finite: pd.DataFrame = found[np.isfinite(found["square"])]
        return finite

    return search


def _joined(
    frame: DataFrame, synthetic: DataFrame, known: Mapping[str, Column], features: str | Sequence[str]
) -> DataFrame:
    """The frame's rows and the synthetic ones (``at``), with the frame's columns and ``is_synthetic``."""
    made: dict[str, Column] = dict(known)
    if isinstance(features, str):
        real = frame
        made[features] = array_to_vector(F.col("at"))
    else:
        real = frame.withColumns({each: F.col(each).cast("double") for each in features})
        made.update({each: F.col("at")[place] for place, each in enumerate(features)})
    columns = [made.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in real.schema.fields]
    is_real, is_made = (F.lit(each).alias("is_synthetic") for each in (False, True))
    return real.select("*", is_real).unionAll(synthetic.select(*columns, is_made))
