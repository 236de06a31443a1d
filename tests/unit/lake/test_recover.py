"""What recovery takes from bronze and from the old marks, without a broker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from contracts.datasets import BRONZE_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.settings import Settings, StreamSettings
from spark_apps.io import ops, stream_records, tables
from spark_apps.io.stream_records import Registration
from streaming import coverage, guard, ingest, maintenance, recover, retention
from tests.spark_rows import kafka_frame, log_records

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

LINE = b'h - - [09/Jul/1995:00:00:07 -0400] "GET /a HTTP/1.0" 200 5\n'
OLD = "arrived_on = DATE'2020-01-01'"


@pytest.fixture
def kept_for_a_week(spark: SparkSession, tmp_path: Path) -> Settings:
    """Four lines, of which the first two and an unreadable one arrived long ago; every layer keeps seven days."""
    days = dict.fromkeys(("bronze_retention_days", "silver_retention_days", "quarantine_retention_days"), 7)
    settings = Settings(state=tmp_path, stream=StreamSettings(**days))
    engine = ops.connect(settings.ops_database)
    ingest.create_tables(spark, settings)
    entry = Registration(guard.QUERY_NAME, "/c", "query-1", "topic-1", -1, None)
    job = ingest.Ingest(settings, engine, entry, "topic-1", lambda: "topic-1", None, lambda *_: None)
    rows = log_records(LINE * 2 + b"nonsense\n" + LINE * 2)
    job.run(kafka_frame(spark, rows), 0)
    for dataset in (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG):
        table = tables.read(spark, dataset, settings.lake).withColumn(
            "arrived_on", recover.F.expr("IF(kafka_offset < 3, DATE'2020-01-01', current_date())")
        )
        tables.replace(table.localCheckpoint(), dataset, settings, "true")
    return settings


def count(spark: SparkSession, settings: Settings, dataset) -> int:
    return tables.read(spark, dataset, settings.lake).count()


def test_rows_that_retention_removed_are_not_brought_back(spark: SparkSession, kept_for_a_week: Settings) -> None:
    settings = kept_for_a_week
    for dataset in (SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG):
        tables.delete(spark, dataset, settings, OLD)
    tables.delete(spark, SILVER_ACCESS_LOG, settings, "kafka_offset = 4")
    bronze = tables.read(spark, BRONZE_ACCESS_LOG, settings.lake)
    assert recover.fill_gaps(spark, settings, bronze) == (1, 0)
    assert (count(spark, settings, SILVER_ACCESS_LOG), count(spark, settings, QUARANTINE_ACCESS_LOG)) == (2, 0)
    keeps_all = settings.model_copy(update={"stream": StreamSettings()})
    assert recover.fill_gaps(spark, keeps_all, bronze) == (2, 1)


def test_old_marks_are_believed_as_long_as_the_lake_has_what_they_speak_of(
    spark: SparkSession, kept_for_a_week: Settings
) -> None:
    settings = kept_for_a_week
    engine = ops.connect(settings.ops_database)
    tables.delete(spark, BRONZE_ACCESS_LOG, settings, OLD)
    bronze = tables.read(spark, BRONZE_ACCESS_LOG, settings.lake)
    (of_bronze,) = coverage.coverage(bronze)[1].values()
    (found,) = recover.marks(spark, settings, engine, bronze).values()
    assert (found[0][0], found[0][1], len(found)) == (0, of_bronze[0][1], 1)
    assert of_bronze[0][0] > 0
    # After a recovery nothing says which lake the marks belong to, until a micro-batch was written to it.
    entry = stream_records.registration(engine, guard.QUERY_NAME)
    assert entry is not None
    stream_records.register(engine, replace(entry, query_id=None, last_batch=-1))
    assert list(recover.marks(spark, settings, engine, bronze).values()) == [of_bronze]
    # The registry knows a micro-batch that the lake has not: what its marks cover may be lost.
    stream_records.register(engine, replace(entry, last_batch=1))
    assert list(recover.marks(spark, settings, engine, bronze).values()) == [of_bronze]


def test_retention_and_vacuum_are_due_for_short_lived_drivers_too(
    spark: SparkSession, kept_for_a_week: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = kept_for_a_week
    vacuumed, vacuum = [], tables.vacuum

    def watched(spark, dataset, settings) -> None:
        vacuum(spark, dataset, settings)
        vacuumed.append(dataset.name)

    monkeypatch.setattr(tables, "vacuum", watched)
    maintenance.Maintenance(spark, settings).clean_up()
    assert [count(spark, settings, dataset) for dataset in retention.LAYERS] == [2, 2, 0]
    assert vacuumed == []
    monkeypatch.setattr(maintenance, "VACUUM_EVERY_S", 0.0)
    maintenance.Maintenance(spark, settings).clean_up()
    # There is no gold here, as after a recovery.
    assert vacuumed == [dataset.name for dataset in retention.LAYERS]
