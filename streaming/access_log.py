"""The streaming application: access log from Kafka to bronze, silver and quarantine, and on to gold.

`python -m streaming.access_log` runs until SIGTERM, which stops it between two micro-batches (correctness never depends
on that). With `--drain` it takes what is waiting, brings gold up to date and ends. A second one refuses to start.
"""

import json
import logging
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from contracts.datasets import GOLD_OF_ACCESS_LOG, GOLD_SESSIONS, SILVER_ACCESS_LOG
from contracts.errors import ExitCode, PlatformError
from contracts.kafka import source_options
from contracts.schema import Dataset
from contracts.settings import Settings, load_settings
from expectations.stream import quarantining_rules
from spark_apps.io import locks, ops, session, stream_records, tables
from spark_apps.io.stream_records import BatchCounts
from streaming import aggregate, guard, topics
from streaming.ingest import Ingest, create_tables
from streaming.maintenance import Maintenance
from streaming.status import StreamStatus, serve
from streaming.turnstile import ShutError

log = logging.getLogger("millrace")

#: Who gets a free slot: micro-batches before gold.
_POOLS = Path(__file__).with_name("pools.xml")


def parse_args(argv: list[str]) -> Namespace:
    parser = ArgumentParser(prog="access_log", description=__doc__, allow_abbrev=False)
    parser.add_argument("--drain", action="store_true", help="take what is waiting, then end")
    return parser.parse_args(argv)


def read_topic(spark: SparkSession, settings: Settings, starting_offsets: str) -> DataFrame:
    """The topic as a stream with headers; a gap in the offsets is an error, never skipped."""
    options = {
        "kafka.bootstrap.servers": settings.kafka,
        **source_options(settings.kafka_login),
        "subscribe": settings.stream.topic,
        "startingOffsets": starting_offsets,
        "failOnDataLoss": "true",
        "includeHeaders": "true",
        "maxOffsetsPerTrigger": str(settings.stream.max_offsets_per_trigger),
        # One file is one key and so one Kafka partition: split its offsets, or one core would read alone.
        "minPartitions": str(settings.stream.read_tasks),
        "groupIdPrefix": "millrace-access-log",
        "kafka.max.partition.fetch.bytes": str(8 * 1024 * 1024),
        "kafka.fetch.max.bytes": str(64 * 1024 * 1024),
        "kafkaConsumer.pollTimeoutMs": "60000",
    }
    return spark.readStream.format("kafka").options(**options).load()


def start(stream: DataFrame, job: Ingest, settings: Settings, *, drain: bool = False) -> StreamingQuery:
    """Start the ingest query on any stream with Kafka's columns; ``drain`` reads what is waiting and stops."""

    def body(batch: DataFrame, batch_id: int) -> None:
        try:
            if job.entry.query_id is None:
                query_id = guard.query_id_of(Path(job.entry.checkpoint))
                job.entry = replace(job.entry, query_id=query_id, topic_id=job.topic_id)
                stream_records.register(job.engine, job.entry)
            with job.turnstile.passing():
                job.run(batch, batch_id)
        except Exception as error:
            job.failure = error
            raise

    # The query's own thread takes over the properties of the thread that starts it.
    stream.sparkSession.sparkContext.setLocalProperty("spark.scheduler.pool", "ingest")
    writer = stream.writeStream.queryName(guard.QUERY_NAME).option("checkpointLocation", job.entry.checkpoint)
    seconds = f"{settings.stream.trigger_s} seconds"
    writer = writer.trigger(availableNow=True) if drain else writer.trigger(processingTime=seconds)
    return writer.foreachBatch(body).start()


def run(settings: Settings, *, drain: bool) -> StreamStatus:
    """Run the application in this process until it is told to stop, drained, or failed."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    # The cheap questions first: a broker that is away is said in a second, not after a JVM has started.
    topic_id = topics.topic_id(settings.kafka, settings.stream.topic, settings.kafka_login)
    spark = session.start(
        settings, "access_log", spark__scheduler__mode="FAIR", spark__scheduler__allocation__file=_POOLS.as_uri()
    )
    with locks.exclusive(spark, settings.locks / "stream" / "driver.lock", "Starting the stream"):
        status = StreamStatus()
        server = None if drain else serve(status, settings.ports.stream_metrics, settings.stream.listen)
        try:
            _run_locked(spark, settings, topic_id, status, stop, drain=drain)
        except Exception as error:
            known = guard.explain(error, settings)
            if known is None or known is error:
                raise
            raise known from error
        finally:
            if server:
                server.shutdown()
            spark.stop()
    return status


def _run_locked(
    spark: SparkSession, settings: Settings, topic_id: str, status: StreamStatus, stop: threading.Event, *, drain: bool
) -> None:
    engine = ops.connect(settings.ops_database)
    entry = guard.admit(spark, settings, engine, topic_id)
    create_tables(spark, settings)
    status.rows, status.last_batch = stream_records.totals(engine), entry.last_batch

    def on_batch(batch_id: int, counts: BatchCounts) -> None:
        status.add(batch_id, counts)
        status.silver_version = tables.version(spark, SILVER_ACCESS_LOG, settings.lake)
        log.info("batch=%d bronze=%d silver=%d quarantine=%d duplicates=%d", batch_id, *counts.__dict__.values())

    job = Ingest(
        settings, engine, entry, topic_id,
        lambda: topics.topic_id(settings.kafka, settings.stream.topic, settings.kafka_login),
        quarantining_rules(SILVER_ACCESS_LOG.name), on_batch,
    )  # fmt: skip
    query = start(read_topic(spark, settings, entry.starting_offsets or "earliest"), job, settings, drain=drain)
    status.state = "running"
    gold = _Gold(spark, settings, status)
    ends = _EndOffsets(settings)
    try:
        while query.isActive and not stop.is_set():
            query.awaitTermination(1)
            _observe(query, status, settings)
            ends.refresh(status)
            if gold.error or (not drain and not gold.keep_up()):
                stop.set()
        _stop_between_batches(query, job)
        if gold.error:
            raise gold.error
        if query.exception() is not None and not isinstance(job.failure, ShutError):
            raise query.exception()  # type: ignore[misc]
    except Exception as error:
        status.state, status.error = "failed", str(job.failure or error)[:2000]
        # Spark hands back a mere text of what a micro-batch raised; the error itself says more.
        raise error from job.failure
    finally:
        gold.join()
        query.stop()
    if gold.error:
        raise gold.error
    if drain:
        gold.finish()


class _EndOffsets:
    """What the topic holds, asked every few seconds: the query itself looks only between two micro-batches."""

    def __init__(self, settings: Settings, every_s: float = 3.0) -> None:
        self._settings, self._every_s, self._asked_at = settings, every_s, 0.0

    def refresh(self, status: StreamStatus) -> None:
        if monotonic() - self._asked_at < self._every_s:
            return
        self._asked_at = monotonic()
        try:
            ends = topics.end_offsets(self._settings.kafka, self._settings.stream.topic, self._settings.kafka_login)
        except PlatformError as error:
            # The query will fail by itself if the broker stays away; the old numbers stand until then.
            log.warning("end offsets are not known: %s", error)
            return
        status.end_offsets = {str(partition): offset for partition, offset in ends.items()}


class _Gold:
    """Aggregation beside ingestion, in a thread and a scheduler pool of its own."""

    def __init__(self, spark: SparkSession, settings: Settings, status: StreamStatus) -> None:
        self._spark, self._settings, self._status = spark, settings, status
        self._thread: threading.Thread | None = None
        self._began_at, self._took_s, self._sessions_due_at = -inf, 0.0, 0.0
        self._covers: dict[str, int] = {}
        self._maintenance = Maintenance(spark, settings)
        self.error: Exception | None = None

    def keep_up(self) -> bool:
        """Start a step when the last one is over and it is time for another; False when a step failed.

        Steps begin ``gold_trigger_s`` apart, and at least as long after the end of one as it took: when there is much
        to catch up, ingestion keeps half of the time, and a step covers several micro-batches. Nothing rests when no
        line waits. Sessions cost as much as all other tables: they follow every ``sessions_trigger_s`` while lines keep
        coming, at once when none do.
        """
        idle = self._thread is None or not self._thread.is_alive()
        rest_s = 2 * self._took_s if self._status.lag_records else 0.0
        is_due = monotonic() >= self._began_at + max(self._settings.stream.gold_trigger_s, rest_s)
        if idle and self.error is None and is_due:
            with_sessions = monotonic() >= self._sessions_due_at or self._status.lag_records == 0
            datasets = [d for d in GOLD_OF_ACCESS_LOG if with_sessions or d is not GOLD_SESSIONS]
            self._thread = threading.Thread(target=self._guarded, args=(datasets,), name="gold", daemon=True)
            self._thread.start()
        return self.error is None

    def step(self, datasets: Sequence[Dataset] = GOLD_OF_ACCESS_LOG) -> bool:
        """Bring these tables up to silver; whether any had to be written."""
        version, written = aggregate.step(self._spark, self._settings, datasets)
        self._covers |= {dataset.name: version for dataset in datasets}
        if len(self._covers) == len(GOLD_OF_ACCESS_LOG):
            self._status.gold_version = min(self._covers.values())
        if written:
            self._status.gold_committed_at = datetime.now(UTC)
        return bool(written)

    def finish(self) -> None:
        """The last step of a drain, with the housekeeping that nobody else will do, and gold after it."""
        self._maintenance.clean_up()
        self.step()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join(timeout=120)

    def _guarded(self, datasets: Sequence[Dataset]) -> None:
        began = monotonic()
        try:
            self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", "gold")
            had_news = self.step(datasets)
            self._began_at, self._took_s = began, monotonic() - began if had_news else 0.0
            if GOLD_SESSIONS in datasets:
                self._sessions_due_at = began + self._settings.stream.sessions_trigger_s
            self._maintenance.tidy()
        except Exception as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self.error = error


def _observe(query: StreamingQuery, status: StreamStatus, settings: Settings) -> None:
    progress = query.lastProgress
    status.query_id = str(query.id)
    if progress is None or not progress.sources:
        return
    # The parsed progress prints offsets as Python literals; its JSON is what Spark wrote.
    source = json.loads(progress.json)["sources"][0]
    status.committed_offsets = _offsets(source, "endOffset", settings.stream.topic)


def _offsets(source: dict[str, Any], name: str, topic: str) -> dict[str, int]:
    return {str(partition): int(offset) for partition, offset in ((source.get(name) or {}).get(topic) or {}).items()}


def _stop_between_batches(query: StreamingQuery, job: Ingest, limit_s: float = 60.0) -> None:
    deadline = monotonic() + limit_s
    job.turnstile.shut(limit_s)
    # The body is over before Spark notes the micro-batch as committed; cut off there, it would be repeated.
    noted = Path(job.entry.checkpoint) / "commits" / str(job.entry.last_batch)
    while query.isActive and job.entry.last_batch >= 0 and not noted.exists() and monotonic() < deadline:
        sleep(0.05)
    query.stop()


def main() -> int:
    """Exit code: 0 stopped or drained, else the one of the error (contracts/errors.py)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    args = parse_args(sys.argv[1:])
    try:
        run(load_settings(), drain=args.drain)
    except PlatformError as error:
        log.error("access_log: %s (%s, exit %d)", error, type(error).__name__, error.exit_code)  # noqa: TRY400 - no traceback
        return int(error.exit_code)
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
