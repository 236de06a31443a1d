"""One way of counting for frames, files and streams: the same rows make the same counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from contracts import pipelines
from contracts.pipelines.drift import DriftPolicy
from spark_apps.io import profiles
from spark_apps.ml.drift import bins, sketches, window
from spark_apps.ml.drift.bins import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

START = datetime(2026, 11, 2, tzinfo=UTC)
ROWS = 2000


@pytest.fixture(scope="module")
def stored(_spark_session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of two sites in four files, unsorted, with nulls."""
    random = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "site": random.choice(["a", "b"], ROWS),
            "at": [START + timedelta(minutes=int(m)) for m in random.integers(0, 3 * 1440, ROWS)],
            "flow": np.where(random.random(ROWS) < 0.05, np.nan, random.gamma(2, 100, ROWS)),
            "lane": random.choice(["left", "right", "slow"], ROWS),
        }
    )
    folder = tmp_path_factory.mktemp("stored") / "rows"
    schema = "site string, at timestamp, flow double, lane string"
    _spark_session.createDataFrame(frame, schema).repartition(4).write.parquet(folder.as_uri())
    return folder


@pytest.fixture
def rows(spark: SparkSession, stored: Path) -> DataFrame:
    return spark.read.parquet(stored.as_uri())


@pytest.fixture
def plan(rows: DataFrame) -> Plan:
    columns = bins.of_sample(rows.select("flow", "lane").toArrow())
    return Plan(columns=columns, by="site", ordered_by="at", block_s=86_400)


def same(one: sketches.Sketch, other: sketches.Sketch) -> bool:
    return one.counts.keys() == other.counts.keys() and all(
        (one.counts[key] == other.counts[key]).all() for key in one.counts
    )


def test_files_are_counted_as_the_frame_of_them_is(spark, stored, rows, plan):
    of_frame = sketches.count(rows, plan)
    of_files = profiles.count_files(spark, sorted(map(str, stored.glob("*.parquet"))), plan)
    assert same(of_frame, of_files)
    assert of_frame.groups == ["a", "b"]
    assert of_frame.of("flow", "a").shape[0] == 3
    assert sum(int(sum(counts)) for counts in of_frame.counts.values()) == 2 * ROWS
    assert profiles.count_files(spark, [], plan).counts == {}


def test_a_stream_counts_to_the_same_as_the_batch(spark, stored, rows, plan, tmp_path):
    made = []
    stream = spark.readStream.schema(rows.schema).option("maxFilesPerTrigger", 1).parquet(stored.as_uri())
    query = (
        sketches.counted(stream, plan)
        .writeStream.foreachBatch(lambda batch, _: made.append(sketches.added(batch.collect(), plan)))
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    assert len(made) == 4
    merged = made[0] + made[1] + made[2] + made[3]
    assert same(merged, sketches.count(rows, plan))


def test_the_newest_rows_are_those_of_each_group(spark, rows):
    spec = pipelines.load("uk_traffic").model_copy(update={"ordered_by": "at"})
    policy = DriftPolicy(cron="0 4 * * 1", window_days=1, block_hours=24, by="site")
    late = rows.where("site = 'a'").unionByName(rows.where("site = 'b' and at < '2026-11-03'"))
    found = window.newest(late, spec, policy).groupBy("site").agg({"at": "min"}).collect()
    first = {row["site"]: row["min(at)"] for row in found}
    assert first["a"] >= datetime(2026, 11, 3, 23, 0)
    assert first["b"] < datetime(2026, 11, 2, 1, 0)


def test_rows_of_a_series_are_new_after_the_last_that_the_reference_has(spark):
    spec, policy = pipelines.load("uk_traffic"), DriftPolicy(cron="0 4 * * 1", block_hours=24, by="site")
    quarter, schema = timedelta(minutes=15), "site string, starts_at timestamp"
    known = spark.createDataFrame([("a", START), ("a", START + 2 * quarter), ("b", START)], schema)
    later = START + 3 * quarter
    # Two quarters of site a lacked something when the snapshot was made.
    old = [("a", START - quarter), ("a", START), ("a", START + quarter)]
    now = [*old, ("a", later), ("b", START + quarter), ("c", START)]
    found = window.unknown(spark.createDataFrame(now, schema), known, spec, policy).collect()
    assert sorted((row["site"], row["starts_at"]) for row in found) == [
        ("a", later.replace(tzinfo=None)), ("b", (START + quarter).replace(tzinfo=None)),
        ("c", START.replace(tzinfo=None)),
    ]  # fmt: skip


def test_of_a_table_without_an_order_rows_are_new_by_their_key(spark):
    spec, policy = pipelines.load("higgs"), DriftPolicy(cron="0 4 * * 1")
    schema = "source_sha256 string, source_line bigint"
    known = spark.createDataFrame([("a", 1), ("a", 2)], schema)
    now = spark.createDataFrame([("a", 1), ("a", 3), ("b", 1)], schema)
    assert sorted(map(tuple, window.unknown(now, known, spec, policy).collect())) == [("a", 3), ("b", 1)]


def test_what_is_missing_is_counted_and_more_of_it_is_told(rows):
    shares = window.missing_shares(rows, ["flow", "lane"])
    assert shares == {"flow": pytest.approx(0.05, abs=0.02), "lane": 0.0}
    policy = DriftPolicy(cron="0 4 * * 1")
    assert window.more_missing({"flow": 0.05}, {"flow": 0.08, "lane": 0.0}, policy, rows=500) == []
    [said] = window.more_missing({}, {"flow": 0.08}, policy, rows=500)
    assert said == "flow is missing in 8.0% of the rows, before in 0.0%"
    # A series that brought nothing new has the row whose label comes with the next quarter.
    assert window.more_missing({}, {"flow": 1.0}, policy, rows=1) == []


def test_a_column_that_is_gone_or_of_another_type_is_told():
    before = {"a": "double", "b": "string", "c": "int"}
    assert window.changed_types(before, {"a": "double", "c": "string"}, ["a", "b", "c"]) == [
        "b is gone", "c was int and is string",
    ]  # fmt: skip
