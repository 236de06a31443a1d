"""Counts of a stored training snapshot by bin, read as the columns that its files hold."""

import gc
from collections.abc import Iterable, Iterator
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from contracts.settings import Settings
from spark_apps.io import snapshots
from spark_apps.io.snapshots import Snapshot
from spark_apps.ml.drift import sketches
from spark_apps.ml.drift.bins import Plan
from spark_apps.ml.drift.sketches import Sketch

#: Columns of so many rows are sorted within a core's own cache.
_BATCH_ROWS = 16_384


def of_snapshot(spark: SparkSession, snapshot: Snapshot, plan: Plan, settings: Settings) -> Sketch:
    """Count all rows of the snapshot, after its files were compared with their checksums.

    Spark's tasks read the Parquet files as columns: through rows a cell costs several times as much
    (`make bench-drift PARTS=speed`).
    """
    return count_files(spark, snapshots.files(snapshot, settings), plan)


def count_files(spark: SparkSession, paths: list[str], plan: Plan) -> Sketch:
    """Count all rows of Parquet files that every executor can read."""
    parts = [(path, group) for path in paths for group in range(pq.ParquetFile(path).num_row_groups)]
    if not parts:
        return Sketch(plan, {})
    wanted = [each.column for each in plan.columns] + [name for name in (plan.by, plan.ordered_by) if name]

    def tally(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        _spare_the_collector()
        mine = [parts[number] for batch in batches for number in batch.column(0).to_pylist()]
        yield sketches.tallied(_read(mine, sorted(set(wanted)), plan), plan)

    frame = spark.range(0, len(parts), 1, len(parts))
    return sketches.added(frame.mapInArrow(tally, sketches.SCHEMA).collect(), plan)


@cache
def _spare_the_collector() -> None:
    """Once in a Python worker. Spark has it collect garbage after every task, and all that was imported is looked
    through each time: a third of what a small task costs.
    """
    gc.freeze()


def _read(parts: list[tuple[str, int]], columns: list[str], plan: Plan) -> Iterator[pa.RecordBatch]:
    for path, row_group in parts:
        file = pq.ParquetFile(path)
        found = file.iter_batches(_BATCH_ROWS, row_groups=[row_group], columns=columns, use_threads=False)
        yield from (sketches.with_keys(rows, plan) for rows in found)
