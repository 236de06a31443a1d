"""One piece of work of the scaling study, as a Spark application: `benchmarks/scaling.py` submits it.

Each is done once to compile and then timed; what is printed to ``--out`` are seconds and what proves that it was right.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.landed_files import HIGGS_FEATURES
from contracts.settings import load_settings
from spark_apps.io import session
from spark_apps.transforms import access_log, access_log_gold

#: Rows of the largest side of a join, and how many of them have one key.
FACTS, SKEWED_SHARE = 3_000_000, 0.6
KEYS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=tuple(WORK))
    parser.add_argument("--input", type=Path)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    spark = session.start(load_settings())
    args.out.write_text(json.dumps(WORK[args.work](spark, args)))
    spark.stop()


def parse(spark: SparkSession, args: argparse.Namespace) -> dict[str, Any]:
    """Parse log lines and make gold's minutes of them: a wide projection, then a shuffle."""
    lines = spark.read.text(str(args.input)).selectExpr("cast(value as binary) line", "current_timestamp() kafka_at")

    def run() -> int:
        # Planned anew: Spark would read the shuffle files of the same frame again, and parse nothing.
        minutes = access_log_gold.minutes(access_log.parse(lines).where("reason IS NULL"))
        return sum(row["requests"] for row in minutes.collect())

    return _timed(spark, args.repeats, run)


def train(spark: SparkSession, args: argparse.Namespace) -> dict[str, Any]:
    """A random forest of rows in memory: passes over all rows with a reduction behind each."""
    rows = spark.read.parquet(str(args.input)).repartition(4).cache()
    data = VectorAssembler(inputCols=list(HIGGS_FEATURES), outputCol="features").transform(rows)
    n_rows = rows.count()
    forest = RandomForestClassifier(labelCol="label", numTrees=20, maxDepth=8, maxBins=64, seed=42)
    return _timed(spark, args.repeats, lambda: forest.fit(data).getNumTrees) | {"rows": n_rows}


def spill(spark: SparkSession, args: argparse.Namespace) -> dict[str, Any]:
    """Sort more than fits into the memory of the executor, and look whether what comes out is sorted and complete."""
    rows = spark.range(args.rows).select(
        F.xxhash64("id").alias("key"), F.repeat(F.sha2(F.col("id").cast("string"), 256), 2).alias("load")
    )
    found: list[Any] = []

    def run() -> int:
        ordered = rows.orderBy("key").mapInPandas(_looked_at, "low bigint, high bigint, rows bigint, load bigint")
        found[:] = sorted(ordered.collect())
        return sum(row["rows"] for row in found)

    told = _timed(spark, args.repeats, run)
    in_order = all(one["high"] <= other["low"] for one, other in pairwise(found))
    return told | {"in_order": in_order, "data_mib": sum(row["load"] + 8 * row["rows"] for row in found) / 2**20}


def _looked_at(batches: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
    """Ends, rows and bytes of one Spark partition; a ValueError where a key is smaller than the one before."""
    low = high = None
    rows = load = 0
    for batch in batches:
        keys = batch["key"]
        if not keys.is_monotonic_increasing or (high is not None and high > keys.iloc[0]):
            raise ValueError("what was sorted is not in order")
        low, high = keys.iloc[0] if low is None else low, keys.iloc[-1]
        rows, load = rows + len(keys), load + int(batch["load"].str.len().sum())
    if rows:
        yield pd.DataFrame({"low": [low], "high": [high], "rows": [rows], "load": [load]})


def skew(spark: SparkSession, args: argparse.Namespace) -> dict[str, Any]:
    """Join facts of which most have one key."""
    key = F.when(F.rand(1) < SKEWED_SHARE, 0).otherwise((F.rand(2) * KEYS).cast("int"))
    facts = spark.range(FACTS).select(key.alias("key"), F.sha2(F.col("id").cast("string"), 256).alias("load"))
    names = spark.range(KEYS).select(F.col("id").cast("int").alias("key"), F.sha2(F.lit("n"), 256).alias("name"))
    joined = facts.join(names, on="key", how="inner")
    return _timed(spark, args.repeats, lambda: joined.where("length(load) + length(name) > 0").count())


def broadcast(spark: SparkSession, args: argparse.Namespace) -> dict[str, Any]:
    """Join facts with ``rows`` names that are sent to every executor, or, where they are too many, fail."""
    names = _names(spark, args.rows)
    return _joined(spark, args, F.broadcast(names))


def shuffled(spark: SparkSession, args: argparse.Namespace) -> dict[str, Any]:
    """The same join by sorting both sides."""
    return _joined(spark, args, _names(spark, args.rows).hint("merge"))


def _joined(spark: SparkSession, args: argparse.Namespace, names: DataFrame) -> dict[str, Any]:
    facts = spark.range(FACTS).select((F.col("id") % args.rows).alias("key"), F.col("id").alias("load"))
    joined = facts.join(names, on="key", how="inner")
    return _timed(spark, args.repeats, lambda: joined.where("length(name) > 0").count())


def _names(spark: SparkSession, rows: int) -> DataFrame:
    return spark.range(rows).select(F.col("id").alias("key"), F.sha2(F.col("id").cast("string"), 256).alias("name"))


def _timed(spark: SparkSession, repeats: int, work: Callable[[], int]) -> dict[str, Any]:
    """Wall seconds of each repeat after the first, which are job groups by number in the event log."""
    seconds, answer = [], 0
    for repeat in range(repeats + 1):
        spark.sparkContext.setJobGroup(f"repeat {repeat}" if repeat else "warm-up", "")
        began = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds[1:], "first_s": seconds[0], "answer": answer}


WORK: dict[str, Callable[[SparkSession, argparse.Namespace], dict[str, Any]]] = {
    "parse": parse, "train": train, "spill": spill, "skew": skew, "broadcast": broadcast, "shuffled": shuffled,
}  # fmt: skip

if __name__ == "__main__":
    main()
