"""Delta tables: the one place that reads and writes them. Every commit holds the table's lock."""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from contracts.errors import ConfigurationError, SchemaMismatchError
from contracts.schema import Dataset
from contracts.settings import Settings
from spark_apps.io import commits, jvm, locks

#: How long a writer waits for another one; a commit takes seconds, a compaction of a large table minutes.
LOCK_WAIT_S = 600.0
#: Delta's default of delta.deletedFileRetentionDuration, which tables with a change feed leave as it is.
REMOVED_FILES_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Transaction:
    """Who commits what: an application, and a version that only grows.

    Delta skips a checked write when the table has this version of the application or a later one; for that it rebuilds
    the table's state. An unchecked commit only says what it is: for a caller that knows it to be the first.
    """

    application: str
    version: int
    is_checked: bool = True


def schema_of(spark: SparkSession, dataset: Dataset) -> StructType:
    """The dataset's schema as Spark sees it."""
    return spark.createDataFrame([], dataset.ddl).schema


def exists(spark: SparkSession, dataset: Dataset, lake: Path) -> bool:
    path = dataset.path(lake)
    # A creation that was cut short, as by a full disk, leaves a log folder without a version: Delta calls that a table.
    return bool(DeltaTable.isDeltaTable(spark, str(path))) and any((path / "_delta_log").glob("[0-9]*"))


def is_empty(spark: SparkSession, dataset: Dataset, lake: Path) -> bool:
    return read(spark, dataset, lake).isEmpty()


def version(spark: SparkSession, dataset: Dataset, lake: Path) -> int:
    """Newest version of the table, 0 for the one that only created it. Reads the log, runs no Spark job."""
    return int(_delta_log(spark, dataset, lake).version())


def identity(spark: SparkSession, dataset: Dataset, lake: Path) -> str:
    """Delta's own identifier of the table: another one when the table was deleted and made anew."""
    return str(_delta_log(spark, dataset, lake).metadata().id())


def read(spark: SparkSession, dataset: Dataset, lake: Path, *, at_version: int | None = None) -> DataFrame:
    """The table as it is, or as it was at ``at_version``; a table that is not there is a ConfigurationError."""
    if not exists(spark, dataset, lake):
        raise ConfigurationError(
            f"Reading {dataset.name}", found=f"no table at {dataset.path(lake)}", required="the table",
            next_step="Replay a log and drain the stream first (bin/millrace replay FILE, bin/millrace drain).",
        )  # fmt: skip
    reader = spark.read.format("delta")
    if at_version is not None:
        reader = reader.option("versionAsOf", at_version)
    return reader.load(str(dataset.path(lake)))


def changes(spark: SparkSession, dataset: Dataset, lake: Path, first: int, last: int) -> DataFrame:
    """Rows that versions ``first`` to ``last`` added or removed (a compaction: none). Needs the change data feed."""
    reader = spark.read.format("delta").option("readChangeFeed", "true")
    return reader.option("startingVersion", first).option("endingVersion", last).load(str(dataset.path(lake)))


def can_tell_changes(dataset: Dataset, lake: Path, first: int) -> bool:
    """Whether the change feed reaches back to version ``first``: its commit is there, and no vacuum took its files."""
    committed_at = commits.committed_at(dataset.path(lake), first)
    return committed_at is not None and datetime.now(tz=UTC) - committed_at < REMOVED_FILES_KEPT - timedelta(days=1)


def create_if_missing(spark: SparkSession, dataset: Dataset, settings: Settings) -> None:
    """Create the empty table with its schema, layout and properties."""
    if exists(spark, dataset, settings.lake):
        return
    with writing(spark, dataset, settings):
        _remove_log_without_version(dataset.path(settings.lake))
        builder = DeltaTable.createIfNotExists(spark).location(str(dataset.path(settings.lake)))
        for field in schema_of(spark, dataset).fields:
            builder = builder.addColumn(field.name, field.dataType, nullable=field.nullable)
        if dataset.partitioned_by:
            builder = builder.partitionedBy(*dataset.partitioned_by)
        for key, value in dataset.properties.items():
            builder = builder.property(key, value)
        builder.comment(dataset.about).execute()


def _remove_log_without_version(path: Path) -> None:
    """What a creation leaves that was cut short: a folder that Delta takes for a table, and then finds none."""
    folder = path / "_delta_log"
    if folder.is_dir() and not any(folder.glob("[0-9]*")) and not (folder / "_last_checkpoint").exists():
        shutil.rmtree(folder)


def append(rows: DataFrame, dataset: Dataset, settings: Settings, transaction: Transaction | None = None) -> None:
    """Add rows in one commit; with a checked transaction, at most once."""
    with writing(rows.sparkSession, dataset, settings):
        _writer(rows, dataset, "append", transaction, None).save(str(dataset.path(settings.lake)))


def note(
    spark: SparkSession,
    dataset: Dataset,
    settings: Settings,
    transaction: Transaction,
    metadata: dict[str, object] | None = None,
) -> None:
    """A commit that adds nothing and says what the table covers. Delta leaves out an unchecked one without rows."""
    nothing = spark.createDataFrame([], dataset.ddl)
    with writing(spark, dataset, settings):
        writer = _writer(nothing, dataset, "append", dataclasses.replace(transaction, is_checked=True), metadata)
        writer.save(str(dataset.path(settings.lake)))


def replace(
    rows: DataFrame,
    dataset: Dataset,
    settings: Settings,
    predicate: str,
    *,
    metadata: dict[str, object] | None = None,
    transaction: Transaction | None = None,
) -> None:
    """Replace the rows that match ``predicate`` (SQL) by ``rows``, in one commit. Every new row must match it too.

    With a checked transaction, at most once.
    """
    with writing(rows.sparkSession, dataset, settings):
        writer = _writer(rows, dataset, "overwrite", transaction, metadata).option("replaceWhere", predicate)
        writer.save(str(dataset.path(settings.lake)))


def delete(spark: SparkSession, dataset: Dataset, settings: Settings, predicate: str) -> None:
    """Delete the rows that match ``predicate`` (SQL) in one commit."""
    with writing(spark, dataset, settings):
        _table(spark, dataset, settings.lake).delete(predicate)


def delete_named(spark: SparkSession, dataset: Dataset, settings: Settings, subject: str, names: Sequence[str]) -> None:
    """Delete the rows whose ``subject`` (SQL) is one of ``names``, in one commit.

    As a merge: Delta's log keeps the predicate of a delete, and with it the names that are to be forgotten.
    """
    with writing(spark, dataset, settings):
        source = spark.createDataFrame([(name,) for name in names], "_name string")
        merge = _table(spark, dataset, settings.lake).merge(source, f"{subject} = _name")
        merge.whenMatchedDelete().execute()


def compact(spark: SparkSession, dataset: Dataset, settings: Settings, where: str | None) -> None:
    """Join small files into files of 16 MiB or more; rows and their change feed stay as they are."""
    with writing(spark, dataset, settings):
        # Files that have reached the lower bound are left alone, so a day is not rewritten again and again.
        spark.conf.set("spark.databricks.delta.optimize.minFileSize", 16 * 1024 * 1024)
        spark.conf.set("spark.databricks.delta.optimize.maxFileSize", 64 * 1024 * 1024)
        optimize = _table(spark, dataset, settings.lake).optimize()
        (optimize.where(where) if where else optimize).executeCompaction()


def vacuum(spark: SparkSession, dataset: Dataset, settings: Settings, *, keep_hours: float | None = None) -> None:
    """Delete files that no version within the table's retention needs; ``keep_hours`` overrules the retention."""
    with writing(spark, dataset, settings):
        if keep_hours is None:
            _table(spark, dataset, settings.lake).vacuum()
            return
        check = "spark.databricks.delta.retentionDurationCheck.enabled"
        spark.conf.set(check, "false")
        try:
            _table(spark, dataset, settings.lake).vacuum(keep_hours)
        finally:
            spark.conf.unset(check)


def conform(rows: DataFrame, dataset: Dataset) -> DataFrame:
    """``rows`` with exactly the dataset's columns in its order; missing, unexpected or retyped ones are refused."""
    expected = {f.name: f.dataType for f in schema_of(rows.sparkSession, dataset).fields}
    found = {f.name: f.dataType for f in rows.schema.fields}
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    retyped = [
        f"{name} is {found[name].simpleString()}, not {kind.simpleString()}"
        for name, kind in expected.items()
        if name in found and found[name].simpleString() != kind.simpleString()
    ]
    if missing or unexpected or retyped:
        raise SchemaMismatchError(
            f"Writing {dataset.name}",
            found=f"missing {missing}, unexpected {unexpected}, retyped {retyped}",
            required=dataset.ddl,
            next_step="Either the transform is wrong or contracts/datasets.py must change first.",
        )
    return rows.select(*[F.col(name) for name in expected])


def last_transaction(spark: SparkSession, dataset: Dataset, settings: Settings, application: str) -> int:
    """Highest transaction version that ``application`` committed to the table, -1 for none. Reads the log anew.

    An unchecked one is known for as long as its commit is at hand, the time of Delta's log retention.
    """
    newest = commits.newest_transaction(dataset.path(settings.lake), application)
    if newest is not None:
        return newest
    found = _delta_log(spark, dataset, settings.lake).transactions().get(application)
    return int(found.get()) if found.isDefined() else -1


def transactions(spark: SparkSession, dataset: Dataset, settings: Settings) -> list[str]:
    """Applications that committed checked transactions to the table, by the time of their last one, newest first."""
    # Latest first, and each application once: Delta keeps the last transaction of each.
    known = _delta_log(spark, dataset, settings.lake).setTransactions()
    said = [known.apply(n) for n in range(known.size())]
    by_time = [(int(each.lastUpdated().get()), str(each.appId())) for each in said if each.lastUpdated().isDefined()]
    return [application for _, application in sorted(by_time, reverse=True)]


def remove(spark: SparkSession, dataset: Dataset, settings: Settings) -> None:
    """Remove the table with all its files, if it is there. For tables that can be made anew from others."""
    with writing(spark, dataset, settings):
        if dataset.path(settings.lake).exists():
            shutil.rmtree(dataset.path(settings.lake))


@contextmanager
def writing(spark: SparkSession, dataset: Dataset, settings: Settings) -> Iterator[None]:
    """Hold the table's lock: on a local file system two processes can both commit one version, and one is lost.

    Within a process Delta itself lets one commit follow the other, so that appends go on beside a compaction.
    """
    path = settings.locks / "tables" / f"{dataset.name}.lock"
    with locks.against_other_processes(spark, path, f"Writing {dataset.name}", wait_s=LOCK_WAIT_S):
        yield


def in_list(column: str, values: Sequence[str]) -> str:
    """SQL predicate ``column IN (...)`` with every value quoted."""
    quoted = ", ".join("'" + v.replace("\\", "\\\\").replace("'", "\\'") + "'" for v in values)
    return f"{column} IN ({quoted})"


def _delta_log(spark: SparkSession, dataset: Dataset, lake: Path) -> Any:  # noqa: ANN401 - a Java object
    """Newest snapshot of the table's log. Delta's Python interface offers neither version nor transactions of it."""
    none = jvm.class_named(spark, "scala.Option").empty()
    logs = jvm.class_named(spark, "org.apache.spark.sql.delta.DeltaLog")
    table_log = logs.forTable(spark._jsparkSession, str(dataset.path(lake)))  # noqa: SLF001
    return table_log.update(False, none, none)  # noqa: FBT003 - not a stale one


def _table(spark: SparkSession, dataset: Dataset, lake: Path) -> DeltaTable:
    return DeltaTable.forPath(spark, str(dataset.path(lake)))


def _writer(
    rows: DataFrame, dataset: Dataset, mode: str, transaction: Transaction | None, metadata: dict[str, object] | None
) -> DataFrameWriter:
    writer = conform(rows, dataset).write.format("delta").mode(mode)
    if dataset.partitioned_by:
        writer = writer.partitionBy(*dataset.partitioned_by)
    said = dict(metadata or {})
    if transaction and transaction.is_checked:
        writer = writer.option("txnAppId", transaction.application).option("txnVersion", transaction.version)
    elif transaction:
        said[commits.TRANSACTION] = {"application": transaction.application, "version": transaction.version}
    if said:
        writer = writer.option("userMetadata", json.dumps(said, sort_keys=True))
    return writer
