"""Splitting, fitting, rating: on literal rows, and on the real morning of 9 July 1995."""

import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from contracts import pipelines
from contracts.errors import QualityGateError
from contracts.pipelines.algorithms import combinations
from spark_apps.ml import algorithms, features, scoring, training
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.fitted import Fitted
from spark_apps.ml.measuring import metrics, paired, rating, regression_errors
from spark_apps.ml.splitting import splits
from spark_apps.transforms import access_log_volume

pytestmark = pytest.mark.spark

SPEC = pipelines.load("access_log_volume")
NOON = datetime(1995, 7, 9, 12, tzinfo=UTC)
SECONDS = "requests_per_second_1995-07-01_07-07.txt"
MONTHS = {"Jul": 7, "Aug": 8}


def minute(n: int) -> datetime:
    return NOON + timedelta(minutes=n)


def numbered(spark, n: int) -> DataFrame:
    """Rows at consecutive minutes, stored newest first."""
    return spark.createDataFrame([(minute(i), i) for i in reversed(range(n))], "minute_at timestamp, requests bigint")


def log_rows(spark, path: Path) -> DataFrame:
    """``requested_at, utc_offset_min`` of a Common log, read by nothing that the project itself uses."""
    found = []
    for line in path.read_bytes().splitlines():
        when = re.search(rb"\[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\]", line)
        assert when, line
        day, month, year, hour, minutes, second, sign, east_h, east_m = (part.decode() for part in when.groups())
        offset = (int(east_h) * 60 + int(east_m)) * (-1 if sign == "-" else 1)
        local = datetime(int(year), MONTHS[month], int(day), int(hour), int(minutes), int(second), tzinfo=UTC)
        found.append((local - timedelta(minutes=offset), offset))
    return spark.createDataFrame(found, "requested_at timestamp, utc_offset_min int")


@pytest.fixture(scope="module")
def morning(_spark_session, samples) -> DataFrame:
    """Features of the real morning; collected once, used by every test below."""
    built = features.build(log_rows(_spark_session, samples / "nasa_http" / "access_09jul1995_am.log"), SPEC)
    return _spark_session.createDataFrame(built.collect(), built.schema)


def fit(frame: DataFrame, columns: list[str]):
    [algorithm] = SPEC.algorithms
    return algorithms.fit(frame, SPEC, columns, algorithm, next(combinations(algorithm)))


@pytest.fixture(scope="module")
def fitted(morning) -> Fitted:
    frame = features.trainable(morning, SPEC)
    split = splits.newest_as_holdout(frame, ordered_by="minute_at", holdout_fraction=SPEC.split.holdout_fraction)
    return training.fit_and_rate(frame, split, SPEC)


def test_the_holdout_is_the_newest_part_whatever_the_order_of_rows(spark):
    split = splits.newest_as_holdout(numbered(spark, 10), ordered_by="minute_at", holdout_fraction=0.2)
    assert split == splits.TimeBounds(
        ordered_by="minute_at", train_from=minute(0), train_until=minute(7), holdout_from=minute(8),
        holdout_until=minute(9), train_rows=8, holdout_rows=2,
    )  # fmt: skip
    assertDataFrameEqual(split.train(numbered(spark, 10)), numbered(spark, 8))
    assertDataFrameEqual(
        split.holdout(numbered(spark, 10)),
        spark.createDataFrame([(minute(8), 8), (minute(9), 9)], "minute_at timestamp, requests bigint"),
    )


def test_rows_of_one_instant_are_never_cut_apart(spark):
    rows = [(minute(0),), (minute(1),), (minute(1),), (minute(1),)]
    split = splits.newest_as_holdout(
        spark.createDataFrame(rows, "at timestamp"), ordered_by="at", holdout_fraction=0.25
    )
    assert (split.train_rows, split.holdout_rows) == (1, 3)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_make_no_split_and_say_what_is_missing(spark, n):
    split = splits.newest_as_holdout(numbered(spark, n), ordered_by="minute_at", holdout_fraction=0.2)
    assert split is None
    assert training.lacking_rows(split, SPEC) == "0 rows to train on and 0 to judge on; 240 and 60 are required"


@pytest.mark.parametrize(("train", "holdout", "enough"), [(240, 60, True), (239, 60, False), (240, 59, False)])
def test_a_training_needs_enough_rows_in_both_parts(train, holdout, enough):
    split = splits.TimeBounds(
        ordered_by="minute_at", train_from=minute(0), train_until=minute(1), holdout_from=minute(2),
        holdout_until=minute(3), train_rows=train, holdout_rows=holdout,
    )  # fmt: skip
    assert (training.lacking_rows(split, SPEC) == "") is enough


def test_a_champion_is_compared_on_rows_it_has_not_seen_where_there_are_enough(spark):
    frame = numbered(spark, 10)
    split = splits.newest_as_holdout(frame, ordered_by="minute_at", holdout_fraction=0.5)
    until = {m: split.model_copy(update={"train_until": minute(m)}) for m in (4, 6, 7)}
    assert splits.unseen_by_both(frame, split, until[4], min_rows=3) == split
    assert splits.known_to(until[4], split) == ""
    narrowed = splits.unseen_by_both(frame, split, until[6], min_rows=3)
    assert (narrowed.holdout_from, narrowed.holdout_rows, narrowed.train_rows) == (minute(7), 3, 5)
    assert splits.known_to(until[6], narrowed) == ""
    assert splits.unseen_by_both(frame, split, until[7], min_rows=3) == split
    assert "was trained on rows until 1995-07-09T12:07:00+00:00; the holdout begins" in splits.known_to(until[7], split)


def test_errors_of_predictors_are_what_a_hand_calculation_gives(spark):
    frame = spark.createDataFrame([(0, 0.0), (2, 4.0), (4, 2.0)], "requests bigint, lag_1 double")
    predictors = {"mean": F.lit(2.0), "persistence": F.col("lag_1")}
    found = regression_errors.measure(frame, label="requests", predictors=predictors)
    assert list(found) == ["mean", "persistence"]
    mean, lag = found["mean"], found["persistence"]
    assert (mean.rows, mean.mae, mean.bias) == (3, pytest.approx(4 / 3), 0.0)
    assert (mean.rmse, mean.r2) == (pytest.approx(math.sqrt(8 / 3)), pytest.approx(0.0))
    # 2 [0 - (0 - 2)] + 0 + 2 [4 ln 2 - 2], over three rows.
    assert mean.poisson_deviance == pytest.approx((4 + 8 * math.log(2) - 4) / 3)
    # A prediction of 0 for 0 requests counts as half a request: 2 * 0.5 = 1.
    hit = 2 * (2 * math.log(0.5) + 2), 2 * (4 * math.log(2) - 2)
    assert lag.poisson_deviance == pytest.approx((1 + sum(hit)) / 3)
    assert (lag.mae, lag.r2) == (pytest.approx(4 / 3), pytest.approx(1 - 8 / 8))


def test_a_constant_label_has_no_r2_and_no_rows_have_no_errors(spark):
    frame = spark.createDataFrame([(3, 1.0), (3, 5.0)], "requests bigint, lag_1 double")
    found = regression_errors.measure(frame, label="requests", predictors={"persistence": F.col("lag_1")})
    assert found["persistence"].r2 is None
    assert "r2" not in found["persistence"].numbers()
    with pytest.raises(ValueError, match="no rows"):
        regression_errors.measure(frame.limit(0), label="requests", predictors={"persistence": F.col("lag_1")})


def test_the_table_for_people_begins_with_the_baselines(fitted):
    table = metrics.table(fitted.errors, SPEC)
    assert [row["predictor"] for row in table] == ["mean", "persistence", "rolling_mean_5", "candidate"]
    assert {row["rows"] for row in table} == {141}
    assert table[1]["skill_vs_persistence"] == 0.0


@pytest.mark.parametrize(
    ("rows", "left_out"),
    [
        (564, {"hour_sin", "hour_cos", "weekday"}),
        (2879, {"hour_sin", "hour_cos", "weekday"}),
        (2880, {"weekday"}),
        (20159, {"weekday"}),
        (20160, set()),
    ],
)
def test_calendar_columns_wait_until_their_cycle_was_seen_twice(rows, left_out):
    assert set(SPEC.features.columns) - set(features.model_columns(SPEC, rows)) == left_out


def test_every_kind_of_column_reaches_the_model(spark, morning):
    frame = features.trainable(morning, SPEC)
    model = fit(frame, SPEC.features.columns)
    numbers, everything = (stage.getInputCols() for stage in model.stages if type(stage).__name__ == "VectorAssembler")
    assert len(numbers) == 9 + 2
    assert {"log_lag_1", "log_mean_60", "in_hour_sin"} <= set(numbers)
    assert everything == ["scaled", "is_weekday"]
    # A Sunday: weekdays 0 to 7, and what is unknown is all zeros.
    assert model.stages[-1].numFeatures == 11 + 8
    predicted = model.transform(frame).agg(F.min(PREDICTION), F.count(PREDICTION)).collect()[0]
    assert predicted[0] > 0
    assert predicted[1] == frame.count()


def test_the_real_morning_has_720_minutes_of_which_7_are_silent(morning):
    labelled = morning.where(F.col("requests").isNotNull())
    assert labelled.count() == 720
    assert labelled.where("requests = 0").count() == 7
    assert labelled.agg(F.sum("requests")).collect()[0][0] == 12430
    # 15 minutes of the longest lag are the whole warm-up; the minute after the end can be forecast.
    assert features.trainable(morning, SPEC).count() == 705
    assert features.forecastable(morning, SPEC.features.columns).count() == 706


def test_every_minute_of_a_pieced_log_that_counts_as_seen_is_what_the_whole_log_has(spark, samples):
    nasa = samples / "nasa_http"
    built = features.build(log_rows(spark, nasa / "NASA_short.log"), SPEC)
    labelled = built.where(F.col("requests").isNotNull())
    # Pieces of 1, 3, 6, 21, 26 and 28 July with 131 minutes that have requests: both ends of most are cut.
    assert built.select("fragment_at").distinct().count() == 6
    assert labelled.where("requests > 0").count() == 120
    # Exact counts per second of the whole log, from 1 July 00:00:01 -0400 on, for seven days.
    per_second = [0, *[int(count) for count in (nasa / SECONDS).read_text().split()]]
    minutes = [(minute, sum(per_second[60 * minute : 60 * minute + 60])) for minute in range(len(per_second) // 60)]
    first = int(datetime(1995, 7, 1, 4, tzinfo=UTC).timestamp())
    whole = spark.createDataFrame([(first + 60 * m, n) for m, n in minutes], "at bigint, requests bigint")
    first_week = labelled.select(F.unix_seconds("minute_at").alias("at"), "requests").where(
        F.col("at") < first + 60 * len(minutes)
    )
    assert first_week.count() == 45
    assertDataFrameEqual(
        first_week.join(whole.select("at"), on="at", how="semi"), whole.join(first_week, ["at", "requests"], "semi")
    )
    assert features.trainable(built, SPEC).count() < SPEC.split.min_holdout_rows


def test_the_model_of_the_real_morning_beats_every_baseline(fitted):
    errors = fitted.errors
    assert fitted.columns == ["lag_1", "lag_2", "lag_3", "lag_5", "lag_10", "lag_15", "mean_5", "mean_15", "mean_60"]
    assert errors["mean"].mae == pytest.approx(12.737, abs=5e-3)
    assert errors["persistence"].mae == pytest.approx(10.184, abs=5e-3)
    assert errors["rolling_mean_5"].mae == pytest.approx(9.528, abs=5e-3)
    # A PoissonRegressor of scikit-learn on the same columns has 8.595 and 4.899.
    assert errors["candidate"].mae == pytest.approx(8.595, abs=2e-2)
    assert errors["candidate"].poisson_deviance == pytest.approx(4.899, abs=2e-2)
    assert errors["candidate"].bias == pytest.approx(-1.84, abs=2e-2)
    for baseline in SPEC.baseline_names:
        assert errors["candidate"].mae < errors[baseline].mae
        assert errors["candidate"].poisson_deviance < errors[baseline].poisson_deviance


def test_the_hour_of_a_single_morning_loses_in_rolling_validation(morning):
    """Chosen inside the training part only: train on its first 40, 55, 70, 85 %, judge on the next 15 %."""
    frame = features.trainable(morning, SPEC).orderBy("minute_at").limit(564).cache()
    instants = [row["minute_at"].astimezone(UTC) for row in frame.select("minute_at").orderBy("minute_at").collect()]
    minutes_only = features.model_columns(SPEC, len(instants))
    tried = {"minutes": minutes_only, "with hour": [*minutes_only, "hour_sin", "hour_cos"]}
    mae: dict[str, list[float]] = {name: [] for name in tried}
    for start, end in ((225, 310), (310, 394), (394, 479), (479, 564)):
        past = frame.where(F.col("minute_at") < F.lit(instants[start]))
        coming = frame.where(F.col("minute_at").between(F.lit(instants[start]), F.lit(instants[end - 1])))
        models = {name: fit(past, columns) for name, columns in tried.items()}
        errors = rating.judge(past, coming, models, SPEC).measures()
        for name in tried:
            mae[name].append(errors[name].mae)
    mean = {name: sum(found) / len(found) for name, found in mae.items()}
    assert mean["minutes"] == pytest.approx(4.89, abs=0.03)
    assert mean["with hour"] == pytest.approx(5.34, abs=0.03)


def test_a_repeat_on_rows_spread_differently_agrees_to_1e_9(spark, morning, fitted):
    frame = features.trainable(morning, SPEC)
    split = splits.newest_as_holdout(frame, ordered_by="minute_at", holdout_fraction=SPEC.split.holdout_fraction)
    other = frame.repartition(5, "lag_1").sort(F.desc("mean_5"))
    again = training.fit_and_rate(other, split, SPEC)
    pairs = zip(again.model.stages[-1].coefficients, fitted.model.stages[-1].coefficients, strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-9
    assert again.errors["candidate"].mae == pytest.approx(fitted.errors["candidate"].mae, abs=1e-9)


def test_the_holdout_does_not_touch_the_fit(morning, fitted):
    frame = features.trainable(morning, SPEC)
    split = splits.newest_as_holdout(frame, ordered_by="minute_at", holdout_fraction=SPEC.split.holdout_fraction)
    in_holdout = F.col("minute_at") >= F.lit(split.holdout_from)
    spoiled = frame.withColumn("requests", F.when(in_holdout, F.col("requests") * 7).otherwise(F.col("requests")))
    again = training.fit_and_rate(spoiled, split, SPEC)
    assert list(again.model.stages[-1].coefficients) == list(fitted.model.stages[-1].coefficients)
    assert again.errors["candidate"].mae > 2 * fitted.errors["candidate"].mae


def test_two_models_are_rated_on_the_same_rows_without_seeing_each_other(morning, fitted):
    holdout = features.trainable(morning, SPEC).where(F.col("minute_at") >= F.lit(minute(100)))
    both = rating.judge(morning, holdout, {"a": fitted.model, "b": fitted.model}, SPEC).measures()
    assert list(both) == ["mean", "persistence", "rolling_mean_5", "a", "b"]
    assert both["a"] == both["b"]


def test_forecasts_cover_each_stretch_and_the_minute_after_it(spark, fitted):
    rows = [(minute(m) + timedelta(seconds=s), 0) for m in [*range(20), *range(100, 118)] for s in (0, 30, 59)]
    made = scoring.forecast(
        spark.createDataFrame(rows, "requested_at timestamp, utc_offset_min int"), fitted.model, SPEC, fitted.columns
    )
    covered = scoring.covered(made, SPEC)
    assert [(c.first, c.last, c.rows) for c in covered] == [(minute(15), minute(20), 6), (minute(115), minute(118), 4)]
    kept = spark.createDataFrame([(minute(m),) for m in (14, 15, 20, 21, 60, 118, 119)], "minute_at timestamp")
    inside = kept.where(scoring.within(covered, SPEC))
    assertDataFrameEqual(inside, spark.createDataFrame([(minute(m),) for m in (15, 20, 118)], "minute_at timestamp"))


def test_a_transform_that_looks_ahead_stops_the_build(spark, monkeypatch):
    honest = access_log_volume.features

    def leaking(rows, series):
        made = honest(rows, series)
        return made.withColumn("lag_1", F.col("requests").cast("double"))

    rows = spark.createDataFrame(
        [(minute(m) + timedelta(seconds=s), 0) for m in range(40) for s in range(0, 60, 5 + m % 4)],
        "requested_at timestamp, utc_offset_min int",
    )
    features.refuse_look_ahead(rows, features.build(rows, SPEC), SPEC)
    monkeypatch.setattr(access_log_volume, "features", leaking)
    with pytest.raises(QualityGateError, match="columns that use the future: lag_1"):
        features.refuse_look_ahead(rows, features.build(rows, SPEC), SPEC)


def test_two_models_are_compared_by_the_error_that_the_gate_asks_for(spark):
    rows = [(datetime(2020, 1, 1, n // 60, n % 60, tzinfo=UTC), 100 if n % 10 == 0 else 0) for n in range(600)]
    frame = spark.createDataFrame(rows, "minute_at timestamp, requests int")
    ours, theirs = F.lit(10.0), F.lit(0.0)
    squared = SPEC.model_copy(update={"gate": SPEC.gate.model_copy(update={"metric": "rmse"})})
    # 9 in 10 are 10 worse and one in ten is 10 better; squared, 100 worse and 1,900 better.
    assert paired.difference(frame, SPEC, ours, theirs).mean == pytest.approx(8.0)
    assert paired.difference(frame, squared, ours, theirs).mean == pytest.approx(-100.0)


def test_a_paired_test_is_what_a_hand_calculation_gives(spark):
    # Blocks of ten minutes: losses differ by -1 and -3 in the first, by -2 in the second.
    rows = [(minute(0), 10, 9.0, 8.0), (minute(9), 10, 10.0, 7.0), (minute(10), 10, 11.0, 13.0)]
    frame = spark.createDataFrame(rows, "minute_at timestamp, requests bigint, ours double, theirs double")
    found = paired.difference(frame, SPEC, F.col("ours"), F.col("theirs"))
    assert (found.blocks, found.mean) == (2, pytest.approx((-1 - 3 - 2) / 3))
    # Sums -4 and -2 of 2 and 1 rows: each is its size times the mean, so nothing is left that differs.
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)
    swapped = paired.difference(frame, SPEC, F.col("theirs"), F.col("ours"))
    assert swapped.mean == -found.mean
    uneven = frame.where("ours <> 10")
    both = paired.difference(uneven, SPEC, F.col("ours"), F.col("theirs"))
    # Differences -1 and -2: mean -1.5, deviations 0.5; (0.5 * 2 / 1) ** 0.5 / 2.
    assert (both.mean, both.standard_error) == (-1.5, pytest.approx(0.5))
    assert (both.low, both.high) == (pytest.approx(-2.48), pytest.approx(-0.52))


def test_one_block_says_nothing_about_luck_and_no_rows_are_an_error(spark):
    frame = spark.createDataFrame([(minute(0), 1, 1.0)], "minute_at timestamp, requests bigint, ours double")
    assert paired.difference(frame, SPEC, F.col("ours"), F.lit(0.0)).high == math.inf
    with pytest.raises(ValueError, match="no rows"):
        paired.difference(frame.limit(0), SPEC, F.col("ours"), F.lit(0.0))


def test_no_more_skill_is_believed_than_counting_the_requests_of_the_real_morning_allows(morning, fitted):
    """Who knows the expected count m errs by sqrt(2 m / pi) on average where requests come independently (Poisson)."""
    frame = features.trainable(morning, SPEC)
    held = splits.of(frame, SPEC).holdout(frame)
    least = held.agg(F.avg(F.sqrt(2 * F.col("requests") / F.pi()))).first()[0]
    assert least == pytest.approx(3.9, abs=0.1)
    assert SPEC.gate.max_skill == pytest.approx(1 - least / fitted.errors["persistence"].mae, abs=0.03)


def test_the_model_of_the_real_morning_is_better_than_persistence_beyond_luck(morning, fitted):
    frame = features.trainable(morning, SPEC)
    split = splits.of(frame, SPEC)
    rated = rating.judge(split.train(frame), split.holdout(frame), {"x": fitted.model}, SPEC)
    test = rated.against("x", "persistence")
    assert test.mean == pytest.approx(fitted.errors["candidate"].mae - fitted.errors["persistence"].mae, abs=1e-9)
    assert (test.blocks, test.high < 0) == (15, True)
