"""Continue after the checkpoint, or the registry, was lost or damaged: nothing from zero, nothing skipped.

Bronze is written first in every micro-batch, so it knows everything: rows of bronze that are in neither silver nor
quarantine are judged now, source marks are rebuilt from it, and a new checkpoint starts where bronze ends. The old
checkpoint is kept beside the new one. Run it while the stream is stopped; running it again changes nothing.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.datasets import BRONZE_ACCESS_LOG, GOLD_OF_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.schema import Dataset
from contracts.settings import Settings
from expectations.stream import quarantining_rules
from spark_apps.io import locks, stream_records, tables
from spark_apps.io.stream_records import Covered, Registration
from streaming import guard, retention, topics, upkeep
from streaming.aggregate import gold_lock
from streaming.coverage import coverage
from streaming.ingest import create_tables, judge
from streaming.intervals import merged

_KEY = list(BRONZE_ACCESS_LOG.key)
#: Query id under which rebuilt marks are filed; no query of Spark's has it.
_RECOVERED = "recovered"


def parse_args(argv: list[str]) -> Namespace:
    return ArgumentParser(prog="millrace stream recover", description=__doc__, allow_abbrev=False).parse_args(argv)


def main(_args: Namespace, settings: Settings, spark: SparkSession, engine: Engine) -> str:
    topic_id = topics.topic_id(settings.kafka, settings.stream.topic, settings.kafka_login)
    partitions = topics.end_offsets(settings.kafka, settings.stream.topic, settings.kafka_login)
    with upkeep.while_stopped(spark, settings, "Recovering the stream"):
        create_tables(spark, settings)
        bronze = tables.read(spark, BRONZE_ACCESS_LOG, settings.lake)
        kept, refused = fill_gaps(spark, settings, bronze)
        stream_records.replace_marks(engine, _RECOVERED, sys.maxsize, marks(spark, settings, engine, bronze))
        # Gold may cover versions of a silver that is gone: the next step makes it anew.
        with locks.exclusive(spark, gold_lock(settings), "Recovering the stream", wait_s=tables.LOCK_WAIT_S):
            for dataset in GOLD_OF_ACCESS_LOG:
                tables.remove(spark, dataset, settings)
        starts = next_offsets(bronze, topic_id, partitions)
        folder = settings.checkpoints / f"{guard.QUERY_NAME}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        offsets = json.dumps({settings.stream.topic: starts})
        stream_records.register(engine, Registration(guard.QUERY_NAME, str(folder), None, topic_id, -1, offsets))
    return (
        f"recovered: {kept} rows added to silver and {refused} to quarantine from bronze; "
        f"the stream goes on at offsets {starts} with checkpoint {folder}"
    )


def marks(spark: SparkSession, settings: Settings, engine: Engine, bronze: DataFrame) -> Covered:
    """What was covered before: by bronze, and by the old marks as long as the lake has all that they speak of.

    The old ones know lines that bronze's retention has removed. Where they are lost, such a line counts as a new one
    when it is sent again.
    """
    _, covered, _ = coverage(bronze)
    entry = stream_records.registration(engine, guard.QUERY_NAME)
    # Between a recovery and the first micro-batch after it nothing says which lake the old marks belong to.
    if entry is None or entry.query_id is None or not guard.has_all_of(spark, settings, entry):
        return covered
    old = stream_records.covered_before(engine, str(entry.query_id), entry.last_batch + 1)
    return {source: merged(old.get(source, []) + covered.get(source, [])) for source in old | covered}


def fill_gaps(spark: SparkSession, settings: Settings, bronze: DataFrame) -> tuple[int, int]:
    """Judge the rows of bronze that no other layer has; returns how many went to silver and to quarantine.

    What a layer's retention has removed stays removed.
    """
    silver, quarantine = (
        tables.read(spark, dataset, settings.lake).select(*_KEY)
        for dataset in (SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG)
    )
    missing = bronze.where("NOT is_duplicate").join(silver.unionByName(quarantine), _KEY, how="left_anti")
    judged = judge(missing, quarantining_rules(SILVER_ACCESS_LOG.name)).persist()
    try:
        kept = judged.where("reason IS NULL").where(retention.still_kept(SILVER_ACCESS_LOG, settings))
        refused = judged.where("reason IS NOT NULL").where(retention.still_kept(QUARANTINE_ACCESS_LOG, settings))
        counts = kept.count(), refused.count()
        _append(kept, SILVER_ACCESS_LOG, settings, counts[0])
        _append(refused, QUARANTINE_ACCESS_LOG, settings, counts[1])
    finally:
        judged.unpersist()
    return counts


def next_offsets(bronze: DataFrame, topic_id: str, ends: dict[int, int]) -> dict[str, int]:
    """First offset per Kafka partition that bronze does not have; -2 (earliest) where it has none of this topic."""
    of_topic = (
        bronze.where(F.col("topic_id") == topic_id).groupBy("kafka_partition").agg(F.max("kafka_offset").alias("last"))
    )
    found = {row.kafka_partition: row.last + 1 for row in of_topic.collect()}
    return {str(partition): found.get(partition, -2) for partition in sorted(ends)}


def _append(rows: DataFrame, dataset: Dataset, settings: Settings, count: int) -> None:
    if count:
        tables.append(rows.select(*dataset.column_names), dataset, settings)


if __name__ == "__main__":
    sys.exit(upkeep.execute("recover", parse_args(sys.argv[1:]), main))
