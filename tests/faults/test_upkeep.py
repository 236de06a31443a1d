"""The commands that mend or erase, run beside a driver that goes on writing: every table stays exact."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pyarrow.parquet as pq
import pytest

from tests.faults import truth
from tests.faults.lab import morning
from tests.replayer import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.spark, pytest.mark.many, pytest.mark.timeout(900)]


def test_reprocessing_and_erasing_beside_a_running_stream(lab):
    lab.replay(morning(0, 800))
    driver = lab.start()
    lab.wait_for_commits("gold.sessions", 2, driver)
    lake = lab.state / "lake"
    # The busiest host: it has sessions, minutes and paths that others share.
    host = Counter(request.host for request in truth.silver(lake)).most_common(1)[0][0]

    lab.replay(morning(0, 1400))
    said = lab.command("streaming.reprocess", "--from", "bronze")
    assert "reprocessed bronze from the beginning to now" in said
    lab.replay(morning(0, 2000))
    wait_until(lambda: truth.silver(lake).total() == requests_of(lab), 120)
    assert f"erased {host.upper()}: " in lab.command("streaming.erase", host.upper())
    assert driver.is_running, driver.said[-3000:]
    driver.process.send_signal(signal.SIGTERM)
    assert driver.wait(90) == 0, driver.said[-3000:]

    lab.drain()
    assert lab.deviations(erased={host}) == []
    # Not only from the newest version: no file has the name any more, nor do the statistics in Delta's log.
    logs = [path for kind in ("*.json", "*.crc") for path in lake.rglob(kind)]
    assert [path.name for path in logs if host.encode() in path.read_bytes()] == []
    assert [path.name for path in lake.rglob("*.parquet") if host in names_in(path)] == []


def requests_of(lab) -> int:
    return truth.recomputed(lab.logs).silver.total()


def names_in(path):
    table = pq.ParquetFile(path).read()
    if "add" in table.column_names:  # a checkpoint of the log: statistics name the least and the greatest value
        stats = [json.loads(added["stats"]) for added in table.column("add").to_pylist() if added and added["stats"]]
        return {str(value) for each in stats for ends in ("minValues", "maxValues") for value in each[ends].values()}
    if "host" in table.column_names:
        return set(table.column("host").to_pylist())
    lines = table.column("line").to_pylist() if "line" in table.column_names else []
    return {line.split(b" ")[0].decode(errors="replace").lower() for line in lines}
