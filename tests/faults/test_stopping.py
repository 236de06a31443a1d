"""One driver at a time, and SIGTERM ends it between two micro-batches."""

from __future__ import annotations

import signal
import sqlite3

import pytest
from deltalake import DeltaTable

from tests.faults.lab import morning

pytestmark = [pytest.mark.kafka, pytest.mark.spark]


def test_a_second_driver_refuses_and_sigterm_stops_the_first_between_two_micro_batches(lab):
    lab.replay(morning(0, 2400))
    first = lab.start()
    lab.wait_for_commits("bronze.access_log", 2, first)
    second = lab.start()
    assert second.wait() == 6, second.said[-3000:]
    assert "driver.lock" in second.said
    assert "try again" in second.said
    assert first.is_running, first.said[-3000:]
    # Something waits, so the stop comes in the middle of a backlog.
    lab.replay(morning(0, 12_000))
    lab.wait_for_commits("bronze.access_log", 1, first)

    first.process.send_signal(signal.SIGTERM)
    assert first.wait(90) == 0, first.said[-3000:]
    # One that was not even begun may have announced its offsets.
    checkpoint = lab.settings.checkpoints / "access_log_ingest"
    before = batches(lab)
    assert len(numbers(checkpoint / "offsets")) - len(before) in {0, 1}
    # Each micro-batch that wrote anything is recorded as written; compactions are commits, too, of another kind.
    assert {writes(lab, layer) for layer in ("bronze", "silver")} == {len(before)}
    waiting = sum(len(content.splitlines()) for content in lab.logs.values()) - sum(rows for rows, _ in before.values())
    assert waiting > 0

    lab.batch = 20_000
    lab.drain()
    after = batches(lab)
    assert {batch: after[batch] for batch in before} == before, "a micro-batch was written again"
    assert lab.deviations() == []


def numbers(folder):
    return {int(path.name) for path in folder.glob("[0-9]*")}


def writes(lab, layer):
    history = DeltaTable(str(lab.state / "lake" / layer / "access_log")).history()
    return sum(commit["operation"] == "WRITE" for commit in history)


def batches(lab):
    """Micro-batch to its rows of bronze and when it was committed, as the ops database has it."""
    with sqlite3.connect(lab.state / "ops.db") as connection:
        found = connection.execute("SELECT batch_id, bronze, committed_at FROM stream_batches").fetchall()
    return {batch: (rows, at) for batch, rows, at in found}
