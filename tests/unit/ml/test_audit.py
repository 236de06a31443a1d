"""The audit before training: every leak is planted and found, and honest data passes, real data first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.sql import Window
from pyspark.sql import functions as F

from contracts.errors import QualityGateError
from contracts.landed_files import HIGGS_FEATURES
from spark_apps.ml import audit
from spark_apps.ml.audit import Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

JANUARY = datetime(2014, 1, 1, tzinfo=UTC)
#: Measured by the detector; the other 7 of HIGGS are derived from these.
LOW_LEVEL = list(HIGGS_FEATURES[:21])


@pytest.fixture
def sample(samples: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Path of a real file: the one that ships, else the one beside the repository."""

    def find(name: str) -> str:
        shipped = samples / f"{name}.gz"
        if shipped.exists():
            return str(shipped)
        folder = {
            "uk_traffic/a40": "uk_traffic/tris_a40_al2471/a40",
            "uk_traffic/2014": "uk_traffic/tris_tmu_2014/2014",
        }
        for ours, theirs in folder.items():
            name = name.replace(ours, theirs)
        return str(request.getfixturevalue("shared_data") / name)

    return find


def higgs(spark: SparkSession, path: str, columns: list[str]) -> DataFrame:
    return spark.read.csv(path, header=True, schema=", ".join(f"{column} double" for column in columns))


def collisions(spark: SparkSession, sample: Callable[[str], str]) -> DataFrame:
    return higgs(spark, sample("higgs/higgs_rows_0_9999_rounded.csv"), ["label", *HIGGS_FEATURES])


def quarters(spark: SparkSession, path: str) -> DataFrame:
    """A TRIS report: lines before the header and the header itself are no dates."""
    schema = "day string, time string, day_type string, flow double"
    lines = spark.read.csv(path, schema=schema, ignoreLeadingWhiteSpace=True).where("flow IS NOT NULL")
    return lines.select(
        F.try_to_timestamp(F.concat_ws(" ", "day", "time"), F.lit("d/M/yyyy H:mm:ss")).alias("at"), "flow"
    )


def by_month(rows: DataFrame) -> DataFrame:
    """``month, weekday, slot, flow`` of rows with ``at``."""
    slot = F.hour("at") * 60 + F.minute("at")
    return rows.select(F.month("at").alias("month"), F.dayofweek("at").alias("weekday"), slot.alias("slot"), "flow")


def found(findings: list[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind, finding.columns) for finding in findings]


def table(spark: SparkSession, n: int = 800) -> DataFrame:
    """A two-class label, a feature that knows something of it, and many ways to know all of it."""
    random = np.random.default_rng(5)
    label = random.integers(0, 2, n)
    numbers = {
        "honest": label + random.normal(0, 0.8, n),
        "copied": np.where(label == 1, random.uniform(3, 9, n), random.uniform(-9, 3, n)),
        "in_a_band": np.where(
            label == 1, random.uniform(-1, 1, n), random.choice([-1, 1], n) * random.uniform(1, 3, n)
        ),
    }
    rows = [
        (
            int(label[i]), *[float(each[i]) for each in numbers.values()], None if label[i] else 1.0,
            f"row {i}", i * 7919 % 7907, "ab"[label[i]] + str(i % 9), ["x", "y", "z"][i % 3],
        )
        for i in range(n)
    ]  # fmt: skip
    columns = f"label int, {', '.join(f'{each} double' for each in numbers)}, gap double"
    return spark.createDataFrame(rows, f"{columns}, name string, number int, town string, colour string")


def test_features_that_tell_the_label_are_named_and_identifiers_are_not(spark):
    rows = table(spark)
    features = [column for column in rows.columns if column != "label"]
    telling = audit.determining_features(rows, features=features, label="label", task="classification")
    assert found(telling) == [
        ("determining_feature", (column,)) for column in ("copied", "in_a_band", "gap", "town")
    ]  # fmt: skip
    assert telling[2].evidence == {"balanced_accuracy": 1.0, "limit": 0.98, "rows": 800.0}
    assert telling[2].sentence == "gap alone tells label: balanced_accuracy 1.0000, limit 0.98"


def test_a_rare_class_counts_as_much_as_a_frequent_one(spark):
    place = "int(substring(name, 5)) % 40"
    rows = table(spark).withColumn("label", F.expr(f"int({place} = 0)"))
    assert audit.determining_features(rows, features=["colour", "honest"], label="label", task="classification") == []
    rare = rows.withColumn("told", F.expr(f"IF({place} < 2, 'yes', 'no')"))
    (telling,) = audit.determining_features(
        rare, features=["told"], label="label", task="classification", least_balanced_accuracy=0.95
    )
    # All of class 1 are told, and of class 0 all but one in 39.
    assert telling.evidence["balanced_accuracy"] == pytest.approx(1 - 1 / 39 / 2, abs=2e-3)


def test_a_constant_label_and_a_feature_that_is_never_there_are_no_leak(spark):
    rows = table(spark, 60).withColumn("never", F.lit(None).cast("double")).withColumn("one", F.lit(1))
    assert audit.determining_features(rows, features=["honest"], label="one", task="classification") == []
    told = audit.determining_features(rows, features=["never", "one"], label="label", task="classification")
    assert told == []


def test_the_two_leaks_of_the_jobs_file_are_found_and_nothing_else(spark, shared_data):
    path = next((shared_data / "ai_jobs_2030").glob("*.csv"))
    rows = spark.read.csv(str(path), header=True, inferSchema=True)
    features = [column for column in rows.columns if column != "Risk_Category"]
    leaks = audit.before_training(rows, features=features, label="Risk_Category", task="classification")
    assert found(leaks) == [
        ("determining_feature", ("Job_Title",)),
        ("determining_feature", ("Automation_Probability_2030",)),
    ]
    assert leaks[0].evidence["balanced_accuracy"] == pytest.approx(0.993, abs=5e-4)
    assert leaks[1].evidence["balanced_accuracy"] == 1.0
    with pytest.raises(QualityGateError, match="Job_Title alone tells Risk_Category"):
        audit.refuse("Training jobs", leaks)
    audit.refuse("Training jobs", [])


@pytest.mark.long
def test_none_of_the_28_features_of_a_collision_tells_its_label(spark, sample):
    rows = collisions(spark, sample)
    told = audit.determining_features(
        rows, features=HIGGS_FEATURES, label="label", task="classification", least_balanced_accuracy=0.65
    )
    assert told == []
    assert audit.before_training(rows, features=HIGGS_FEATURES, label="label", task="classification") == []


@pytest.mark.long
def test_the_last_quarter_of_an_hour_is_no_leak_of_the_next(spark, sample):
    sites = [
        quarters(spark, sample(f"uk_traffic/{name}.csv")).withColumn("site", F.lit(name))
        for name in ("a40_2012", "2014_TMU_Site_105_LM937")
    ]
    in_time = Window.partitionBy("site").orderBy("at")
    rows = sites[0].unionAll(sites[1]).withColumn("lag_1", F.lag("flow").over(in_time))
    rows = rows.withColumn("slot", F.hour("at") * 4).where("lag_1 IS NOT NULL")
    features = ["lag_1", "slot", "site"]
    assert audit.determining_features(rows, features=features, label="flow", task="regression") == []
    (close,) = audit.determining_features(rows, features=features, label="flow", task="regression", least_r2=0.9)
    assert close.columns == ("lag_1",)
    assert 0.96 < close.evidence["r2"] < 0.99


def test_a_copied_quantity_is_a_leak_in_any_unit_and_per_value_of_a_text(spark):
    random = np.random.default_rng(2)
    # A very long tail: the widest leaf alone would hide a tenth of the variance.
    y = np.exp(random.normal(0, 1.5, 2000)).tolist()
    rows = [(each, 3.6 * each - 7, float(random.normal()), f"town {i % 50}") for i, each in enumerate(y)]
    frame = spark.createDataFrame(rows, "y double, other_unit double, noise double, town string")
    features = ["other_unit", "noise", "town"]
    assert found(audit.determining_features(frame, features=features, label="y", task="regression")) == [
        ("determining_feature", ("other_unit",))
    ]
    per_town = frame.withColumn("y", F.length("town") + F.substring("town", 6, 2).cast("int") * 1.0)
    assert found(audit.determining_features(per_town, features=features, label="y", task="regression")) == [
        ("determining_feature", ("town",))
    ]
    gaps = frame.withColumn("other_unit", F.when(F.rand(1) < 0.5, F.col("other_unit")))
    assert audit.determining_features(gaps, features=features, label="y", task="regression") == []


def test_a_column_of_which_every_value_has_one_label_is_named(spark):
    columns = ["name", "number", "town", "colour"]
    (dependency,) = audit.functional_dependencies(table(spark, 90), columns=columns, label="label")
    assert dependency.columns == ("town",)
    assert dependency.evidence["values"] + dependency.evidence["repeats"] == 90
    rows = table(spark, 90)
    once_wrong = rows.withColumn("town", F.when(F.col("name") == "row 5", F.lit("a0b0")).otherwise(F.col("town")))
    assert len(audit.functional_dependencies(once_wrong, columns=columns, label="label")) == 1
    wrong = rows.withColumn("label", F.when(F.col("name") == "row 5", 1 - F.col("label")).otherwise(F.col("label")))
    assert audit.functional_dependencies(wrong, columns=columns, label="label") == []


def test_too_few_repeats_prove_no_dependency(spark):
    rows = [("a", 1), ("a", 1), ("b", 0), ("b", 0)]
    assert audit.functional_dependencies(spark.createDataFrame(rows, "x string, y int"), columns=["x"], label="y") == []
    # Delivered twice: an identifier of rows that repeat with their labels.
    twice = [(f"{n}", n % 7) for n in range(100)] + [(f"{n}", n % 7) for n in range(20)]
    assert (
        audit.functional_dependencies(spark.createDataFrame(twice, "x string, y int"), columns=["x"], label="y") == []
    )


def test_rows_that_are_in_train_and_holdout_are_counted(spark):
    schema = "a double, b string, label int"
    train = spark.createDataFrame([(1.0, "x", 1), (1.0, "x", 1), (2.0, None, 0), (3.0, "z", 0)], schema)
    holdout = spark.createDataFrame([(1.0, "x", 1), (2.0, None, 1), (3.0, "y", 0), (4.0, "z", 0)], schema)
    (shared,) = audit.shared_rows(train, holdout, columns=["a", "b"], label="label")
    assert shared.evidence == {"rows": 2.0, "label_agrees": 1.0}
    assert shared.sentence == "2 holdout rows are equal to training rows in all of 2 columns"
    assert audit.shared_rows(train, holdout.where("a > 2"), columns=["a", "b"], label="label") == []
    (unlabelled,) = audit.shared_rows(train, holdout, columns=["a"])
    assert unlabelled.evidence == {"rows": 3.0}


def test_near_rows_are_found_across_the_edges_of_buckets_and_only_within_the_tolerance(spark):
    schema = "a double, b double, label int"
    train = spark.createDataFrame([(0.999, 5.0, 1), (2.0, 5.0, 0), (3.0, None, 0), (-0.001, 7.0, 1)], schema)
    holdout = [(1.001, 5.004, 1), (2.0, 5.02, 0), (3.0, 1.0, 0), (0.001, 6.999, 0), (9.0, 9.0, 1)]
    frame = spark.createDataFrame(holdout, schema)
    (near,) = audit.near_duplicates(train, frame, columns=["a", "b"], tolerance=0.01, label="label")
    assert near.evidence == {"rows": 2.0, "label_agrees": 1.0}
    by_one = audit.near_duplicates(train, frame, columns=["a", "b"], tolerance=0.01, label="label", bucket_by=["b"])
    assert by_one == [near]
    assert audit.near_duplicates(train, frame, columns=["a", "b"], tolerance=0.001) == []


def test_six_collisions_of_the_test_file_are_rounded_rows_of_the_train_file(spark, sample):
    test = higgs(spark, sample("higgs/higgs_random_10984_labelled_last.csv"), [*HIGGS_FEATURES, "label"])
    train = collisions(spark, sample)
    (near,) = audit.near_duplicates(train, test, columns=LOW_LEVEL, tolerance=0.006, label="label")
    assert near.evidence == {"rows": 6.0, "label_agrees": 6.0}
    assert audit.shared_rows(train, test, columns=LOW_LEVEL) == []


def test_training_rows_from_the_holdouts_time_are_counted_by_group(spark):
    def at(*hours: int, site: str) -> list[tuple[str, datetime]]:
        return [(site, JANUARY + timedelta(hours=hour)) for hour in hours]

    schema = "site string, at timestamp"
    train = spark.createDataFrame(at(1, 2, 3, site="a") + at(10, 11, site="b"), schema)
    holdout = spark.createDataFrame(at(4, 5, site="a") + at(12, site="b"), schema)
    assert audit.time_travel(train, holdout, at="at", group=["site"]) == []
    (across,) = audit.time_travel(train, holdout, at="at")
    assert across.evidence == {"rows": 2.0}
    mixed = train.unionAll(spark.createDataFrame(at(4, 6, site="a"), schema))
    (late,) = audit.time_travel(mixed, holdout, at="at", group=["site"])
    assert (late.evidence, late.columns) == ({"rows": 2.0}, ("at", "site"))


def test_windows_that_reach_their_own_row_or_the_next_are_named(spark):
    rows = [("a", JANUARY + timedelta(minutes=15 * n), float(n * n)) for n in range(12)]
    frame = spark.createDataFrame(rows, "site string, at timestamp, flow double")
    in_time = Window.partitionBy("site").orderBy("at")

    def make(given: DataFrame) -> DataFrame:
        return given.select(
            "site", "at", F.lag("flow").over(in_time).alias("lag_1"), F.lead("flow").over(in_time).alias("next"),
            F.avg("flow").over(in_time.rowsBetween(-3, -1)).alias("mean_3"),
            F.avg("flow").over(in_time.rowsBetween(-3, 0)).alias("mean_with_itself"),
        )  # fmt: skip

    columns = ["lag_1", "next", "mean_3", "mean_with_itself"]
    ahead = audit.looking_ahead(
        frame, make, at="at", cut=F.lit(rows[6][1]), key=["site", "at"], disturb=["flow"], columns=columns
    )
    assert found(ahead) == [("look_ahead", ("next",)), ("look_ahead", ("mean_with_itself",))]
    assert [finding.evidence for finding in ahead] == [{"rows": 2.0}, {"rows": 1.0}]


def test_the_monthly_averages_of_the_old_schema_are_repeated_targets_and_counts_are_not(spark, shared_data, sample):
    path = shared_data / "uk_traffic" / "srn_old_schema" / "a40_2014Q3.csv"
    averages = spark.read.csv(str(path), header=True).select(
        (F.to_timestamp("Date", "M/d/yyyy H:mm") + F.make_dt_interval(mins=F.col("TimePeriod").cast("int") * 15)).alias(
            "at"
        ),
        F.col("Flow").cast("double").alias("flow"),
    )
    names = {"label": "flow", "period": ["month"], "within": ["weekday", "slot"]}
    (repeated,) = audit.repeated_target(by_month(averages), **names)
    assert repeated.evidence["groups"] == 2016
    assert repeated.evidence["agreement"] == pytest.approx(0.365, abs=5e-4)
    assert repeated.evidence["chance"] < 0.1
    assert audit.repeated_target(by_month(quarters(spark, sample("uk_traffic/a40_2012.csv"))), **names) == []
    # Of one month there are no other months to compare with, only the rest of the rows.
    july = by_month(averages).where("month = 7")
    assert len(audit.repeated_target(july, **names)) == 1


def test_a_label_that_repeats_everywhere_is_not_repeated_by_period(spark):
    random = np.random.default_rng(1)
    rows = [(month, slot, int(random.random() < 0.1)) for month in range(6) for slot in range(20) for _ in range(4)]
    frame = spark.createDataFrame(rows, "month int, slot int, y int")
    names = {"label": "y", "period": ["month"], "within": ["slot"]}
    assert audit.repeated_target(frame, **names) == []
    assert audit.repeated_target(frame.withColumn("y", F.lit(0)), **names) == []
    copied = frame.withColumn("y", F.expr("int(month * 31 + slot * 17) % 50"))
    assert len(audit.repeated_target(copied, **names)) == 1
    assert audit.repeated_target(copied.where("slot < 4"), **names) == []
