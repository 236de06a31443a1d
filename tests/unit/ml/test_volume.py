"""Minutes and features of an access log: what is zero, what is missing, and that nothing looks ahead."""

from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from contracts.pipelines.features import MinuteSeries
from spark_apps.ml import audit
from spark_apps.transforms import access_log_volume
from spark_apps.transforms.access_log_volume import features, minutes

pytestmark = pytest.mark.spark

ROWS = "requested_at timestamp, utc_offset_min int"
MINUTES = "fragment_at timestamp, minute_at timestamp, requests bigint, utc_offset_min int"
SMALL = MinuteSeries(
    kind="minute_series",
    lags_min=(1, 2),
    rolling_means_min=(3,),
    calendar=("hour", "weekday"),
    max_silence_min=30,
    edge_tolerance_s=5,
)


def at(clock: str, day: int = 9) -> datetime:
    """An instant of July 1995, UTC."""
    hour, minute, second = ([int(part) for part in clock.split(":")] + [0])[:3]
    return datetime(1995, 7, day, hour, minute, second, tzinfo=UTC)


def requests(spark, *instants: datetime, offset: int = -240) -> DataFrame:
    return spark.createDataFrame([(instant, offset) for instant in instants], ROWS)


def series(rows: DataFrame) -> DataFrame:
    return minutes(rows, max_silence_min=30, edge_tolerance_s=5)


def test_silent_minutes_inside_a_log_are_zero(spark):
    # Order of rows does not matter; both edges lie within the tolerance, so both minutes count as seen whole.
    rows = requests(spark, at("4:03:57"), at("4:00:05"), at("4:00:30"), at("4:01:10"))
    assertDataFrameEqual(
        series(rows),
        spark.createDataFrame(
            [
                (at("4:00"), at("4:00"), 2, -240),
                (at("4:00"), at("4:01"), 1, -240),
                (at("4:00"), at("4:02"), 0, None),
                (at("4:00"), at("4:03"), 1, -240),
                # The minute that comes next: nobody has seen it.
                (at("4:00"), at("4:04"), None, None),
            ],
            MINUTES,
        ),
    )


def test_a_minute_that_was_seen_in_part_is_missing_and_not_small(spark):
    rows = requests(spark, at("4:00:06"), at("4:00:59"), at("4:01:00"), at("4:02:54"))
    assertDataFrameEqual(
        series(rows),
        spark.createDataFrame(
            [
                (at("4:00"), at("4:00"), None, -240),
                (at("4:00"), at("4:01"), 1, -240),
                # The last minute may still go on, so it is the one that comes next.
                (at("4:00"), at("4:02"), None, -240),
            ],
            MINUTES,
        ),
    )


def test_a_silence_of_thirty_minutes_is_bridged_and_a_longer_one_is_a_gap(spark):
    bridged = series(requests(spark, at("4:00:00"), at("4:31:59")))
    split = series(requests(spark, at("4:00:00"), at("4:32:59")))
    count = [
        F.countDistinct("fragment_at").alias("fragments"),
        F.sum((F.col("requests") == 0).cast("int")).alias("zeros"),
    ]
    assert bridged.agg(*count).collect()[0].asDict() == {"fragments": 1, "zeros": 30}
    # Both ends of each piece are lone minutes: 4:00 begins and does not end whole, 4:32 ends and does not begin whole.
    assertDataFrameEqual(
        split,
        spark.createDataFrame(
            [
                (at("4:00"), at("4:00"), None, -240),
                (at("4:32"), at("4:32"), None, -240),
                (at("4:32"), at("4:33"), None, None),
            ],
            MINUTES,
        ),
    )


def test_features_come_from_earlier_minutes_of_the_same_fragment(spark):
    first = [at("4:00:00"), *[at("4:01:10")] * 4, *[at("4:02:20")] * 7, at("4:03:59")]
    second = [at("6:00:00"), at("6:01:59")]
    got = features(requests(spark, *first, *second), SMALL)
    expected = spark.createDataFrame(
        [
            (at("4:00"), at("4:00"), 1, None, None, None, 0.0, 1.0, 7),
            (at("4:01"), at("4:00"), 4, 1.0, None, 1.0, 0.004363309285, 0.999990480721, 7),
            (at("4:02"), at("4:00"), 7, 4.0, 1.0, 2.5, 0.008726535498, 0.999961923064, 7),
            (at("4:03"), at("4:00"), 1, 7.0, 4.0, 4.0, 0.013089595571, 0.999914327574, 7),
            (at("4:04"), at("4:00"), None, 1.0, 7.0, 4.0, 0.017452406437, 0.999847695156, 7),
            # The second fragment knows nothing of the first. Two hours later: 2:00 in the log's zone.
            (at("6:00"), at("6:00"), 1, None, None, None, 0.5, 0.866025403784, 7),
            (at("6:01"), at("6:00"), 1, 1.0, None, 1.0, 0.503774, 0.863835, 7),
            (at("6:02"), at("6:00"), None, 1.0, 1.0, 1.0, 0.507538, 0.861629, 7),
        ],
        "minute_at timestamp, fragment_at timestamp, requests bigint, lag_1 double, lag_2 double, mean_3 double, "
        "hour_sin double, hour_cos double, weekday int",
    )
    assertDataFrameEqual(got, expected, rtol=1e-5, atol=1e-6)


def test_a_minute_seen_in_part_is_no_lag_and_no_part_of_a_mean(spark):
    rows = requests(spark, at("4:00:40"), *[at("4:01:10")] * 4, *[at("4:02:20")] * 7, at("4:03:10"))
    got = features(rows, SMALL).select("minute_at", "requests", "lag_1", "lag_2", "mean_3")
    expected = spark.createDataFrame(
        [
            (at("4:00"), None, None, None, None),
            (at("4:01"), 4, None, None, None),
            (at("4:02"), 7, 4.0, None, 4.0),
            (at("4:03"), None, 7.0, 4.0, 5.5),
        ],
        "minute_at timestamp, requests bigint, lag_1 double, lag_2 double, mean_3 double",
    )
    assertDataFrameEqual(got, expected)


def test_the_calendar_follows_the_zone_as_it_was_known_a_minute_ago(spark):
    early = requests(spark, at("4:00:00"), at("4:01:30"), offset=-240)
    moved = requests(spark, at("4:02:10"), at("4:03:59"), offset=-180)
    got = features(early.unionAll(moved), SMALL).select("minute_at", "hour_cos").orderBy("minute_at")
    hours = [round(row["hour_cos"], 2) for row in got.collect()]
    # 0 h until 4:02, whose own offset is not known before it, then 1 h.
    assert hours == [1.0, 1.0, 1.0, 0.96, 0.96]


def busy_morning(spark) -> DataFrame:
    """Three hours with a number of requests in each minute that never repeats the one before."""
    start = at("4:00:00")
    return requests(
        spark,
        *[start + timedelta(minutes=m, seconds=s) for m in range(180) for s in range(0, 60, 3 + (m * m) % 11)],
        at("6:59:59"),
    )


def looking_ahead(spark, make) -> list[str]:
    rows = busy_morning(spark)
    return audit.columns_looking_ahead(
        rows, make, occurred="requested_at", key="minute_at", columns=SMALL.columns, at=F.lit(at("5:30"))
    )


def test_no_feature_looks_ahead(spark):
    assert looking_ahead(spark, lambda rows: features(rows, SMALL)) == []


@pytest.mark.parametrize(("start", "end"), [(-2, 0), (1, 1)])
def test_a_planted_look_ahead_is_caught_by_its_name(spark, start, end):
    frame = Window.partitionBy("fragment_at").orderBy("minute_at").rowsBetween(start, end)

    def leaking(rows: DataFrame) -> DataFrame:
        return features(rows, SMALL).withColumn("mean_3", F.avg("requests").over(frame))

    assert looking_ahead(spark, leaking) == ["mean_3"]


def test_a_row_that_the_future_makes_vanish_is_caught(spark):
    def leaking(rows: DataFrame) -> DataFrame:
        busiest = rows.groupBy(F.date_trunc("minute", "requested_at")).count().agg(F.max("count")).collect()[0][0]
        return features(rows, SMALL).where(
            F.col("minute_at") > F.lit(at("4:00")) + F.make_interval(mins=F.lit(busiest))
        )

    assert looking_ahead(spark, leaking) == SMALL.columns


@pytest.mark.parametrize("last", [0, -1])
def test_a_window_frame_that_ends_at_the_minute_itself_cannot_be_written(last):
    with pytest.raises(ValueError, match="earlier minutes only"):
        access_log_volume._past(5, last)


def test_a_log_without_rows_has_no_minutes(spark):
    assert features(requests(spark), SMALL).count() == 0
