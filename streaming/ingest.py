"""Kafka to bronze, silver and quarantine: the body of one micro-batch.

Idempotent by batch id: every commit says which micro-batch it is (query id, batch id), the first micro-batch of a
driver asks the tables what they have of it, duplicates are judged by the marks of *earlier* micro-batches alone, and
the batch's own marks are written last. A crash between any two commits repeats the same decisions.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.datasets import BRONZE_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.errors import ReconciliationError
from contracts.schema import Dataset
from contracts.settings import Settings
from spark_apps.io import locks, stream_records, tables
from spark_apps.io.stream_records import BatchCounts, Covered, Registration
from spark_apps.transforms import access_log, pseudonyms
from streaming.coverage import coverage, mark_duplicates
from streaming.intervals import merged, overlap
from streaming.turnstile import Turnstile

log = logging.getLogger("millrace")

_KEY = list(BRONZE_ACCESS_LOG.key)
#: Marks of earlier micro-batches are folded into one per source at every start and this often, in micro-batches.
_FOLD_EVERY = 500
#: This often Delta keeps the number of a micro-batch beyond its log's retention.
_CHECK_EVERY = 500
#: What a source identity of the replayer looks like (streaming/replay_identity.py), and the longest file it numbers.
_SOURCE = r"^[\w.:-]{1,200}$"
_LARGEST_FILE = 2**60


@dataclass
class Ingest:
    """State of the ingest query: who it is, what earlier micro-batches covered, whom to tell after each."""

    settings: Settings
    engine: Engine
    entry: Registration
    topic_id: str
    current_topic_id: Callable[[], str]
    violations: Column | None
    on_batch: Callable[[int, BatchCounts], None]
    covered: Covered = field(default_factory=dict)
    #: The first micro-batch after a start may be half written already.
    may_be_half_done: bool = True
    #: What stopped the query in a micro-batch, for whoever has to explain it.
    failure: Exception | None = None
    turnstile: Turnstile = field(default_factory=Turnstile)

    def run(self, batch: DataFrame, batch_id: int) -> None:
        """``foreachBatch`` body: ``batch`` has the columns of Kafka's source with headers."""
        spark = batch.sparkSession
        with locks.exclusive(spark, batch_lock(self.settings), "Writing a micro-batch", wait_s=tables.LOCK_WAIT_S):
            self._check_topic()
            if self.may_be_half_done:
                self.covered = self._covered_before(batch_id)
            lines = records(batch, self.topic_id, self._pseudonym_key).persist(StorageLevel.MEMORY_AND_DISK)
            try:
                counts, fresh = self._write(lines, batch_id)
            finally:
                lines.unpersist()
            self.entry = replace(self.entry, topic_id=self.topic_id, last_batch=batch_id)
            stream_records.finish_batch(self.engine, self.entry, counts, fresh)
            for source, parts in fresh.items():
                self.covered[source] = merged(self.covered.get(source, []) + parts)
            if self.may_be_half_done or batch_id % _FOLD_EVERY == 0:
                self._fold_marks(batch_id)
            self.may_be_half_done = False
        self.on_batch(batch_id, counts)

    def _fold_marks(self, batch_id: int) -> None:
        """One mark per source for all earlier micro-batches; this one may be repeated, so its own stay apart."""
        stream_records.replace_marks(self.engine, self._query_id, batch_id - 1, self._covered_before(batch_id))

    def _covered_before(self, batch_id: int) -> Covered:
        marks = stream_records.covered_before(self.engine, self._query_id, batch_id)
        # The database gives them in any order, and `overlap` misses what is not sorted.
        return {source: merged(parts) for source, parts in marks.items()}

    @property
    def _query_id(self) -> str:
        if self.entry.query_id is None:
            raise RuntimeError("the query is registered before its first micro-batch")
        return self.entry.query_id

    @property
    def _pseudonym_key(self) -> bytes | None:
        key = self.settings.stream.pseudonym_key
        return key.get_secret_value().encode() if key else None

    def _check_topic(self) -> None:
        found = self.current_topic_id()
        if found != self.topic_id:
            raise topic_was_recreated(self.settings.stream.topic, self.topic_id, found)

    def _write(self, lines: DataFrame, batch_id: int) -> tuple[BatchCounts, Covered]:
        total, in_batch, repeats = coverage(lines)
        known = {s: shared for s, parts in in_batch.items() if (shared := overlap(parts, self.covered.get(s, [])))}
        bronze = mark_duplicates(lines, known, repeats=repeats)
        if not self._append(bronze, BRONZE_ACCESS_LOG, batch_id):
            # Whatever was erased since an earlier try of this micro-batch does not come back.
            bronze = bronze.join(self._stored(BRONZE_ACCESS_LOG, lines), _KEY, how="left_semi")
            total = bronze.count()
        elif total == 0:
            self._note(lines.sparkSession, BRONZE_ACCESS_LOG, batch_id)
        duplicates = bronze.where("is_duplicate").count() if known or repeats else 0
        # Also when nothing is new: a start compares the micro-batch that silver is at with the registry's.
        ok, refused = self._write_judged(bronze.where("NOT is_duplicate"), batch_id)
        counts = BatchCounts(bronze=total, silver=ok, quarantine=refused, duplicates=duplicates)
        _check_sum(counts, batch_id)
        return counts, in_batch

    def _write_judged(self, lines: DataFrame, batch_id: int) -> tuple[int, int]:
        """Rows that silver and quarantine got, counted in the pass that writes silver."""
        judged = judge(lines, self.violations)
        seen = Observation()
        observed = judged.observe(
            seen, F.count_if(F.col("reason").isNull()).alias("ok"), F.count("reason").alias("refused")
        )
        kept = observed.where("reason IS NULL").select(*SILVER_ACCESS_LOG.column_names)
        if not self._append(kept, SILVER_ACCESS_LOG, batch_id):
            return self._write_the_rest(lines)
        ok, refused = int(seen.get["ok"]), int(seen.get["refused"])
        if ok == 0:
            self._note(lines.sparkSession, SILVER_ACCESS_LOG, batch_id)
        if refused:
            rows = judged.where("reason IS NOT NULL")
            self._append(rows.select(*QUARANTINE_ACCESS_LOG.column_names), QUARANTINE_ACCESS_LOG, batch_id)
        return ok, refused

    def _write_the_rest(self, lines: DataFrame) -> tuple[int, int]:
        """What an earlier try of this micro-batch left out after it had written silver; the rows that both have then.

        Parser or rules may have changed in between, or a command has moved rows: only lines that neither table has are
        judged, so that running it again changes nothing.
        """
        silver, quarantine = SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG
        stored = self._stored(silver, lines).unionByName(self._stored(quarantine, lines))
        # Not lazily: what is appended first would change what the second append reads.
        rest = judge(lines.join(stored, _KEY, how="left_anti"), self.violations).localCheckpoint()
        for dataset, condition in ((silver, "reason IS NULL"), (quarantine, "reason IS NOT NULL")):
            rows = rest.where(condition).select(*dataset.column_names)
            if not rows.isEmpty():
                tables.append(rows, dataset, self.settings)
        ok, refused = (lines.join(self._stored(d, lines), _KEY, how="left_semi").count() for d in (silver, quarantine))
        return ok, refused

    def _stored(self, dataset: Dataset, lines: DataFrame) -> DataFrame:
        """Keys of the table's rows that lie in the range of these lines."""
        ends = lines.agg(F.min("kafka_offset").alias("first"), F.max("kafka_offset").alias("last")).first()
        between = F.col("kafka_offset").between(*ends) if ends and ends["first"] is not None else F.lit(False)  # noqa: FBT003
        return tables.read(lines.sparkSession, dataset, self.settings.lake).where(between).select(*_KEY).distinct()

    def _append(self, rows: DataFrame, dataset: Dataset, batch_id: int) -> bool:
        """Append once; False when an earlier try of this micro-batch did it.

        Only a driver's first micro-batch may have been tried before: an error in any other one ends the driver.
        """
        spark, settings = rows.sparkSession, self.settings
        if self.may_be_half_done and tables.last_transaction(spark, dataset, settings, self._query_id) >= batch_id:
            return False
        is_checked = self.may_be_half_done or batch_id % _CHECK_EVERY == 0
        tables.append(rows, dataset, settings, tables.Transaction(self._query_id, batch_id, is_checked=is_checked))
        return True

    def _note(self, spark: SparkSession, dataset: Dataset, batch_id: int) -> None:
        """A micro-batch without rows for this table is on record all the same."""
        tables.note(spark, dataset, self.settings, tables.Transaction(self._query_id, batch_id))


def records(batch: DataFrame, topic_id: str, pseudonym_key: bytes | None) -> DataFrame:
    """Kafka records as rows of ``bronze.access_log`` but for ``is_duplicate``.

    Records without the replayer's headers (nginx, Vector, Filebeat) have no source: Kafka's own position identifies
    them.
    """
    source = _header("source", 0).cast("string")
    start, size = (_header(name, n).cast("string").try_cast("bigint") for n, name in ((1, "offset"), (2, "length")))
    # Whatever else stands in these headers is not the replayer's: such a record is known by Kafka's own position.
    known = (
        F.coalesce(F.rlike("_source", F.lit(_SOURCE)), F.lit(False))  # noqa: FBT003 - a Spark literal
        & F.coalesce(F.col("_start").between(0, _LARGEST_FILE), F.lit(False))  # noqa: FBT003
        & F.coalesce(F.col("_size").between(1, 2**31), F.lit(False))  # noqa: FBT003
    )
    line = F.coalesce("value", F.lit(b""))
    if pseudonym_key:
        line = pseudonyms.replace_host(line, pseudonym_key)
    return batch.select(
        "*",
        source.alias("_source"),
        start.alias("_start"),
        size.alias("_size"),
        _header("sha256", 4).cast("string").alias("_sha256"),
    ).select(
        F.lit(topic_id).alias("topic_id"),
        F.col("partition").alias("kafka_partition"),
        F.col("offset").alias("kafka_offset"),
        F.col("timestamp").alias("kafka_at"),
        F.to_date("timestamp").alias("arrived_on"),
        F.when(known, F.col("_source")).alias("source"),
        F.when(known, F.col("_start")).alias("byte_offset"),
        F.when(known, F.col("_size")).alias("byte_length"),
        F.col("_sha256").isNotNull().alias("was_cut"),
        F.col("_sha256").alias("line_sha256"),
        line.alias("line"),
    )


def judge(lines: DataFrame, violations: Column | None) -> DataFrame:
    """Parse and apply the quarantining rules: ``reason`` is null for a row that belongs to silver."""
    parsed = access_log.parse(lines)
    if violations is None:
        return parsed
    first = F.try_element_at(violations, F.lit(1))
    return parsed.withColumn("reason", F.coalesce("reason", F.concat(F.lit("rule:"), first)))


def batch_lock(settings: Settings) -> Path:
    """Held while a micro-batch is written, and by whoever must work between two of them."""
    return settings.locks / "stream" / "batch.lock"


def topic_was_recreated(topic: str, expected: str, found: str) -> ReconciliationError:
    return ReconciliationError(
        f"Reading topic {topic}",
        found=f"topic id {found}",
        required=f"{expected}, the topic that the stream has read so far: a recreated topic reuses its offsets",
        next_step="If that was on purpose, run `bin/millrace stream recover`: it continues with the new topic.",
    )


def _header(name: str, position: int) -> Column:
    """Value of a header; looked for where the replayer puts it first, then anywhere."""
    there = F.get("headers", F.lit(position))
    anywhere = F.get(F.filter("headers", lambda h: h["key"] == name), F.lit(0))["value"]
    missing = F.col("headers").isNull() | (F.size("headers") == 0) | ((F.lit(position) > 2) & (F.size("headers") == 3))
    return F.when(there["key"] == name, there["value"]).when(~missing, anywhere)


def _check_sum(counts: BatchCounts, batch_id: int) -> None:
    if counts.bronze != counts.silver + counts.quarantine + counts.duplicates:
        raise ReconciliationError(
            f"Writing micro-batch {batch_id}",
            found=f"{counts}",
            required="bronze = silver + quarantine + duplicates",
            next_step="Keep the lake as it is and report this: it is a defect of the streaming application.",
            changed="The micro-batch is written but not recorded; a restart judges it again.",
        )


def create_tables(spark: SparkSession, settings: Settings) -> None:
    for dataset in (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG):
        tables.create_if_missing(spark, dataset, settings)
