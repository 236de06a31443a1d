"""One micro-batch after another, fed without a broker: duplicates, retries, sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F

from contracts.datasets import BRONZE_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.errors import ReconciliationError
from spark_apps.io import ops, stream_records, tables
from spark_apps.io.stream_records import BatchCounts, Registration
from spark_apps.transforms import pseudonyms
from streaming import coverage, ingest, reprocess
from streaming.ingest import Ingest
from tests.spark_rows import kafka_frame, log_records

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from contracts.settings import Settings

pytestmark = pytest.mark.spark

LINE = 'h{n} - - [09/Jul/1995:00:00:{n:02d} -0400] "GET /{n} HTTP/1.0" 200 {n}'
DATA = "".join(LINE.format(n=n) + "\n" for n in range(40)).encode() + b"alyssa.p\n"


class Stream:
    """An ingest job on its own lake, and what its micro-batches counted."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.spark, self.settings = spark, settings
        self.engine = ops.connect(settings.ops_database)
        self.counts: list[BatchCounts] = []
        self.topic = "topic-1"
        ingest.create_tables(spark, settings)
        self.restart()

    def restart(self) -> None:
        entry = stream_records.registration(self.engine, "q") or Registration("q", "/c", "query-1", "topic-1", -1, None)
        self.job = Ingest(
            self.settings, self.engine, entry, "topic-1", lambda: self.topic, None,
            lambda _, counts: self.counts.append(counts),
        )  # fmt: skip

    def run(self, rows: list, batch_id: int) -> BatchCounts:
        self.job.run(kafka_frame(self.spark, rows), batch_id)
        return self.counts[-1]

    def total(self, dataset=SILVER_ACCESS_LOG) -> int:
        return DeltaTable(str(dataset.path(self.settings.lake))).count()


@pytest.fixture
def stream(spark: SparkSession, settings: Settings) -> Stream:
    return Stream(spark, settings)


def test_every_line_lands_in_silver_or_quarantine(stream: Stream) -> None:
    assert stream.run(log_records(DATA), 0) == BatchCounts(bronze=41, silver=40, quarantine=1, duplicates=0)
    rows = tables.read(stream.spark, QUARANTINE_ACCESS_LOG, stream.settings.lake).collect()
    assert [(row.reason, bytes(row.line), row.kafka_offset) for row in rows] == [("no_request", b"alyssa.p", 40)]


def test_a_resend_behind_the_mark_is_kept_in_bronze_and_marked(stream: Stream) -> None:
    records = log_records(DATA)
    stream.run(records[:30], 0)
    assert stream.run(records[20:], 1) == BatchCounts(bronze=21, silver=10, quarantine=1, duplicates=10)
    marked = tables.read(stream.spark, BRONZE_ACCESS_LOG, stream.settings.lake).where("is_duplicate").collect()
    assert sorted(row.kafka_offset for row in marked) == list(range(20, 30))


def test_a_resend_within_one_micro_batch_counts_once(stream: Stream) -> None:
    again = log_records(DATA, first_offset=100)[:10]
    assert stream.run(log_records(DATA)[:15] + again, 0) == BatchCounts(
        bronze=25, silver=15, quarantine=0, duplicates=10
    )


def test_a_micro_batch_of_duplicates_alone_is_on_record_in_silver_too(stream: Stream) -> None:
    stream.run(log_records(DATA), 0)
    again = log_records(DATA, first_offset=100)
    assert stream.run(again, 1) == BatchCounts(bronze=41, silver=0, quarantine=0, duplicates=41)
    # Otherwise the next start would take the lake for an older one than the registry knows.
    assert tables.last_transaction(stream.spark, SILVER_ACCESS_LOG, stream.settings, "query-1") == 1


def test_a_gap_that_is_filled_later_is_not_a_duplicate(stream: Stream) -> None:
    records = log_records(DATA)
    stream.run(records[:10] + records[20:30], 0)
    assert stream.run(records[5:25], 1) == BatchCounts(bronze=20, silver=10, quarantine=0, duplicates=10)
    assert stream.total() == 30


def test_equal_lines_at_other_places_are_two_requests(stream: Stream) -> None:
    twice = DATA.splitlines(keepends=True)[0] * 2
    assert stream.run(log_records(twice), 0).silver == 2
    assert stream.run(log_records(twice, source="other-g0"), 1).silver == 2
    assert stream.run(log_records(twice, source=None, first_offset=7), 2).silver == 2


def test_many_scattered_marks_are_joined_as_a_table(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "_SPELLED_OUT", 2)
    records = log_records(DATA)
    stream.run(records[0:40:2], 0)
    assert stream.run(records[:40], 1) == BatchCounts(bronze=40, silver=20, quarantine=0, duplicates=20)


@pytest.mark.parametrize(
    "written", [0, pytest.param(1, marks=pytest.mark.long), 2, pytest.param(3, marks=pytest.mark.long)]
)
def test_a_micro_batch_that_died_between_two_commits_is_repeated_exactly(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    records = log_records(DATA)
    stream.run(records[:20], 0)
    real, done = tables.append, []

    def dies_after(rows, dataset, settings, transaction=None) -> None:
        if len(done) == written:
            raise KeyboardInterrupt
        real(rows, dataset, settings, transaction)
        done.append(dataset.name)

    with monkeypatch.context() as patched:
        patched.setattr(tables, "append", dies_after)
        if written == 3:
            patched.setattr(stream_records, "finish_batch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stream.run(records[10:], 1)
    assert len(done) == written
    stream.restart()
    assert stream.run(records[10:], 1) == BatchCounts(bronze=31, silver=20, quarantine=1, duplicates=10)
    assert [stream.total(d) for d in (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG)] == [51, 40, 1]
    assert stream_records.totals(stream.engine) == BatchCounts(bronze=51, silver=40, quarantine=1, duplicates=10)


@pytest.mark.long
def test_a_repeated_micro_batch_keeps_every_line_when_the_rules_changed_in_between(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = log_records(DATA)
    stream.job.violations = F.expr("CASE WHEN path = '/3' THEN array('no_three') ELSE array() END")
    dies_after_silver(stream, monkeypatch, records)
    # Silver has 39 rows by now. The new rules would refuse one of them, and take the one that it lacks.
    stream.job.violations = F.expr("CASE WHEN path = '/5' THEN array('no_five') ELSE array() END")
    assert stream.run(records, 0) == BatchCounts(bronze=41, silver=40, quarantine=1, duplicates=0)
    paths = [row.path for row in tables.read(stream.spark, SILVER_ACCESS_LOG, stream.settings.lake).collect()]
    assert sorted(paths) == sorted(f"/{n}" for n in range(40))
    assert stream.total(QUARANTINE_ACCESS_LOG) == 1


def dies_after_silver(stream: Stream, monkeypatch: pytest.MonkeyPatch, rows: list) -> None:
    """A first micro-batch that wrote bronze and silver, and not quarantine; then a driver that starts again."""
    real = tables.append

    def append(frame, dataset, *rest) -> None:
        if dataset is QUARANTINE_ACCESS_LOG:
            raise KeyboardInterrupt
        real(frame, dataset, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(tables, "append", append)
        with pytest.raises(KeyboardInterrupt):
            stream.run(rows, 0)
    stream.restart()


@pytest.mark.long
def test_a_host_that_was_erased_meanwhile_does_not_come_back_with_a_repeated_micro_batch(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = log_records(DATA)
    dies_after_silver(stream, monkeypatch, records)
    tables.delete(stream.spark, BRONZE_ACCESS_LOG, stream.settings, "kafka_offset = 7")
    tables.delete(stream.spark, SILVER_ACCESS_LOG, stream.settings, "host = 'h7'")
    assert stream.run(records, 0) == BatchCounts(bronze=40, silver=39, quarantine=1, duplicates=0)
    assert [stream.total(d) for d in (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG)] == [40, 39, 1]
    # Its bytes count as seen: replaying the file does not bring it back either.
    assert stream.run(log_records(DATA, first_offset=100), 1).duplicates == 41


@pytest.mark.long
def test_a_row_that_a_command_moved_meanwhile_is_not_written_twice(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = log_records(DATA)
    dies_after_silver(stream, monkeypatch, records)
    monkeypatch.setattr(
        reprocess, "quarantining_rules", lambda _: F.expr("CASE WHEN path = '/3' THEN array('no') ELSE array() END")
    )
    reprocess.from_bronze(stream.spark, stream.settings, reprocess.parse_args(["--from", "bronze"]))
    assert stream.run(records, 0) == BatchCounts(bronze=41, silver=39, quarantine=2, duplicates=0)
    assert [stream.total(d) for d in (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG)] == [41, 39, 2]


def test_a_micro_batch_without_a_record_is_on_record_in_every_table_that_a_start_asks(stream: Stream) -> None:
    stream.run(log_records(DATA), 0)
    stream.run([], 1)
    for dataset in (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG):
        assert tables.last_transaction(stream.spark, dataset, stream.settings, "query-1") == 1


@pytest.mark.long
def test_delta_itself_keeps_the_number_of_a_micro_batch_now_and_then(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_CHECK_EVERY", 3)
    records = log_records(DATA)
    kept = []
    for batch_id in range(5):
        stream.run(records[batch_id * 5 : batch_id * 5 + 5], batch_id)
        kept.append(DeltaTable(str(BRONZE_ACCESS_LOG.path(stream.settings.lake))).transaction_version("query-1"))
    assert kept == [0, 0, 0, 3, 3]
    assert tables.last_transaction(stream.spark, BRONZE_ACCESS_LOG, stream.settings, "query-1") == 4


def test_a_recreated_topic_is_refused_while_running(stream: Stream) -> None:
    stream.run(log_records(DATA), 0)
    stream.topic = "topic-2"
    with pytest.raises(ReconciliationError, match="stream recover"):
        stream.run(log_records(DATA), 1)
    assert stream.total() == 40


def test_old_marks_fold_into_one_row_and_still_count(stream: Stream) -> None:
    records = log_records(DATA)
    for batch_id in range(3):
        stream.run(records[batch_id * 10 : batch_id * 10 + 10], batch_id)
    covered = stream_records.covered_before(stream.engine, "query-1", 3)
    stream_records.replace_marks(stream.engine, "query-1", 2, {s: ingest.merged(p) for s, p in covered.items()})
    stream.restart()
    assert stream.run(records[25:35], 3).duplicates == 5


def test_a_host_has_one_pseudonym_with_and_without_quotes_around_the_line(spark: SparkSession) -> None:
    key = b"a secret of 16 or more"
    lines = [b'h0 - - [09/Jul/1995] "GET"', b'"H0 - - [09/Jul/1995] \\"GET\\""', b"h0", b'"h0', b'"', b""]
    frame = spark.createDataFrame([(line,) for line in lines], "line binary")
    found = [bytes(row[0]) for row in frame.select(pseudonyms.replace_host(F.col("line"), key)).collect()]
    name, empty = (pseudonyms.pseudonym(host, key).encode() for host in ("h0", ""))
    assert found == [
        name + lines[0][2:], b'"' + name + lines[1][3:], name, b'"' + name, b'"' + empty, empty,
    ]  # fmt: skip


def test_hosts_can_be_replaced_before_anything_is_stored(spark: SparkSession, tmp_path: Path) -> None:
    from contracts.settings import Settings, StreamSettings

    settings = Settings(state=tmp_path, stream=StreamSettings(pseudonym_key="a secret of 16 or more"))
    stream = Stream(spark, settings)
    stream.run(log_records(DATA[:200]), 0)
    expected = pseudonyms.pseudonym("h0", b"a secret of 16 or more")
    first = tables.read(spark, SILVER_ACCESS_LOG, settings.lake).orderBy("byte_offset").first()
    assert first is not None
    assert first.host == expected
    stored = b"".join(bytes(row.line) for row in tables.read(spark, BRONZE_ACCESS_LOG, settings.lake).collect())
    assert expected.encode() in stored
    assert b"h0 - -" not in stored


def test_what_is_no_header_of_ours_is_known_by_its_place_in_kafka(stream: Stream) -> None:
    largest = 2**63 - 1
    rows = []
    for number, (source, start, size) in enumerate(
        [(b"a-g0", largest, 10), (b"a-g0", -5, 10), (b"a-g0", 0, 0), (b"x" * 300, 0, 10), (b"a\x00b", 0, 10)]
    ):
        record = list(log_records(DATA, first_offset=number)[0])
        record[-1] = [("source", source), ("offset", str(start).encode()), ("length", str(size).encode())]
        rows.append(tuple(record))
    assert stream.run(rows, 0) == BatchCounts(bronze=5, silver=5, quarantine=0, duplicates=0)
    bronze = tables.read(stream.spark, BRONZE_ACCESS_LOG, stream.settings.lake).collect()
    assert {(row.source, row.byte_offset) for row in bronze} == {(None, None)}


def test_reprocessing_by_stricter_rules_moves_rows_and_loses_none(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.run(log_records(DATA), 0)
    stricter = F.array_compact(F.array(F.when(F.col("bytes_sent") % 4 == 0, F.lit("four"))))
    monkeypatch.setattr(reprocess, "quarantining_rules", lambda _: stricter)
    arguments = reprocess.parse_args(["--from", "bronze"])
    for _ in range(2):
        assert reprocess.from_bronze(stream.spark, stream.settings, arguments) == (30, 11)
        assert (stream.total(), stream.total(QUARANTINE_ACCESS_LOG)) == (30, 11)
    monkeypatch.setattr(reprocess, "quarantining_rules", lambda _: None)
    assert reprocess.from_bronze(stream.spark, stream.settings, arguments) == (40, 1)
    assert (stream.total(), stream.total(QUARANTINE_ACCESS_LOG)) == (40, 1)
