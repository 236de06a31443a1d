"""Hosts of an access log by what they did: literal rows, and the shipped log counted a second time in plain Python."""

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from contracts import pipelines
from contracts.pipelines.features import Visitors
from spark_apps.ml import features as ml_features
from spark_apps.transforms import access_log
from spark_apps.transforms.access_log_visitors import features
from tests.unit.lake.test_access_log_parser import log_file

pytestmark = pytest.mark.spark

SHARES = ("image", "page", "error", "head", "not_modified", "night")
ALL = Visitors(kind="visitors", min_requests=2, shares=SHARES)
ROWS = (
    "host string, requested_at timestamp, requested_local timestamp, method string, path string, status int, "
    "bytes_sent bigint, kafka_partition int, kafka_offset bigint"
)
FOUND = (
    "host string, requests bigint, resources bigint, bytes_mean double, sessions bigint, requests_per_session double, "
    "busiest_minute bigint, image_share double, page_share double, error_share double, head_share double, "
    "not_modified_share double, night_share double"
)


def asked(spark, *rows: tuple[str, str, str | None, str | None, int | None, int | None]) -> DataFrame:
    """``host, clock (UTC), method, path, status, bytes``; the log's own clock is four hours behind."""
    made = []
    for number, (host, clock, method, path, status, size) in enumerate(rows):
        at = datetime.fromisoformat(f"1995-07-09T{clock}+00:00")
        made.append((host, at, at - timedelta(hours=4), method, path, status, size, 0, number))
    return spark.createDataFrame(made, ROWS)


def test_a_host_is_described_by_all_it_did(spark):
    rows = asked(
        spark,
        # 30 minutes of silence are the same session, a second more is the next one. 03:59 is night, 10:00 UTC is 6:00.
        ("one", "09:00:10", "GET", "/a.html", 200, 100),
        ("one", "09:00:50", "GET", "/A.GIF", 200, 300),
        ("one", "09:30:50", "GET", "/a.html?again", 304, None),
        ("one", "10:00:51", "HEAD", "/missing", 404, None),
        # Nothing is known of what it asked for: unlike a page, and no size is not a small one.
        ("two", "04:00:00", None, None, None, None),
        ("two", "04:00:00", "GET", "/cgi/find.pl", 500, None),
        # Once is too seldom.
        ("three", "12:00:00", "GET", "/", 200, 5),
    )
    expected = [
        ("one", 4, 3, 200.0, 2, 2.0, 2, 0.25, 0.75, 0.25, 0.25, 0.25, 0.75),
        ("two", 2, 2, 0.0, 1, 2.0, 2, 0.0, 0.0, 0.5, 0.0, 0.0, 1.0),
    ]
    assertDataFrameEqual(features(rows, ALL), spark.createDataFrame(expected, FOUND))


def test_only_the_shares_that_were_asked_for_are_there(spark):
    few = Visitors(kind="visitors", min_requests=1, shares=("error",))
    found = features(asked(spark, ("one", "12:00:00", "GET", "/", 404, None)), few)
    assert found.columns == ["host", *few.columns]
    assert [row.error_share for row in found.collect()] == [1.0]


def test_a_log_without_rows_has_no_hosts(spark):
    found = features(asked(spark), ALL)
    assert (found.count(), found.columns) == (0, ["host", *ALL.columns])


def test_a_snapshot_of_hosts_keeps_all_of_them_and_has_no_future(spark):
    spec = pipelines.load("access_log_visitors")
    rows = asked(spark, *[("one", f"12:00:0{n}", "GET", "/", 404, None) for n in range(9)])
    built = ml_features.build(rows, spec)
    ml_features.refuse_look_ahead(rows, built, spec)
    assert ml_features.trainable(built, spec).count() == 1


LINE = re.compile(rb'^(\S+) \S+ \S+ \[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) -0400\] "(.*)" (\d+) (\d+|-)$')
MONTHS = {b"Jul": 7, b"Aug": 8}
IMAGES = (".gif", ".jpg", ".jpeg", ".xbm", ".bmp", ".png")


def counted(path: Path, min_requests: int) -> dict[str, tuple[float, ...]]:
    """The same columns of a NASA log, read by nothing that the project itself uses."""
    of_host = defaultdict(list)
    for line in path.read_bytes().splitlines():
        host, day, month, year, hour, minute, second, request, status, size = LINE.match(line).groups()
        at = datetime(int(year), MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        words = re.sub(rb" HTTP/\S+$", b"", request).split(b" ", 1)
        place = words[1].decode().strip().split("?")[0]
        of_host[host.decode().lower()].append((at, words[0], place, int(status), None if size == b"-" else int(size)))
    found = {}
    for host, hits in of_host.items():
        if len(hits) < min_requests:
            continue
        n, times = len(hits), sorted(hit[0] for hit in hits)
        visits = 1 + sum(
            after - before > timedelta(minutes=30) for before, after in zip(times, times[1:], strict=False)
        )
        sizes = [hit[4] for hit in hits if hit[4] is not None]
        names = [hit[2].rsplit("/", 1)[-1].lower() for hit in hits]
        tests = {
            "image": [name.endswith(IMAGES) for name in names],
            "page": ["." not in name or name.endswith((".html", ".htm")) for name in names],
            "error": [hit[3] >= 400 for hit in hits],
            "head": [hit[1] == b"HEAD" for hit in hits],
            "not_modified": [hit[3] == 304 for hit in hits],
            "night": [hit[0].hour < 6 for hit in hits],
        }
        busiest = max(Counter(at.replace(second=0) for at in times).values())
        found[host] = (
            n, len({hit[2] for hit in hits}), sum(sizes) / len(sizes) if sizes else 0.0, visits, n / visits, busiest,
            *[sum(tests[share]) / n for share in SHARES],
        )  # fmt: skip
    return found


@pytest.mark.long
def test_the_shipped_log_is_what_a_second_count_finds(spark, samples):
    path = samples / "nasa_http" / "NASA_short.log"
    rows = access_log.parse(log_file(spark, path)).withColumns(
        {"kafka_partition": F.lit(0), "kafka_offset": F.monotonically_increasing_id()}
    )
    found = {row.host: tuple(row)[1:] for row in features(rows, ALL).collect()}
    expected = counted(path, ALL.min_requests)
    assert len(found) > 500
    assert {host: pytest.approx(values, abs=1e-9) for host, values in expected.items()} == found
