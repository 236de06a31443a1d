"""Alerts reach the log and the webhook, hold no secret, and never fail what they report on."""

import asyncio
import os
import socket
from types import SimpleNamespace

import pytest
from airflow.sdk.log import mask_secret

from dags.operators.alerts import FailureAlert, late, send
from tests.dags.web import serving

TI = SimpleNamespace(
    dag_id="access_log_daily", run_id="r1", task_id="validate", map_index=-1, try_number=1, log_url="http://a/log"
)


@pytest.fixture
def webhook(monkeypatch):
    with serving({}) as (port, posted):
        monkeypatch.setenv("MILLRACE_ALERT_WEBHOOK", f"http://127.0.0.1:{port}/services/T0-token-0T")
        yield posted


def test_a_failed_task_is_posted_with_its_run_reason_and_log(webhook):
    FailureAlert()({"ti": TI, "exception": ValueError("3 of 5 expectations failed")})
    assert webhook == [{
        "subject": "access_log_daily.validate failed",
        "text": "access_log_daily.validate failed\n3 of 5 expectations failed",
        "facts": {
            "dag_id": "access_log_daily", "run_id": "r1", "task_id": "validate", "map_index": -1, "try_number": 1,
            "log": "http://a/log",
        },
    }]  # fmt: skip


def test_a_task_that_was_lost_has_no_exception_and_is_posted_too(webhook):
    FailureAlert()({"ti": TI})
    assert "the process was lost" in webhook[0]["text"]


def test_the_log_has_the_alert_also_without_a_webhook(caplog):
    assert send("Late", "It waits.", {"dag_id": "d"}) is False
    assert "Late" in caplog.text
    assert "It waits." in caplog.text


def test_secrets_are_masked_and_long_texts_cut(webhook):
    mask_secret("hunter2-hunter2")
    send("Trouble", "password hunter2-hunter2 " + "x" * 5000, {"password": "s3cr3t-value", "note": "hunter2-hunter2"})
    assert "hunter2" not in str(webhook)
    assert "s3cr3t-value" not in str(webhook)
    assert len(webhook[0]["text"]) == 1500


def test_a_message_that_holds_the_address_of_the_webhook_is_masked(webhook, monkeypatch, caplog):
    address = os.environ["MILLRACE_ALERT_WEBHOOK"]
    send("Trouble", f"cannot reach {address}", {})
    assert webhook[0]["text"] == "Trouble\ncannot reach ***"
    assert address not in caplog.text


def test_a_webhook_that_refuses_or_is_gone_changes_nothing_and_its_address_is_not_logged(monkeypatch, caplog):
    with serving({}, status=500) as (port, _posted):
        monkeypatch.setenv("MILLRACE_ALERT_WEBHOOK", f"http://127.0.0.1:{port}/T0-token-0T")
        assert send("a", "b", {}) is False
    assert send("a", "b", {}) is False
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MILLRACE_ALERT_WEBHOOK", f"http://127.0.0.1:{mute.getsockname()[1]}/T0-token-0T")
        assert send("a", "b", {}) is False
    assert caplog.text.count("alert not sent") == 3
    assert "T0-token-0T" not in caplog.text


def test_only_web_addresses_are_posted_to(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MILLRACE_ALERT_WEBHOOK", f"file://{tmp_path}/x")
    assert send("a", "b", {}) is False
    assert "not an http or https address" in caplog.text


def test_a_missed_deadline_names_the_run(webhook):
    context = {"dag_run": {"dag_id": "retrain_access_log_volume", "dag_run_id": "r7"}, "deadline": {}}
    asyncio.run(late(context=context, deadline_min=45))
    assert webhook[0]["subject"] == "retrain_access_log_volume is late"
    assert webhook[0]["facts"] == {"dag_id": "retrain_access_log_volume", "run_id": "r7", "deadline_min": 45}
