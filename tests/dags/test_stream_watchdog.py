"""What the watchdog calls trouble, and when it tells people."""

from datetime import UTC, datetime, timedelta

import pytest

from dags.operators import stream
from dags.operators.stream import ask, limit_params, tell, troubles
from tests.dags.web import serving

LIMITS = {name: param.value for name, param in limit_params().items()}
WELL = {
    "state": "running", "freshness_s": 3.0, "lag_records": 10, "quarantine_ratio": 0.0, "last_batch": 7, "error": None,
}  # fmt: skip
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_a_running_stream_within_its_limits_is_no_trouble():
    assert troubles(WELL, LIMITS) == {}


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"freshness_s": 120.5}, "freshness", "the last commit is 120 s old while 10 records wait; allowed are 120 s"),
        ({"lag_records": 1_000_001}, "lag", "1000001 records wait in Kafka; allowed are 1000000"),
        ({"quarantine_ratio": 0.051}, "quarantine", "5.1% of the last lines are in quarantine; allowed are 5.0%"),
    ],
)
def test_each_limit_is_one_kind_of_trouble_with_its_figures(change, kind, text):
    assert troubles(WELL | change, LIMITS) == {kind: text}


def test_figures_on_the_limit_are_no_trouble():
    assert troubles(WELL | {"freshness_s": 120, "lag_records": 1_000_000, "quarantine_ratio": 0.05}, LIMITS) == {}


def test_a_driver_that_has_not_committed_yet_is_not_late():
    assert troubles(WELL | {"freshness_s": None, "last_batch": -1}, LIMITS) == {}


def test_a_driver_that_stopped_is_reported_with_its_error():
    found = troubles(WELL | {"state": "failed", "error": "checkpoint damaged"}, LIMITS)
    said = "the streaming driver does not run: failed (checkpoint damaged). See: bin/millrace logs stream"
    assert found == {"stopped": said}


def test_a_driver_that_does_not_answer_is_trouble():
    found = troubles(ask("http://127.0.0.1:1/status"), LIMITS)
    assert list(found) == ["stopped"]
    assert "unreachable" in found["stopped"]


@pytest.mark.parametrize("answer", [b"<html>", [1, 2]])
def test_an_answer_that_is_no_status_is_trouble(answer):
    with serving(answer) as (port, _):
        assert "unreachable" in troubles(ask(f"http://127.0.0.1:{port}/status"), LIMITS)["stopped"]


def test_a_driver_of_another_version_is_trouble_not_a_crash():
    with serving({"state": "running", "lag_records": 1}) as (port, _):
        assert troubles(ask(f"http://127.0.0.1:{port}/status"), LIMITS) == {
            "unreadable": "the streaming driver does not say freshness_s, quarantine_ratio: another version of it"
        }


def test_people_are_told_when_trouble_begins_changes_and_ends_and_not_in_between(tmp_path, monkeypatch):
    with serving({}) as (port, posted):
        monkeypatch.setenv("MILLRACE_ALERT_WEBHOOK", f"http://127.0.0.1:{port}/")
        memory = tmp_path / "deep" / "told.json"
        late, lagging = {"freshness": "121 s old"}, {"freshness": "300 s old", "lag": "2000000 records wait"}
        seen = [{}, late, {"freshness": "180 s old"}, lagging, lagging, {}, {}]
        told = [tell(found, NOW + timedelta(minutes=5 * n), memory) for n, found in enumerate(seen)]
    assert told == [False, True, False, True, False, True, False]
    assert [body["subject"] for body in posted] == [
        "The live stream needs attention", "The live stream needs attention", "The live stream is well again",
    ]  # fmt: skip
    assert "300 s old; 2000000 records wait" in posted[1]["text"]


def test_unchanged_trouble_is_told_again_after_six_hours(tmp_path):
    memory = tmp_path / "told.json"
    late = {"freshness": "121 s old"}
    assert tell(late, NOW, memory)
    assert not tell(late, NOW + stream.REMINDER - timedelta(minutes=5), memory)
    assert tell(late, NOW + stream.REMINDER, memory)
    assert not tell(late, NOW + stream.REMINDER + timedelta(minutes=5), memory)


SENSELESS = [("max_freshness_s", 0), ("max_lag_records", 1.5), ("max_quarantine_ratio", 2)]


@pytest.mark.parametrize(("name", "value"), SENSELESS)
def test_the_form_refuses_limits_that_make_no_sense(name, value):
    with pytest.raises(ValueError, match=r"minimum|maximum|not of type"):
        limit_params()[name].resolve(value)
