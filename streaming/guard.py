"""What must be true before the stream starts: broker, topic, and a checkpoint that is the one the registry knows.

Spark starts a *new* query silently when a checkpoint's ``metadata`` is missing, and from zero when all of it is. Either
would duplicate or skip rows, so the registry in the ops database is asked first.
"""

import json
import re
from pathlib import Path

from pyspark.sql import SparkSession
from sqlalchemy import Engine

from contracts.datasets import BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.errors import ConfigurationError, DependencyUnavailableError, PlatformError, ReconciliationError
from contracts.settings import Settings
from spark_apps.io import ops, stream_records, tables
from spark_apps.io.stream_records import Registration
from streaming.ingest import topic_was_recreated

QUERY_NAME = "access_log_ingest"
_RECOVER = "Run `bin/millrace stream recover`: it rebuilds what is missing from bronze and continues where bronze ends."


def admit(spark: SparkSession, settings: Settings, engine: Engine, topic_id: str) -> Registration:
    """The registration to start with; raises when starting would lose, repeat or skip rows."""
    entry = stream_records.registration(engine, QUERY_NAME)
    if entry is None:
        return _first_start(spark, settings, topic_id)
    if entry.topic_id is not None and entry.topic_id != topic_id:
        raise topic_was_recreated(settings.stream.topic, entry.topic_id, topic_id)
    checkpoint = Path(entry.checkpoint)
    if entry.query_id is None:
        _check_unused(checkpoint)
        return entry
    found = query_id_of(checkpoint)
    if found != entry.query_id:
        raise _damaged(checkpoint, f"query id {found}", f"query id {entry.query_id}, which the registry holds")
    _check_logs(checkpoint, entry.last_batch)
    _check_tables(spark, settings, entry)
    return entry


def query_id_of(checkpoint: Path) -> str:
    """Query id in the checkpoint's ``metadata``; a missing or damaged one is refused."""
    path = checkpoint / "metadata"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["id"])
    except FileNotFoundError as error:
        raise _damaged(checkpoint, "no file `metadata` in it", "the checkpoint that the registry knows") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(checkpoint, f"an unreadable file `metadata` ({error})", "the one that Spark wrote") from error


def explain(error: Exception, settings: Settings) -> PlatformError | None:
    """What a failed query's exception means, where we know it; None for a bug."""
    for cause in _causes(error):
        if isinstance(cause, PlatformError):
            return cause
    text = "\n".join(str(cause) for cause in _causes(error))
    if any(sign in text for sign in ("No space left on device", "database or disk is full")):
        return _disk_is_full(settings)
    if "UnknownTopicOrPartition" in text or "UNKNOWN_TOPIC" in text:
        return topic_is_missing(settings)
    if any(
        sign in text for sign in ("data may have been lost", "OffsetOutOfRange", "KAFKA_DATA_LOSS", "data may be lost")
    ):
        return ReconciliationError(
            f"Reading topic {settings.stream.topic}",
            found="records that the stream has not read yet are gone from the broker (retention, or a recreated topic)",
            required="every record since the last micro-batch",
            next_step="Run `bin/millrace stream recover`, then replay the files again with --from-start: "
            "lines that arrived before count as duplicates.",
        )
    if re.search(r"Incomplete log file|MALFORMED_LOG_FILE|batch \d+ doesn't exist|in the checkpoint offsets", text):
        return _damaged(_checkpoint_in_use(settings), text.splitlines()[0][:300], "complete offsets and commits")
    if "TimeoutException" in text or "TimeoutError" in text or "Failed to construct kafka" in text:
        return _broker_is_away(settings)
    return None


def topic_is_missing(settings: Settings) -> ConfigurationError:
    return ConfigurationError(
        "Starting the stream", found=f"no topic {settings.stream.topic} on {settings.kafka}", required="the topic",
        next_step="Run `bin/millrace up`, which creates it with the right settings.",
    )  # fmt: skip


def _first_start(spark: SparkSession, settings: Settings, topic_id: str) -> Registration:
    checkpoint = settings.checkpoints / QUERY_NAME
    has_rows = tables.exists(spark, BRONZE_ACCESS_LOG, settings.lake) and not tables.is_empty(
        spark, BRONZE_ACCESS_LOG, settings.lake
    )
    if has_rows:
        raise ReconciliationError(
            "Starting the stream",
            found=f"rows in {BRONZE_ACCESS_LOG.name} but no entry in the stream registry ({settings.ops_database})",
            required="the registry that belongs to the lake, or an empty lake",
            next_step=_RECOVER,
        )
    _check_unused(checkpoint)
    return Registration(QUERY_NAME, str(checkpoint), None, topic_id, -1, None)


def _checkpoint_in_use(settings: Settings) -> Path:
    entry = stream_records.registration(ops.connect(settings.ops_database), QUERY_NAME)
    return Path(entry.checkpoint) if entry else settings.checkpoints / QUERY_NAME


def _check_unused(checkpoint: Path) -> None:
    """A query is registered before its first micro-batch: one that is done and not registered means a lost registry."""
    if _batches(checkpoint / "commits"):
        found = "micro-batches in it that the registry does not know"
        raise _damaged(checkpoint, found, "a checkpoint that nobody has used")


def _check_logs(checkpoint: Path, last_batch: int) -> None:
    """Offsets and commits agree with the registry, and Spark can read those that it starts from.

    Spark writes offsets, then we write the tables and the registry, then Spark writes the commit.
    """
    offsets, commits = _batches(checkpoint / "offsets"), _batches(checkpoint / "commits")
    highest, done = max(offsets, default=-1), max(commits, default=-1)
    if not last_batch <= highest <= last_batch + 1 or done > last_batch:
        raise _damaged(
            checkpoint,
            f"offsets up to micro-batch {highest}, commits up to {done}",
            f"those of a stream whose last micro-batch is {last_batch}, as the registry says",
        )
    for batch in range(max(0, highest - 1), highest + 1):
        _check_entry(checkpoint, checkpoint / "offsets" / str(batch), lines=3)
    if commits:
        _check_entry(checkpoint, checkpoint / "commits" / str(done), lines=2)


def _check_entry(checkpoint: Path, path: Path, lines: int) -> None:
    """A version, then lines of JSON: an entry of Spark's offset or commit log."""
    try:
        version, *rest = path.read_text(encoding="utf-8").splitlines()
        is_whole = version.startswith("v") and len(rest) >= lines - 1 and all(json.loads(line) for line in rest)
    except (OSError, ValueError):
        is_whole = False
    if not is_whole:
        name = path.relative_to(checkpoint)
        raise _damaged(checkpoint, f"a missing, empty or truncated file `{name}` in it", "what Spark wrote")


def has_all_of(spark: SparkSession, settings: Settings, entry: Registration) -> bool:
    """Whether the lake has every micro-batch that the registry calls written."""
    return all(found >= entry.last_batch for found in _written_up_to(spark, settings, entry).values())


def _check_tables(spark: SparkSession, settings: Settings, entry: Registration) -> None:
    """A lake that was restored from a copy, or removed, has not every micro-batch that the registry has."""
    for dataset, found in _written_up_to(spark, settings, entry).items():
        if found < entry.last_batch:
            raise ReconciliationError(
                "Starting the stream",
                found=f"{dataset} written up to micro-batch {found}",
                required=f"micro-batch {entry.last_batch}, which the registry calls written: the lake is older, or new",
                next_step=_RECOVER,
            )


def _written_up_to(spark: SparkSession, settings: Settings, entry: Registration) -> dict[str, int]:
    """Last micro-batch of the query that each table of every micro-batch has, -1 for none."""
    found = {}
    for dataset in (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG):
        is_there = tables.exists(spark, dataset, settings.lake)
        found[dataset.name] = tables.last_transaction(spark, dataset, settings, str(entry.query_id)) if is_there else -1
    return found


def _batches(log: Path) -> list[int]:
    return [int(file.name) for file in log.glob("*") if file.name.isdigit()] if log.is_dir() else []


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _damaged(checkpoint: Path, found: str, required: str) -> ReconciliationError:
    return ReconciliationError(
        f"Starting the stream on checkpoint {checkpoint}", found=found, required=required, next_step=_RECOVER
    )


def _disk_is_full(settings: Settings) -> DependencyUnavailableError:
    return DependencyUnavailableError(
        "Writing a micro-batch", found=f"no space left under {settings.state}", required="free disk space",
        changed="The micro-batch may be written in part.",
        next_step="Free space and start again: the stream repeats it and writes only what is missing.",
    )  # fmt: skip


def _broker_is_away(settings: Settings) -> DependencyUnavailableError:
    return DependencyUnavailableError(
        f"Reading topic {settings.stream.topic}", found=f"no answer from the broker at {settings.kafka}",
        required="a running broker",
        next_step="See `bin/millrace status` and `bin/millrace logs kafka`; the stream goes on where it was.",
    )  # fmt: skip
