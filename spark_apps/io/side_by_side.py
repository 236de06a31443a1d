"""Work at the same time on parts of the rows that stay where they are, with the seconds that it took."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

_T = TypeVar("_T")


@contextmanager
def kept_apart(
    spark: SparkSession, rows: DataFrame, column: str, values: tuple[str, ...]
) -> Iterator[dict[str, DataFrame]]:
    """The rows of each value as one Spark partition in the memory of one executor, and on different ones if it can be.

    All are loaded at once, so that free executors take one each; later tasks go where their rows are.
    """
    parts = {value: rows.where(F.col(column) == value).coalesce(1).cache() for value in values}
    try:
        at_once(spark, {name: part.count for name, part in parts.items()}, group="load")
        yield parts
    finally:
        for part in parts.values():
            part.unpersist()


def at_once(spark: SparkSession, work: Mapping[str, Callable[[], _T]], *, group: str) -> tuple[dict[str, _T], float]:
    """What each piece of work returned, and the seconds until the last was done; the first error is raised.

    Each is a job group ``<group>/<name>``, by which Spark's event log tells their tasks apart.
    """

    def run(name: str) -> _T:
        spark.sparkContext.setJobGroup(f"{group}/{name}", f"{group}: {name}")
        return work[name]()

    began = time.perf_counter()
    with ThreadPoolExecutor(len(work)) as pool:
        futures = {name: pool.submit(run, name) for name in work}
        found = {name: future.result() for name, future in futures.items()}
    return found, time.perf_counter() - began
