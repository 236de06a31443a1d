"""Gold beside a batch recomputation, whatever order the requests come in."""

from __future__ import annotations

import random
import shutil
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pyspark.testing import assertDataFrameEqual

from contracts.datasets import GOLD_OF_ACCESS_LOG, GOLD_SESSIONS, SILVER_ACCESS_LOG
from contracts.errors import ReconciliationError
from spark_apps.io import ops, reconciliation, tables
from spark_apps.io.stream_records import Registration
from spark_apps.transforms.access_log_gold import GOLD_TRANSFORMS
from streaming import aggregate, ingest
from tests.spark_rows import kafka_frame, log_records

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from contracts.settings import Settings

START = datetime(2020, 1, 1)


def test_ranges_cover_every_start_and_nothing_is_joined_without_need() -> None:
    minute = timedelta(minutes=1)
    starts = [START, START + minute, START + 5 * minute]
    assert aggregate.joined_ranges(starts, minute) == [
        (START, START + 2 * minute),
        (START + 5 * minute, START + 6 * minute),
    ]


def test_too_many_ranges_are_joined_where_the_gaps_are_smallest() -> None:
    minute = timedelta(minutes=1)
    # Pairs two minutes apart, an hour between the pairs: the small gaps go first.
    starts = [START + timedelta(hours=h) + k * 2 * minute for h in range(aggregate.MAX_RANGES) for k in (0, 1)]
    ranges = aggregate.joined_ranges(starts, minute)
    assert len(ranges) == aggregate.MAX_RANGES
    assert ranges[0] == (START, START + 3 * minute)
    assert all(any(a <= s < b for a, b in ranges) for s in starts)


@pytest.mark.spark
def test_sessions_split_at_more_than_thirty_minutes_of_silence(spark: SparkSession) -> None:
    def request(host: str, minute: int, second: int, path: str, status: int) -> tuple:
        return host, START + timedelta(minutes=minute, seconds=second), path, status, 10, 0, minute * 60 + second

    rows = [
        request("a", 0, 0, "/in", 200),
        request("a", 30, 0, "/out", 404),  # thirty minutes are not more than thirty
        request("a", 60, 1, "/later", 200),
        request("b", 10, 0, "/only", 500),
    ]
    schema = (
        "host string, requested_at timestamp, path string, status int, bytes_sent bigint,"
        "kafka_partition int, kafka_offset bigint"
    )
    expected = [
        ("a", START, START + timedelta(minutes=30), 1800, 2, 20, 1, "/in", "/out"),
        (
            "a",
            START + timedelta(minutes=60, seconds=1),
            START + timedelta(minutes=60, seconds=1),
            0,
            1,
            10,
            0,
            "/later",
            "/later",
        ),
        ("b", START + timedelta(minutes=10), START + timedelta(minutes=10), 0, 1, 10, 1, "/only", "/only"),
    ]
    found = GOLD_TRANSFORMS[GOLD_SESSIONS.name](spark.createDataFrame(rows, schema))
    assertDataFrameEqual(found, spark.createDataFrame(expected, tables.schema_of(spark, GOLD_SESSIONS)))


@pytest.fixture
def job(spark: SparkSession, settings: Settings) -> ingest.Ingest:
    ingest.create_tables(spark, settings)
    entry = Registration("q", "/c", "query-1", "topic-1", -1, None)
    engine = ops.connect(settings.ops_database)
    return ingest.Ingest(settings, engine, entry, "topic-1", lambda: "topic-1", None, lambda *_: None)


@pytest.mark.spark
def test_streamed_gold_equals_a_batch_recomputation_for_lines_in_any_order(
    spark: SparkSession, settings: Settings, job: ingest.Ingest, samples: Path
) -> None:
    lines = (samples / "nasa_http" / "NASA_short.log").read_bytes().splitlines(keepends=True)[::12]
    records = log_records(b"".join(lines))
    random.Random(7).shuffle(records)  # noqa: S311 - a fixed order, not a secret
    third = len(records) // 3
    # Out-of-order thirds merge sessions that earlier steps wrote, and touch minutes again that are already there.
    for batch_id in range(3):
        job.run(kafka_frame(spark, records[batch_id * third : (batch_id + 1) * third]), batch_id)
        version, _ = aggregate.step(spark, settings)
    for dataset in GOLD_OF_ACCESS_LOG:
        comparison = reconciliation.compare(spark, dataset, settings, GOLD_TRANSFORMS[dataset.name])
        assert (comparison.is_equal, comparison.silver_version) == (True, version)
        assert comparison.rows > 0
    # Erased requests leave gold as well: a session that falls apart is two again.
    tables.delete(spark, SILVER_ACCESS_LOG, settings, "kafka_offset % 3 = 0")
    version, _ = aggregate.step(spark, settings)
    silver = tables.read(spark, SILVER_ACCESS_LOG, settings.lake, at_version=version)
    for dataset in GOLD_OF_ACCESS_LOG:
        assertDataFrameEqual(tables.read(spark, dataset, settings.lake), GOLD_TRANSFORMS[dataset.name](silver))


@pytest.mark.spark
def test_a_table_that_was_tampered_with_is_named_with_its_keys(
    spark: SparkSession, settings: Settings, job: ingest.Ingest
) -> None:
    line = b'h - - [09/Jul/1995:00:00:07 -0400] "GET /a HTTP/1.0" 200 5\n'
    job.run(kafka_frame(spark, log_records(line * 3)), 0)
    version, _ = aggregate.step(spark, settings)
    wrong = tables.read(spark, GOLD_SESSIONS, settings.lake).selectExpr(
        "* except (requests)", "requests + 1 AS requests"
    )
    tables.replace(wrong, GOLD_SESSIONS, settings, "true", metadata={"silver_version": version})
    comparison = reconciliation.compare(spark, GOLD_SESSIONS, settings, GOLD_TRANSFORMS[GOLD_SESSIONS.name])
    assert (comparison.is_equal, comparison.only_streamed, comparison.only_batch) == (False, 1, 1)
    assert '"host":"h"' in comparison.keys[0]


@pytest.mark.spark
def test_a_step_without_news_writes_nothing(spark: SparkSession, settings: Settings, job: ingest.Ingest) -> None:
    assert aggregate.step(spark, settings) == (0, [])
    empty = reconciliation.compare(spark, GOLD_SESSIONS, settings, GOLD_TRANSFORMS[GOLD_SESSIONS.name])
    assert (empty.is_equal, empty.silver_version) == (True, 0)
    job.run(kafka_frame(spark, log_records(b'h - - [09/Jul/1995:00:00:07 -0400] "GET /a HTTP/1.0" 200 5\n')), 0)
    version, written = aggregate.step(spark, settings)
    assert (version, len(written)) == (1, len(GOLD_OF_ACCESS_LOG))
    before = [tables.version(spark, dataset, settings.lake) for dataset in GOLD_OF_ACCESS_LOG]
    assert aggregate.step(spark, settings) == (version, [])
    assert [tables.version(spark, dataset, settings.lake) for dataset in GOLD_OF_ACCESS_LOG] == before


@pytest.mark.long
@pytest.mark.spark
def test_rows_that_come_and_go_between_two_steps_leave_nothing_to_catch_up(
    spark: SparkSession, settings: Settings, job: ingest.Ingest
) -> None:
    def line(host: str, hour: int) -> list:
        text = f'{host} - - [09/Jul/1995:{hour:02d}:00:07 -0400] "GET /a HTTP/1.0" 200 5\n'
        return log_records(text.encode(), source=f"{host}-g0", first_offset=100 * hour)

    job.run(kafka_frame(spark, log_records(b"nonsense\n")), 0)
    version, _ = aggregate.step(spark, settings)
    assert aggregate.step(spark, settings) == (version, [])  # silver without rows is no news for ever
    job.run(kafka_frame(spark, line("a", 1)), 1)
    aggregate.step(spark, settings)
    job.run(kafka_frame(spark, line("b", 2)), 2)
    tables.delete(spark, SILVER_ACCESS_LOG, settings, "host = 'b'")
    version, _ = aggregate.step(spark, settings)
    # What an erasure does next: the versions in between can be read no more.
    tables.vacuum(spark, SILVER_ACCESS_LOG, settings, keep_hours=0)
    assert aggregate.step(spark, settings) == (version, [])
    job.run(kafka_frame(spark, line("c", 3)), 3)
    aggregate.step(spark, settings)
    for dataset in GOLD_OF_ACCESS_LOG:
        comparison = reconciliation.compare(spark, dataset, settings, GOLD_TRANSFORMS[dataset.name])
        assert comparison.is_equal, comparison
        assert comparison.rows > 0


@pytest.mark.long
@pytest.mark.spark
def test_gold_is_made_anew_where_silver_has_forgotten_what_changed(
    spark: SparkSession, settings: Settings, job: ingest.Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b'h - - [09/Jul/1995:00:00:07 -0400] "GET /a HTTP/1.0" 200 5\n'
    for batch_id, offset in enumerate((0, 100, 200)):
        job.run(kafka_frame(spark, log_records(line * 3, source=f"s{offset}-g0", first_offset=offset)), batch_id)
        if batch_id == 0:
            aggregate.step(spark, settings)
    tables.compact(spark, SILVER_ACCESS_LOG, settings, None)
    tables.vacuum(spark, SILVER_ACCESS_LOG, settings, keep_hours=0)
    # Eight days in one: what the vacuum took can be read no more.
    monkeypatch.setattr(tables, "REMOVED_FILES_KEPT", timedelta(days=1))
    version, written = aggregate.step(spark, settings)
    assert written == list(GOLD_OF_ACCESS_LOG)
    silver = tables.read(spark, SILVER_ACCESS_LOG, settings.lake, at_version=version)
    for dataset in GOLD_OF_ACCESS_LOG:
        assertDataFrameEqual(tables.read(spark, dataset, settings.lake), GOLD_TRANSFORMS[dataset.name](silver))


@pytest.mark.spark
def test_a_silver_that_was_put_back_from_a_copy_is_noticed(
    spark: SparkSession, settings: Settings, job: ingest.Ingest, tmp_path: Path
) -> None:
    line = b'h - - [09/Jul/1995:00:00:07 -0400] "GET /a HTTP/1.0" 200 5\n'
    job.run(kafka_frame(spark, log_records(line)), 0)
    silver, copy = SILVER_ACCESS_LOG.path(settings.lake), tmp_path / "copy"
    shutil.copytree(silver, copy)
    job.run(kafka_frame(spark, log_records(line, first_offset=1, source="b-g0")), 1)
    aggregate.step(spark, settings)
    shutil.rmtree(silver)
    shutil.copytree(copy, silver)
    with pytest.raises(ReconciliationError, match=r"covers version 2 of silver; required 1.*stream recover"):
        aggregate.step(spark, settings)
    for dataset in GOLD_OF_ACCESS_LOG:
        tables.remove(spark, dataset, settings)
    aggregate.step(spark, settings)
    assert tables.read(spark, GOLD_SESSIONS, settings.lake).count() == 1
