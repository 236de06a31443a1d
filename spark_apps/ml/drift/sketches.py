"""Counts of a frame by bin, in one pass over it. Counts of parts add up to those of the whole, in any order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from spark_apps.ml.drift.bins import Bins, CategoryBins, Counts, Plan

#: Value of ``by`` (None without one) and number of the block since 1970 (0 without blocks).
Key = tuple[str | None, int]

_GROUP, _BLOCK = "_group", "_block"
#: Of rows that hold counts.
SCHEMA = f"{_GROUP} string, {_BLOCK} bigint, counts binary"
#: Shorter runs of one group and block than this on average: sorting the batch is quicker than looking at each.
_SHORT_RUN = 64


@dataclass(frozen=True)
class Sketch:
    """Counts by group and block, each a vector over the bins of all columns of ``plan``."""

    plan: Plan
    counts: dict[Key, Counts]

    def __add__(self, other: "Sketch") -> "Sketch":
        """Of both together; ValueError where they were counted by another plan."""
        if self.plan != other.plan:
            raise ValueError("counts of different bins cannot be added")
        return Sketch(self.plan, _summed([*self.counts.items(), *other.counts.items()], self.plan))

    @property
    def groups(self) -> list[str | None]:
        return sorted({group for group, _ in self.counts}, key=str)

    def of(self, column: str, group: str | None = None) -> Counts:
        """Blocks of this group in their order x bins of the column; a group without rows has no blocks."""
        keys = sorted(key for key in self.counts if key[0] == group)
        rows = np.array([self.counts[key] for key in keys], dtype=np.int64).reshape(len(keys), self.plan.size)
        return self.plan.part(rows, column)


def count(frame: DataFrame, plan: Plan) -> Sketch:
    """Count all rows of ``frame``, which has the plan's columns. One vector for each group, block and Spark partition
    comes to the driver, however many rows there are.
    """
    return added(counted(frame, plan).collect(), plan)


def counted(frame: DataFrame, plan: Plan) -> DataFrame:
    """Rows of group, block and counts, which add up; ``frame`` may be a stream."""

    def tally(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield tallied(batches, plan)

    return frame.select(*_keys(plan), *[f"`{each.column}`" for each in plan.columns]).mapInArrow(tally, SCHEMA)


def added(rows: Iterable[Row], plan: Plan) -> Sketch:
    """The sum of rows that ``counted`` made."""
    found = [((row[_GROUP], row[_BLOCK]), np.frombuffer(row["counts"], dtype=np.int64)) for row in rows]
    return Sketch(plan, _summed(found, plan))


def _keys(plan: Plan) -> list[Column]:
    group = [F.col(plan.by).cast("string").alias(_GROUP)] if plan.by else []
    if plan.ordered_by is None or plan.block_s is None:
        return group
    return [*group, F.floor(F.unix_seconds(F.col(plan.ordered_by)) / plan.block_s).alias(_BLOCK)]


def with_keys(batch: pa.RecordBatch, plan: Plan) -> pa.RecordBatch:
    """A batch as it lies in a Parquet file, with group and block as ``counted`` would name them."""
    names, columns = [each.column for each in plan.columns], [batch.column(each.column) for each in plan.columns]
    if plan.by:
        names, columns = [_GROUP, *names], [pc.cast(batch.column(plan.by), pa.string()), *columns]
    if plan.ordered_by and plan.block_s:
        micros = pc.cast(pc.cast(batch.column(plan.ordered_by), pa.timestamp("us")), pa.int64())
        blocks = pa.array(np.floor_divide(micros.to_numpy(zero_copy_only=False), plan.block_s * 1_000_000))
        names, columns = [_BLOCK, *names], [blocks, *columns]
    return pa.RecordBatch.from_arrays(columns, names)


def _summed(found: Iterable[tuple[Key, Counts]], plan: Plan) -> dict[Key, Counts]:
    total: dict[Key, Counts] = defaultdict(lambda: np.zeros(plan.size, dtype=np.int64))
    for key, counts in found:
        total[key] = total[key] + counts
    return dict(total)


def tallied(batches: Iterable[pa.RecordBatch], plan: Plan) -> pa.RecordBatch:
    """Batches with keys -> one batch of ``SCHEMA``."""
    counts = _summed(((key, _tally(rows, plan)) for batch in batches for key, rows in _apart(batch)), plan)
    groups = pa.array([group for group, _ in counts], pa.string())
    blocks = pa.array([block for _, block in counts], pa.int64())
    packed = pa.array([vector.tobytes() for vector in counts.values()], pa.binary())
    return pa.RecordBatch.from_arrays([groups, blocks, packed], [_GROUP, _BLOCK, "counts"])


def _apart(batch: pa.RecordBatch) -> Iterator[tuple[Key, pa.RecordBatch]]:
    """The batch in runs of one group and one block."""
    keys = [name for name in (_GROUP, _BLOCK) if name in batch.schema.names]
    if not keys or not batch.num_rows:
        yield (None, 0), batch
        return
    codes = [_codes(batch.column(name)) for name in keys]
    if _n_runs(codes) * _SHORT_RUN > batch.num_rows:
        order = np.lexsort(codes[::-1])
        batch, codes = batch.take(pa.array(order)), [code[order] for code in codes]
    starts = np.flatnonzero(_changes(codes)) + 1
    for start, end in zip([0, *starts], [*starts, batch.num_rows], strict=True):
        run = batch.slice(start, end - start)
        group = run.column(_GROUP)[0].as_py() if _GROUP in keys else None
        yield (group, run.column(_BLOCK)[0].as_py() if _BLOCK in keys else 0), run


def _codes(column: pa.Array) -> NDArray[np.int64]:
    found: NDArray[np.int64] = column.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return found


def _changes(codes: list[NDArray[np.int64]]) -> NDArray[np.bool_]:
    changes: NDArray[np.bool_] = np.any([code[1:] != code[:-1] for code in codes], axis=0)
    return changes


def _n_runs(codes: list[NDArray[np.int64]]) -> int:
    return int(np.count_nonzero(_changes(codes))) + 1


def _tally(rows: pa.RecordBatch, plan: Plan) -> Counts:
    return np.concatenate([_in_bins(rows.column(each.column), each) for each in plan.columns])


def _in_bins(column: pa.Array, bins: Bins) -> Counts:
    if isinstance(bins, CategoryBins):
        return _by_category(column, bins)
    known = column.drop_null() if column.null_count else column
    # Sorting and looking up the edges takes a third of the time of looking up each value.
    values = np.sort(pc.cast(known, pa.float64()).to_numpy(zero_copy_only=False))
    n_numbers = int(np.searchsorted(values, np.nan))
    below = np.searchsorted(values[:n_numbers], np.asarray(bins.edges))
    counts = np.diff(below, prepend=0, append=n_numbers)
    return np.append(counts, len(column) - n_numbers)


def _by_category(column: pa.Array, bins: CategoryBins) -> Counts:
    texts = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
    at = pc.index_in(texts, value_set=pa.array(bins.values, pa.string()))
    n_known = len(bins.values)
    counts = np.bincount(at.drop_null().to_numpy(), minlength=n_known)
    n_others = len(column) - column.null_count - int(counts.sum())
    return np.append(counts, [n_others, column.null_count])
