"""The parser, on literal lines and on the real logs, against counts that do not use it."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from spark_apps.transforms import access_log
from tests.spark_rows import ARRIVED_AT

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, Row, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("compiled")]

GOOD = b'piweba3y.prodigy.com - - [09/Jul/1995:00:00:07 -0400] "GET /images/NASA.gif HTTP/1.0" 200 363'


def parsed(spark: SparkSession, *lines: bytes) -> list[Row]:
    rows = [(number, bytearray(line), ARRIVED_AT) for number, line in enumerate(lines)]
    frame = spark.createDataFrame(rows, "n int, line binary, kafka_at timestamp")
    return access_log.parse(frame).orderBy("n").collect()


def log_file(spark: SparkSession, path: Path) -> DataFrame:
    rows = [(bytearray(line), ARRIVED_AT) for line in path.read_bytes().split(b"\n") if line]
    return spark.createDataFrame(rows, "line binary, kafka_at timestamp").repartition(2)


def test_a_common_line_is_read_field_by_field(spark: SparkSession) -> None:
    (row,) = parsed(spark, GOOD)
    assert row.reason is None
    assert row.requested_at == datetime(1995, 7, 9, 4, 0, 7)
    assert row.requested_local == datetime(1995, 7, 9, 0, 0, 7)
    assert (row.host, row.ident, row.user_name, row.utc_offset_min) == ("piweba3y.prodigy.com", None, None, -240)
    assert (row.method, row.path, row.protocol) == ("GET", "/images/NASA.gif", "HTTP/1.0")
    assert (row.status, row.bytes_sent, row.format, row.flags) == (200, 363, "common", [])


def test_a_combined_line_has_referrer_and_agent(spark: SparkSession) -> None:
    line = (
        rb'10.0.0.1 id frank [17/May/2015:10:05:03 +0530] "POST /a?b=1 HTTP/1.1" 302 - '
        rb'"http://example.com/" "Mozilla/5.0 (X11)"'
    )
    (row,) = parsed(spark, line)
    assert (row.reason, row.format) == (None, "combined")
    assert (row.ident, row.user_name, row.utc_offset_min) == ("id", "frank", 330)
    assert row.requested_at == datetime(2015, 5, 17, 4, 35, 3)
    assert (row.method, row.path, row.status, row.bytes_sent) == ("POST", "/a?b=1", 302, None)
    assert (row.referrer, row.user_agent) == ("http://example.com/", "Mozilla/5.0 (X11)")


@pytest.mark.parametrize(
    ("request_line", "method", "path", "protocol", "flags"),
    [
        (b"GET /old.html", "GET", "/old.html", None, ["no_protocol"]),
        (b"GET /ksc.html NASA home HTTP/1.0", "GET", "/ksc.html NASA home", "HTTP/1.0", ["space_in_path"]),
        (b"GET / HTTP/V1.0", "GET", "/", "HTTP/V1.0", ["odd_protocol"]),
        (b"BREW /pot HTTP/1.1", None, "BREW /pot", "HTTP/1.1", ["space_in_path", "odd_method"]),
        (b"-", None, None, None, ["empty_request"]),
        (b"", None, None, None, ["empty_request"]),
        (b"\\x16\\x03\\x01\\x02", None, None, None, ["tls_request"]),
        (b"nonsense", None, None, None, ["no_protocol", "odd_method"]),
    ],
)
def test_an_odd_request_is_kept_and_flagged(
    spark: SparkSession, request_line: bytes, method: str, path: str, protocol: str, flags: list[str]
) -> None:
    (row,) = parsed(spark, GOOD.replace(b"GET /images/NASA.gif HTTP/1.0", request_line))
    assert row.reason is None
    assert (row.method, row.path, row.protocol, row.flags) == (method, path, protocol, flags)
    assert row.request == request_line.decode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b"   \r", "empty"),
        (b"x" * (16 * 1024 + 1), "too_long"),
        (b"\x16\x03\x01\x02\x00\x01", "tls_bytes"),
        (b"alyssa.p", "no_request"),
        (b"\xff\xfe\x00", "no_request"),
        (b"\x00" * 100, "no_request"),
        (GOOD.replace(b"Jul", b"Xxx"), "bad_time"),
        (GOOD.replace(b"09/Jul", b"31/Feb"), "bad_time"),
        (GOOD.replace(b"-0400", b"EDT"), "bad_time"),
        (GOOD.replace(b" 200 ", b" abc "), "bad_status"),
        (GOOD.replace(b" 363", b" many"), "bad_bytes"),
        (GOOD.replace(b" 363", b" -5"), "bad_bytes"),
        (b'"' * 8000, "no_request"),
    ],
)
def test_an_unreadable_line_has_a_reason(spark: SparkSession, line: bytes, reason: str) -> None:
    assert [row.reason for row in parsed(spark, line)] == [reason]


def test_every_reason_is_a_declared_one_and_reached(spark: SparkSession) -> None:
    assert set(access_log.REASONS) >= {"empty", "too_long", "tls_bytes", "no_request", "bad_time", "bad_status"}
    (row,) = parsed(spark, b' - - [09/Jul/1995:00:00:07 -0400] "GET / HTTP/1.0" 200 1')
    assert row.reason == "no_host"


def test_quotes_inside_fields_are_read_by_the_possessive_pattern(spark: SparkSession) -> None:
    escaped = b'h - - [09/Jul/1995:00:00:07 -0400] "GET /a?q=\\"x\\" HTTP/1.0" 200 5 "-" "say \\"hi\\""'
    bare = b'h - - [09/Jul/1995:00:00:07 -0400] "GET /a"b HTTP/1.0" 200 5'
    first, second = parsed(spark, escaped, bare)
    assert (first.reason, first.path, first.user_agent, first.flags) == (
        None, '/a?q=\\"x\\"', 'say \\"hi\\"', ["inner_quote"],
    )  # fmt: skip
    assert second.reason is None or second.reason == "no_request"


def test_four_thousand_escaped_quotes_do_not_overflow_the_stack(spark: SparkSession) -> None:
    line = GOOD.replace(b"/images/NASA.gif", b'\\"' * 4000)
    (row,) = parsed(spark, line)
    assert (row.reason, row.status) == (None, 200)


def test_a_carriage_return_belongs_to_the_line_end(spark: SparkSession) -> None:
    plain, returned = parsed(spark, GOOD, GOOD + b"\r")
    assert plain[3:] == returned[3:]


def test_invalid_utf8_is_repaired_and_flagged(spark: SparkSession) -> None:
    (row,) = parsed(spark, GOOD.replace(b"NASA.gif", b"caf\xe9.gif"))
    assert (row.reason, row.flags, row.path) == (None, ["utf8_repaired"], "/images/caf\ufffd.gif")


def test_a_line_wrapped_in_quotes_is_unwrapped(spark: SparkSession) -> None:
    plain, wrapped = parsed(spark, GOOD, b'"' + GOOD + b'"')
    assert (wrapped.reason, wrapped.flags) == (None, ["wrapped_in_quotes"])
    assert (wrapped.host, wrapped.path, wrapped.status) == (plain.host, plain.path, plain.status)


def test_future_and_ancient_times_stay_and_are_flagged(spark: SparkSession) -> None:
    soon = (ARRIVED_AT + timedelta(minutes=9)).strftime("%d/%b/%Y:%H:%M:%S +0000").encode()
    late = (ARRIVED_AT + timedelta(minutes=11)).strftime("%d/%b/%Y:%H:%M:%S +0000").encode()
    time = b"09/Jul/1995:00:00:07 -0400"
    rows = parsed(
        spark, GOOD.replace(time, soon), GOOD.replace(time, late), GOOD.replace(time, b"01/Jan/1970:00:00:00 +0000")
    )
    assert [row.flags for row in rows] == [[], ["future_time"], ["ancient_time"]]
    assert [row.reason for row in rows] == [None, None, None]


def test_a_month_in_capitals_and_further_fields_are_read(spark: SparkSession) -> None:
    capitals, further = parsed(spark, GOOD.replace(b"Jul", b"JUL"), GOOD + b" 0.005")
    assert (capitals.reason, capitals.requested_at) == (None, datetime(1995, 7, 9, 4, 0, 7))
    assert (further.reason, further.flags, further.format) == (None, ["extra_fields"], "common")


def test_hosts_are_compared_in_lower_case(spark: SparkSession) -> None:
    (row,) = parsed(spark, GOOD.replace(b"piweba3y.prodigy.com", b"Proxy.EXAMPLE.com"))
    assert row.host == "proxy.example.com"


def test_a_filter_on_the_reason_is_planned_at_once(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(bytearray(GOOD), ARRIVED_AT)], "line binary, kafka_at timestamp")
    refused = access_log.parse(frame).where("reason IS NOT NULL")
    plan = refused._jdf.queryExecution().optimizedPlan().toString()
    # Pushed through the projections the expression has millions of nodes, and the driver dies of it.
    assert len(plan) < 200_000
    assert refused.count() == 0


def test_the_july_morning_is_read_to_the_last_line(spark: SparkSession, samples: Path) -> None:
    path = samples / "nasa_http" / "access_09jul1995_am.log"
    rows = access_log.parse(log_file(spark, path)).cache()
    assert rows.count() == 12_430
    assert rows.where("reason IS NOT NULL").count() == 0
    flags = Counter(
        {
            row.flag: row["count"]
            for row in rows.select(F.explode("flags").alias("flag")).groupBy("flag").count().collect()
        }
    )
    assert flags == {"no_protocol": 20, "space_in_path": 21, "odd_protocol": 1}
    # Counted without our parser: the hour is text at a fixed place after the bracket, the status the last but one word.
    expected = Counter()
    for line in path.read_text(encoding="latin-1").splitlines():
        hour = re.search(r"\[\d\d/\w{3}/\d{4}:(\d\d)", line)
        assert hour
        expected[int(hour[1]), int(line.split()[-2])] += 1
    found = rows.groupBy(F.hour("requested_local").alias("hour"), "status").count().collect()
    assert {(row.hour, row.status): row["count"] for row in found} == dict(expected)


@pytest.mark.parametrize(
    ("name", "lines", "kind"),
    [
        ("nasa_http/NASA_short.log", 7_084, "common"),
        ("nasa_http/NASA_access_log_Aug95_sample.log", 1_000, "common"),
        ("apache_combined/apache_combined_first3000.log", 3_000, "combined"),
    ],
)
def test_no_line_of_the_other_samples_is_refused(
    spark: SparkSession, samples: Path, name: str, lines: int, kind: str
) -> None:
    rows = access_log.parse(log_file(spark, samples / name))
    found = rows.groupBy("reason", "format").count().collect()
    assert [(row.reason, row.format, row["count"]) for row in found] == [(None, kind, lines)]


def test_every_line_of_a_security_scan_is_kept(spark: SparkSession, shared_data: Path) -> None:
    path = shared_data / "other_access_logs" / "scan_w3af_first500_quoted.log"
    rows = access_log.parse(log_file(spark, path)).cache()
    assert rows.where("reason IS NULL AND array_contains(flags, 'wrapped_in_quotes')").count() == 500
