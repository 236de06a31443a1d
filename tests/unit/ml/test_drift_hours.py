"""Hours of a series out of its rows: days end where the series ends, each group for itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from contracts import pipelines
from contracts.pipelines.drift import DriftPolicy
from spark_apps.ml.drift import rhythm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

LAST = datetime(1995, 7, 9, 4, 29, tzinfo=UTC)


def test_minutes_of_two_days_and_a_half_are_cells_counted_from_the_last(spark: SparkSession) -> None:
    minutes = [(LAST - timedelta(minutes=n), None if n == 3 else 2) for n in range(60 * 60)]
    frame = spark.createDataFrame(minutes, "minute_at timestamp, requests int")
    spec = pipelines.load("access_log_volume")
    found = {(cell.day, cell.hour): (cell.rows, cell.total) for cell in rhythm.cells(frame, spec, _policy(None))}
    assert {day for day, _ in found} == {0, -1, -2}
    # The last day begins at 4:30 of the day before: its hour 4 has minutes of both ends.
    assert found[0, 4] == (59, 118.0)
    assert found[-1, 4] == (60, 120.0)
    assert (-2, 16) in found
    assert (-2, 15) not in found
    assert len(rhythm.of_cells(rhythm.cells(frame, spec, _policy(None)), "requests").counts) == 2


def test_each_site_has_days_of_its_own(spark: SparkSession) -> None:
    rows = [
        (site, LAST + timedelta(hours=ahead) - timedelta(minutes=15 * n), 5.0)
        for site, ahead in (("a", 0), ("b", 5))
        for n in range(96)
    ]
    frame = spark.createDataFrame(rows, "site string, starts_at timestamp, flow double")
    found = rhythm.cells(frame, pipelines.load("uk_traffic"), _policy("site"))
    assert {(cell.group, cell.day) for cell in found} == {("a", 0), ("b", 0)}
    assert all((cell.rows, cell.total) == (4, 20.0) for cell in found)
    assert len(found) == 48


def _policy(by: str | None) -> DriftPolicy:
    return DriftPolicy(cron="0 4 * * *", block_hours=1, rhythm=True, by=by)
