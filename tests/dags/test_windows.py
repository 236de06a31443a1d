"""Which days a run is for: params, then the data interval, then the asset's event, then the day of the run."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from contracts.windows import Window
from dags.operators.windows import first_arrival, skip_before, window_of, window_params

NO_DAYS = {"first_day": None, "last_day": None}
# Two in the afternoon: by then "today" and "the day that has just ended" differ.
RUN_AFTER = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


def run(run_type: str, *events: dict[str, str], interval: tuple[datetime, datetime] | None = None) -> DagRun:
    start, end = interval or (None, None)
    at = RUN_AFTER.isoformat()
    asset = {"name": "silver.access_log", "uri": "millrace://lake/silver/access_log", "extra": {}}
    source = dict.fromkeys(("source_task_id", "source_dag_id", "source_run_id", "source_map_index"))
    consumed = [{"asset": asset, "extra": extra, "source_aliases": [], "timestamp": at} | source for extra in events]
    return DagRun.model_validate({
        "dag_id": "d", "run_id": "r", "logical_date": start, "data_interval_start": start, "data_interval_end": end,
        "run_after": at, "start_date": at, "end_date": None, "run_type": run_type, "state": "running",
        "consumed_asset_events": consumed, "partition_key": None,
    })  # fmt: skip


def days(first: str, last: str, decided_by: str) -> Window:
    return Window(first_day=date.fromisoformat(first), last_day=date.fromisoformat(last), decided_by=decided_by)


def midnight(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def test_params_decide_over_everything_else():
    given = {"first_day": "2026-11-01", "last_day": "2026-11-03"}
    event = {"first_day": "2026-11-09", "last_day": "2026-11-09"}
    asked = run("scheduled", event, interval=(midnight(18), midnight(19)))
    assert window_of(asked, given, reach_days=28) == days("2026-11-01", "2026-11-03", "params")


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_scheduled_day_is_the_day_of_its_interval(run_type):
    assert window_of(run(run_type, interval=(midnight(18), midnight(19))), NO_DAYS) == days(
        "2026-11-18", "2026-11-18", "data_interval"
    )


@pytest.mark.parametrize(("hours", "first"), [(1, 18), (24, 18), (7 * 24, 12)])
def test_a_run_in_the_morning_is_for_days_that_had_ended_by_then(hours, first):
    end = datetime(2026, 11, 19, 4, 30, tzinfo=UTC)
    asked = run("scheduled", interval=(end - timedelta(hours=hours), end))
    assert window_of(asked, NO_DAYS) == days(f"2026-11-{first}", "2026-11-18", "data_interval")


def test_days_are_utc_days_whatever_the_time_zone_of_the_schedule():
    end = datetime(2026, 11, 19, 1, 0, tzinfo=timezone(timedelta(hours=9)))
    asked = run("scheduled", interval=(end - timedelta(days=1), end))
    assert window_of(asked, NO_DAYS) == days("2026-11-17", "2026-11-17", "data_interval")


def test_a_training_reaches_back_from_the_last_day_of_its_interval():
    asked = run("scheduled", interval=(midnight(18), midnight(19)))
    assert window_of(asked, NO_DAYS, reach_days=28) == days("2026-10-22", "2026-11-18", "data_interval")


def test_a_manual_run_is_for_the_day_it_was_asked_for_whatever_its_interval():
    # The trigger form gives a logical date, and the timetable makes yesterday's interval of it.
    asked = run("manual", interval=(midnight(19), midnight(20)))
    assert window_of(asked, NO_DAYS) == days("2026-11-20", "2026-11-20", "today")
    assert window_of(asked, NO_DAYS, reach_days=7) == days("2026-11-14", "2026-11-20", "today")


def test_an_asset_run_is_for_the_days_of_its_event():
    asked = run("asset_triggered", {"first_day": "2026-11-09", "last_day": "2026-11-10", "verdict": "7"})
    assert window_of(asked, NO_DAYS) == days("2026-11-09", "2026-11-10", "asset")


def test_several_events_in_one_run_are_taken_together():
    events = [{"first_day": f"2026-11-{day:02}", "last_day": f"2026-11-{day:02}"} for day in (12, 9, 10)]
    assert window_of(run("asset_triggered", *events), NO_DAYS) == days("2026-11-09", "2026-11-12", "asset")


def test_an_event_that_covers_more_than_the_reach_is_not_cut():
    asked = run("asset_triggered", {"first_day": "2026-11-01", "last_day": "2026-11-10"})
    assert window_of(asked, NO_DAYS, reach_days=3) == days("2026-11-01", "2026-11-10", "asset")


def test_drift_names_its_days_as_data_do_and_the_training_reaches_back_from_them():
    found = {"pipeline": "access_log_volume", "state": "drift", "reason": "requests shifted", "champion_version": 4}
    drift = found | {"first_day": "2026-11-19", "last_day": "2026-11-19"}
    asked = run("asset_triggered", drift)
    assert window_of(asked, NO_DAYS, reach_days=28) == days("2026-10-23", "2026-11-19", "asset")
    data = {"first_day": "2026-11-20", "last_day": "2026-11-20", "verdict": "7"}
    both = run("asset_triggered", drift, data)
    assert window_of(both, NO_DAYS) == days("2026-11-19", "2026-11-20", "asset")


@pytest.mark.parametrize("extra", [{}, {"first_day": "2026-11-09"}, {"first_day": "x", "last_day": "y"}])
def test_an_event_without_days_fails_at_once_and_says_what_is_missing(extra):
    with pytest.raises(AirflowFailException, match="required first_day and last_day in each"):
        window_of(run("asset_triggered", extra), NO_DAYS)


@pytest.mark.parametrize(
    "given",
    [
        {"first_day": "2026-11-03", "last_day": "2026-11-01"},
        {"first_day": "2026-11-03", "last_day": None},
        {"first_day": None, "last_day": "2026-11-03"},
    ],
)
def test_days_that_contradict_each_other_fail_at_once(given):
    with pytest.raises(AirflowFailException, match="required two dates"):
        window_of(run("manual"), given)


def test_a_window_before_the_first_arrival_is_skipped_with_both_dates(tmp_path):
    for day in ("2026-11-21", "2026-11-20", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"arrived_on={day}").mkdir()
    first = first_arrival(tmp_path)
    assert first == date(2026, 11, 20)
    skip_before(first, days("2026-11-20", "2026-11-20", "data_interval"), "silver.access_log")
    skip_before(first, days("2026-11-01", "2026-11-20", "data_interval"), "silver.access_log")
    with pytest.raises(
        AirflowSkipException, match="for 2026-11-18 to 2026-11-19: its first rows arrived on 2026-11-20"
    ):
        skip_before(first, days("2026-11-18", "2026-11-19", "data_interval"), "silver.access_log")


def test_an_empty_day_after_the_first_arrival_is_not_skipped():
    window = days("2026-11-18", "2026-11-19", "data_interval")
    skip_before(date(2026, 11, 1), window, "silver.access_log")
    with pytest.raises(AirflowSkipException):
        skip_before(date(2026, 11, 20), window, "silver.access_log")


def test_before_anything_has_arrived_every_scheduled_window_is_skipped(tmp_path):
    assert first_arrival(tmp_path / "no_table_yet") is None
    with pytest.raises(AirflowSkipException, match="nothing has arrived yet"):
        skip_before(None, days("2026-11-18", "2026-11-19", "data_interval"), "silver.access_log")


@pytest.mark.parametrize("value", ["", "yesterday", "2026-13-01", "2026-02-30", "01.11.2026", 20261101, ["2026-11-01"]])
@pytest.mark.parametrize("name", ["first_day", "last_day"])
def test_the_form_refuses_what_is_not_a_day(name, value):
    param = window_params("")[name]
    with pytest.raises(ValueError, match=r"failed|not a 'date'|not of type|is not"):
        param.resolve(value)


@pytest.mark.parametrize("value", [None, "2026-11-01"])
def test_the_form_takes_a_day_or_nothing(value):
    assert window_params("")["first_day"].resolve(value) == value
