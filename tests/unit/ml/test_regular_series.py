"""Features of a regular series: a step is not a row, what is missing stays missing, and nothing looks ahead."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyspark.errors import PySparkException
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from spark_apps.ml import audit
from spark_apps.ml.splitting.group_splits import newest_share_per_group
from spark_apps.transforms.regular_series import features, off_the_grid, repeated_instants

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

#: Protocol T1 of the reference figures.
LAGS, MEANS = (1, 2, 3, 4, 96, 672), (4, 96)
T1_COLUMNS = [*(f"lag_{n}" for n in LAGS), *(f"mean_{n}" for n in MEANS)]
COUNTS = "site string, starts_at timestamp, flow double"
SMALL = (
    "site string, starts_at timestamp, flow double, lag_1 double, lag_2 double, mean_2 double, slot int, weekday int"
)

Made = Callable[..., "DataFrame"]


def at(clock: str, day: int = 6) -> datetime:
    """An instant of January 2014, which began on a Wednesday."""
    hour, minute = (int(part) for part in clock.split(":"))
    return datetime(2014, 1, day, hour, minute, tzinfo=UTC)


def small(rows: DataFrame) -> DataFrame:
    return features(rows, group="site", at="starts_at", value="flow", step_minutes=15, lags=(1, 2), rolling_means=(2,))


def t1_features(spark: SparkSession, samples: Path, folder: Path) -> DataFrame:
    """Features of protocol T1 of the shipped files, which are read by nothing that the project itself uses."""
    counts = []
    for path in sorted((samples / "uk_traffic").glob("*.csv.gz")):
        site = "30013683" if path.name.startswith("a40") else path.name.split("_Site_")[1].split("_")[0].split(".")[0]
        with gzip.open(path, "rt", newline="") as file:
            for row in csv.reader(file):
                if row and row[0][:2].isdigit() and "/" in row[0]:
                    day, month, year = (int(part) for part in row[0].split("/"))
                    hour, minute, _ = (int(part) for part in row[1].split(":"))
                    begins_at = datetime(year, month, day, hour, minute, tzinfo=UTC)
                    counts.append((site, begins_at, float(row[3]) if row[3].strip() else None))
    columns = dict(zip(("site", "starts_at", "flow"), zip(*counts, strict=True), strict=True))
    types = pa.schema([("site", pa.string()), ("starts_at", pa.timestamp("us", tz="UTC")), ("flow", pa.float64())])
    parquet.write_table(pa.table({name: list(column) for name, column in columns.items()}, types), folder / "rows")
    made = features(
        spark.read.parquet(str(folder / "rows")), group="site", at="starts_at", value="flow", step_minutes=15,
        lags=LAGS, rolling_means=MEANS,
    )  # fmt: skip
    # Written, so that it is computed once and not by every test.
    made.write.parquet(str(folder / "features"))
    return spark.read.parquet(str(folder / "features"))


def complete(frame: DataFrame) -> DataFrame:
    return frame.dropna(subset=["flow", *T1_COLUMNS])


@pytest.fixture(scope="module")
def traffic(_spark_session: SparkSession, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    return t1_features(_spark_session, samples, tmp_path_factory.mktemp("traffic"))


@pytest.fixture
def counts(spark: SparkSession) -> Made:
    """Makes rows of one site from clock times and flows."""

    def make(*flows: tuple[datetime, float | None], site: str = "a") -> DataFrame:
        return spark.createDataFrame([(site, *each) for each in flows], COUNTS)

    return make


def test_lags_and_means_are_steps_of_time_and_never_reach_across_a_gap(spark, counts):
    # There is no row at 9:30.
    rows = counts((at("9:00"), 1.0), (at("9:15"), 2.0), (at("9:45"), 4.0), (at("10:00"), 5.0))
    expected = [
        ("a", at("9:00"), 1.0, None, None, None, 36, 1),
        ("a", at("9:15"), 2.0, 1.0, None, None, 37, 1),
        ("a", at("9:45"), 4.0, None, 2.0, None, 39, 1),
        ("a", at("10:00"), 5.0, 4.0, None, None, 40, 1),
        # The quarter after the last one: there to be forecast.
        ("a", at("10:15"), None, 5.0, 4.0, 4.5, 41, 1),
    ]
    assertDataFrameEqual(small(rows), spark.createDataFrame(expected, SMALL))


def test_each_group_has_its_own_past_and_its_own_end_whatever_the_order_of_rows(spark):
    # Site 7 runs backwards and begins at mid-day, with flows that were imputed; site 8 ends an hour earlier.
    rows = [(7, at("12:30"), 2.25), (8, at("11:15"), 9.0), (7, at("12:15"), 1.5), (8, at("11:00"), 8.0)]
    expected = [
        ("7", at("12:15"), 1.5, None, None, None, 49, 1),
        ("7", at("12:30"), 2.25, 1.5, None, None, 50, 1),
        ("7", at("12:45"), None, 2.25, 1.5, 1.875, 51, 1),
        ("8", at("11:00"), 8.0, None, None, None, 44, 1),
        ("8", at("11:15"), 9.0, 8.0, None, None, 45, 1),
        ("8", at("11:30"), None, 9.0, 8.0, 8.5, 46, 1),
    ]
    made = small(spark.createDataFrame(rows, "site int, starts_at timestamp, flow double"))
    assertDataFrameEqual(made, spark.createDataFrame(expected, SMALL))


def test_a_row_without_a_value_is_no_lag_and_no_part_of_a_mean(spark, counts):
    rows = counts((at("9:00"), 1.0), (at("9:15"), None), (at("9:30"), 3.0), (at("9:45"), 4.0))
    expected = [
        ("a", at("9:00"), 1.0, None, None, None, 36, 1),
        ("a", at("9:15"), None, 1.0, None, None, 37, 1),
        ("a", at("9:30"), 3.0, None, 1.0, None, 38, 1),
        ("a", at("9:45"), 4.0, 3.0, None, None, 39, 1),
        ("a", at("10:00"), None, 4.0, 3.0, 3.5, 40, 1),
    ]
    assertDataFrameEqual(small(rows), spark.createDataFrame(expected, SMALL))


def test_the_first_slot_of_a_monday_follows_the_last_one_of_a_sunday(counts):
    made = small(counts((at("23:45", day=5), 1.0), (at("0:00", day=6), 2.0))).orderBy("starts_at")
    assert [(row.slot, row.weekday, row.lag_1) for row in made.collect()] == [(95, 7, None), (0, 1, 1.0), (1, 1, 2.0)]


@pytest.mark.parametrize("night", [datetime(2014, 3, 30, tzinfo=UTC), datetime(2014, 10, 26, tzinfo=UTC)])
def test_the_nights_on_which_clocks_change_are_nights_like_others(counts, night):
    quarters = [night + timedelta(minutes=15 * n) for n in range(16)]
    made = small(counts(*[(quarter, float(n)) for n, quarter in enumerate(quarters)])).orderBy("starts_at").collect()
    assert [row.lag_1 for row in made] == [None, *range(16)]
    assert [row.slot for row in made] == [*range(17)]


def test_rows_of_one_instant_that_agree_count_once(counts):
    rows = counts((at("9:00"), 1.0), (at("9:15"), None), (at("9:30"), 3.0))
    assertDataFrameEqual(small(rows.unionAll(rows)), small(rows))


def test_rows_of_one_instant_that_contradict_each_other_are_refused_and_listed(spark, counts):
    # 9:00 is there once, 9:15 agrees, 9:30 has two values, 9:45 a value and none, 10:00 twice none.
    rows = counts(
        (at("9:00"), 1.0), (at("9:15"), 2.0), (at("9:15"), 2.0), (at("9:30"), 3.0), (at("9:30"), 3.5),
        (at("9:45"), 4.0), (at("9:45"), None), (at("9:45"), 4.0), (at("10:00"), None), (at("10:00"), None),
    )  # fmt: skip
    assertDataFrameEqual(
        repeated_instants(rows, group="site", at="starts_at", value="flow"),
        spark.createDataFrame(
            [("a", at("9:15"), 2, False), ("a", at("9:30"), 2, True), ("a", at("9:45"), 3, True),
             ("a", at("10:00"), 2, False)],
            "site string, starts_at timestamp, rows bigint, is_contradictory boolean",
        ),
    )  # fmt: skip
    for clock in ("9:30", "9:45"):
        with pytest.raises(PySparkException, match="contradict each other"):
            small(rows.where(F.col("starts_at") == F.lit(at(clock)))).collect()


@pytest.mark.parametrize("odd", [at("9:20"), at("9:15") + timedelta(microseconds=1), None])
def test_an_instant_between_the_steps_is_refused_and_listed(counts, odd):
    rows = counts((at("9:00"), 1.0), (odd, 2.0))
    found = off_the_grid(rows, at="starts_at", step_minutes=15)
    assertDataFrameEqual(found, counts((odd, 2.0)))
    with pytest.raises(PySparkException, match="between the steps"):
        small(rows).collect()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"step_minutes": 7}, "divide the day"),
        ({"step_minutes": 0}, "divide the day"),
        ({"lags": (1, 0)}, "earlier steps only"),
        ({"rolling_means": (-4,)}, "earlier steps only"),
    ],
)
def test_a_feature_that_is_not_of_the_past_cannot_be_asked_for(counts, wrong, said):
    asked = {"step_minutes": 15, "lags": (1,), "rolling_means": (2,)} | wrong
    with pytest.raises(ValueError, match=said):
        features(counts((at("9:00"), 1.0)), group="site", at="starts_at", value="flow", **asked)


def day(counts: Made) -> DataFrame:
    """A day of quarters whose flow never repeats the one before, one of them missing and one without a flow."""
    flows = [(at("0:00") + timedelta(minutes=15 * n), float(n * n % 37 + 1)) for n in range(96) if n != 40]
    return counts(*[(instant, None if instant == at("11:15") else flow) for instant, flow in flows])


def looking_ahead(counts: Made, make: Callable[[DataFrame], DataFrame]) -> list[str]:
    """The probe repeats rows; here a row that is there three times has three times the flow."""

    def make_of_sums(rows: DataFrame) -> DataFrame:
        return make(rows.groupBy("site", "starts_at").agg(F.sum("flow").alias("flow")))

    return audit.columns_looking_ahead(
        day(counts), make_of_sums, occurred="starts_at", key="starts_at",
        columns=["lag_1", "lag_2", "mean_2", "slot", "weekday"], at=F.lit(at("12:00")),
    )  # fmt: skip


def test_no_feature_looks_ahead(counts):
    assert looking_ahead(counts, small) == []


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (1, 1)])
def test_a_planted_look_ahead_is_caught_by_its_name(counts, start, end):
    frame = Window.partitionBy("site").orderBy("starts_at").rowsBetween(start, end)
    leaking = looking_ahead(counts, lambda rows: small(rows).withColumn("mean_2", F.avg("flow").over(frame)))
    assert leaking == ["mean_2"]


def test_a_quarter_is_forecast_from_the_same_features_that_training_sees_later(counts):
    rows = day(counts)
    later = small(rows).drop("flow")
    # Before and after the missing quarter at 10:00 and the blank one at 11:15; nothing to forecast without a quarter.
    instants = [at(clock) for clock in ("9:45", "11:15", "11:30", "11:45", "12:00", "18:30")]
    forecast = [
        small(rows.where(F.col("starts_at") < F.lit(instant))).where(F.col("starts_at") == F.lit(instant)).drop("flow")
        for instant in instants
    ]
    assertDataFrameEqual(reduce(lambda a, b: a.unionAll(b), forecast), later.where(F.col("starts_at").isin(instants)))


@pytest.mark.long
def test_the_shipped_traffic_has_the_rows_of_protocol_t1(traffic):
    assert traffic.columns == ["site", "starts_at", "flow", *T1_COLUMNS, "slot", "weekday"]
    # 385,536 quarters and one to forecast at each of the nine sites; 104 quarters have no flow.
    found = traffic.agg(
        F.count("*").alias("rows"), F.count("flow").alias("flows"), F.count_distinct("site").alias("sites")
    )
    assert found.collect()[0].asDict() == {"rows": 385_536 + 9, "flows": 385_536 - 104, "sites": 9}
    assert complete(traffic).count() == 378_792


@pytest.mark.long
def test_every_site_of_the_shipped_traffic_can_be_forecast(traffic):
    last = F.max("starts_at").over(Window.partitionBy("site"))
    following = traffic.withColumn("last", last).where(F.col("starts_at") == F.col("last"))
    assert following.where(F.col("flow").isNull()).dropna(subset=T1_COLUMNS).count() == 9


@pytest.mark.long
def test_persistence_has_the_error_of_protocol_t1(traffic):
    frame = complete(traffic)
    split = newest_share_per_group(frame, group="site", at="starts_at", share=0.2)
    assert (split.train_rows, split.holdout_rows) == (303_039, 75_753)
    error = F.avg(F.abs(F.col("flow") - F.col("lag_1"))).alias("mae")
    found = split.holdout(frame).agg(F.count("*").alias("rows"), error).collect()[0]
    assert found["rows"] == 75_753
    assert found["mae"] == pytest.approx(23.24, abs=0.01)
    assert split.train(frame).count() == 303_039
