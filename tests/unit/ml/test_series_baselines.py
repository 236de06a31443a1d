"""Baselines of a regular series: literal rows, and the figures of protocol T1 on the shipped traffic."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from spark_apps.ml import series_baselines
from spark_apps.ml.series_baselines import SeriesBaselines
from spark_apps.ml.splitting.group_splits import FoldPlan, folds, newest_share_per_group
from spark_apps.transforms.regular_series import features
from tests.unit.ml.test_regular_series import complete, t1_features

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

#: Two slots a day: a.m. and p.m.
TRAIN = "site string, weekday int, slot int, flow double"
ASKED = "site string, weekday int, slot int, lag_1 double, lag_2 double, lag_14 double"
WEEK = {"seasonal_naive_day": "lag_2", "seasonal_naive_week": "lag_14"}
PREDICTED = (
    "mean double, group_mean double, profile double, persistence double, seasonal_naive_day double, "
    "seasonal_naive_week double, persistence_plus_profile_change double"
)


def fitted(train: DataFrame) -> SeriesBaselines:
    return series_baselines.fit(train, group="site", value="flow", slots_per_day=2, persistence="lag_1", seasonal=WEEK)


@pytest.fixture
def train(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(
        [
            # Monday has both slots, Sunday the second only.
            ("a", 1, 0, 10.0), ("a", 1, 0, 20.0), ("a", 1, 1, 40.0), ("a", 7, 1, 6.0), ("a", 7, 1, None),
            ("b", 1, 0, 100.0),
        ],
        TRAIN,
    )  # fmt: skip


def test_each_baseline_is_what_a_hand_calculation_gives(spark, train):
    # All: 176 / 5. Site a: 76 / 4.
    asked = spark.createDataFrame(
        [
            ("a", 1, 1, 30.0, 41.0, 42.0),
            # Before Monday's first slot comes Sunday's last: 15 - 6.
            ("a", 1, 0, 30.0, None, 42.0),
            # The train part has nothing on Sunday before noon: the profile says no change.
            ("a", 7, 1, 30.0, 41.0, 42.0),
            # And nothing on a Tuesday, nor of site c.
            ("a", 2, 0, 30.0, 41.0, 42.0),
            ("c", 1, 0, None, 41.0, 42.0),
        ],
        ASKED,
    )
    expected = spark.createDataFrame(
        [
            ("a", 1, 1, 30.0, 41.0, 42.0, 35.2, 19.0, 40.0, 30.0, 41.0, 42.0, 55.0),
            ("a", 1, 0, 30.0, None, 42.0, 35.2, 19.0, 15.0, 30.0, None, 42.0, 39.0),
            ("a", 7, 1, 30.0, 41.0, 42.0, 35.2, 19.0, 6.0, 30.0, 41.0, 42.0, 30.0),
            ("a", 2, 0, 30.0, 41.0, 42.0, 35.2, 19.0, 19.0, 30.0, 41.0, 42.0, 30.0),
            ("c", 1, 0, None, 41.0, 42.0, 35.2, 35.2, 35.2, None, 41.0, 42.0, None),
        ],
        f"{ASKED}, {PREDICTED}",
    )
    assertDataFrameEqual(fitted(train).predict(asked), expected)


def test_the_columns_that_are_added_are_known_by_name_and_the_mean_is_the_first(spark, train):
    found = fitted(train)
    asked = spark.createDataFrame([("a", 1, 1, 30.0, 41.0, 42.0)], ASKED)
    assert found.predict(asked).columns == [*asked.columns, *found.names]
    assert found.names[0] == "mean"


def test_baselines_that_were_stored_predict_the_same(spark, train):
    asked = spark.createDataFrame([("a", 1, 0, 30.0, 41.0, 42.0), ("b", 2, 0, 3.0, 4.0, 5.0)], ASKED)
    found = fitted(train)
    stored = SeriesBaselines.model_validate_json(found.model_dump_json())
    assert stored == found
    assertDataFrameEqual(stored.predict(asked), found.predict(asked))


def test_no_values_have_no_baselines(train):
    with pytest.raises(ValueError, match="no rows"):
        fitted(train.where("flow IS NULL"))


def test_a_series_and_its_baselines_mean_the_same_by_weekday_and_slot(spark):
    """Two whole weeks that repeat: the profile is exact, and so is its change from every slot to the next."""
    flows = {n: float((n * 7) % 13) for n in range(14)}
    start = datetime(2014, 1, 6, tzinfo=UTC)
    rows = [("a", start + timedelta(hours=12 * n), flows[n % 14]) for n in range(28)]
    frame = features(
        spark.createDataFrame(rows, "site string, starts_at timestamp, flow double"), group="site", at="starts_at",
        value="flow", step_minutes=720, lags=(1, 2, 14), rolling_means=(),
    ).dropna(subset=["flow", "lag_1"])  # fmt: skip
    predicted = fitted(frame).predict(frame)
    error = F.greatest(*[F.abs(F.col(name) - F.col("flow")) for name in ("profile", "persistence_plus_profile_change")])
    assert predicted.agg(F.count("*").alias("rows"), F.max(error).alias("error")).collect()[0].asDict() == {
        "rows": 27,
        "error": pytest.approx(0.0, abs=1e-12),
    }


@pytest.fixture(scope="module")
def traffic(_spark_session: SparkSession, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    return complete(t1_features(_spark_session, samples, tmp_path_factory.mktemp("traffic")))


def maes(train: DataFrame, holdout: DataFrame) -> dict[str, float]:
    found = series_baselines.fit(
        train, group="site", value="flow", slots_per_day=96, persistence="lag_1",
        seasonal={"seasonal_naive_day": "lag_96", "seasonal_naive_week": "lag_672"},
    )  # fmt: skip
    errors = [F.avg(F.abs(F.col(name) - F.col("flow"))).alias(name) for name in found.names]
    return found.predict(holdout).agg(*errors).collect()[0].asDict()


@pytest.mark.long
def test_the_baselines_of_protocol_t1_have_the_errors_that_were_measured_without_this_project(traffic):
    split = newest_share_per_group(traffic, group="site", at="starts_at", share=0.2)
    assert maes(split.train(traffic), split.holdout(traffic)) == {
        "mean": pytest.approx(193.30, abs=0.02),
        "group_mean": pytest.approx(152.34, abs=0.02),
        "profile": pytest.approx(41.06, abs=0.02),
        "persistence": pytest.approx(23.24, abs=0.02),
        "seasonal_naive_day": pytest.approx(51.56, abs=0.02),
        "seasonal_naive_week": pytest.approx(33.69, abs=0.02),
        "persistence_plus_profile_change": pytest.approx(19.72, abs=0.02),
    }


@pytest.mark.long
def test_rolling_origin_folds_of_protocol_t1_have_the_errors_that_were_measured_without_this_project(traffic):
    # Train on the first 50, 60, 70, 80, 90 % of each site, judge on the next 10 %.
    made = folds(traffic, FoldPlan(n_folds=5, test_share=0.1), group="site", at="starts_at")
    found = [maes(fold.train(traffic), fold.holdout(traffic)) for fold in made]
    persistence, profile = ([each[name] for each in found] for name in ("persistence", "profile"))
    assert statistics.mean(persistence) == pytest.approx(23.72, abs=0.01)
    assert statistics.stdev(persistence) == pytest.approx(0.80, abs=0.1)
    assert statistics.mean(profile) == pytest.approx(34.4, abs=0.1)
    # The last fold holds Christmas.
    assert profile[-1] == pytest.approx(43.7, abs=0.1)
