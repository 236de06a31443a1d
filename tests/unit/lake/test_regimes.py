"""Where the present regime begins: what checks of drift wrote down, and the rows from there on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from contracts import pipelines
from contracts.pipelines.drift import DriftPolicy
from spark_apps.io import drift_records, ops, regimes
from spark_apps.io.drift_records import Begins, DriftCheck
from spark_apps.ml.drift.deciding import DriftDecision

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HIGGS = pipelines.load("higgs").model_copy(update={"drift": DriftPolicy(cron="0 4 * * 1", window_files=1)})
TRAFFIC = pipelines.load("uk_traffic")


def checked(engine, *told: tuple[str, str, Begins]) -> list[Begins]:
    """Checks of champion 1, oldest first: state, action, where the window begins; what is open then."""
    for n, (state, action, begins) in enumerate(told):
        check = DriftCheck(
            run_key=f"run/{n}", at=NOON + timedelta(days=n), pipeline="higgs", champion_version=1, reference="r/1",
            window=f"window {n}", begins=begins, report="",
            decision=DriftDecision(state=state, action=action, reason="because"),
        )  # fmt: skip
        drift_records.record(engine, check, ())
    return drift_records.open_drift(engine, "higgs", 1)


@pytest.fixture
def engine(settings):
    settings.state.mkdir(parents=True)
    return ops.connect(settings.ops_database)


A, B, C = (Begins(files=(letter * 64,)) for letter in "abc")


def test_open_drift_goes_back_to_the_last_check_that_found_none(engine):
    told = [("drift", "retrain", A), ("stable", "none", A), ("drift", "none", B), ("drift", "retrain", C)]
    assert checked(engine, *told) == [C, B]


def test_windows_that_say_nothing_do_not_end_a_drift(engine):
    told = [("drift", "retrain", A), ("not_enough_data", "none", B), ("broken", "ask", B), ("drift", "retrain", C)]
    assert checked(engine, *told) == [C, A]


@pytest.mark.parametrize("last", [("stable", "none", C), ("drift", "none", C)])
def test_a_drift_that_is_over_or_not_confirmed_is_not_open(engine, last):
    assert checked(engine, ("drift", "retrain", A), last) == []


def test_a_drift_of_another_champion_is_none_of_this_one(engine):
    checked(engine, ("drift", "retrain", A))
    assert drift_records.open_drift(engine, "higgs", 2) == []


@pytest.mark.spark
def test_files_from_the_oldest_that_a_window_has_are_of_the_regime(spark):
    rows = spark.createDataFrame([(name, 1) for name in "abcd"], "source_sha256 string, source_line bigint")
    newest_first = ["d", "c", "b", "a"]
    found = regimes._from_files(rows, newest_first, {"c", "b"}).collect()
    assert sorted(row["source_sha256"] for row in found) == ["b", "c", "d"]
    assert regimes._from_files(rows, newest_first, {"withdrawn since"}) is None


@pytest.mark.spark
def test_in_a_series_every_group_begins_by_itself_and_a_new_one_with_its_first_row(spark):
    hours = [(site, NOON + timedelta(hours=n)) for site in ("a", "b", "new") for n in range(3)]
    rows = spark.createDataFrame(hours, "site string, starts_at timestamp")
    windows = [Begins(at={"a": NOON + timedelta(hours=2)}), Begins(at={"a": NOON + timedelta(hours=1), "b": NOON})]
    found = regimes._from_instants(rows, windows, TRAFFIC).groupBy("site").count().collect()
    assert {row["site"]: row["count"] for row in found} == {"a": 2, "b": 3, "new": 3}


@pytest.mark.spark
def test_what_a_window_begins_with_is_read_from_its_rows(spark):
    rows = spark.createDataFrame([("f", 2), ("e", 1), ("f", 1)], "source_sha256 string, source_line bigint")
    assert regimes.begins(rows, HIGGS) == Begins(files=("e", "f"))
    series = spark.createDataFrame([("a", NOON), ("a", NOON + timedelta(hours=1))], "site string, starts_at timestamp")
    assert regimes.begins(series, TRAFFIC) == Begins(at={"a": NOON})
