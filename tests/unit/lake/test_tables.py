"""Threads of one process on one table, and creations that were cut short."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from contracts.datasets import GOLD_SESSIONS
from spark_apps.io import tables

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from contracts.settings import Settings

pytestmark = pytest.mark.spark


def test_appends_go_on_beside_a_compaction_and_none_is_lost(spark: SparkSession, settings: Settings) -> None:
    tables.create_if_missing(spark, GOLD_SESSIONS, settings)
    schema = tables.schema_of(spark, GOLD_SESSIONS)
    empty = dict.fromkeys(schema.names, 0) | {"entry_path": "/", "exit_path": "/"}
    times = {f.name: None for f in schema.fields if f.dataType.typeName() == "timestamp"}

    def rows(host: str):
        values = empty | times | {"host": host}
        at = spark.sql("SELECT TIMESTAMP'2020-01-01 00:00:00' AS at").first()
        assert at is not None
        return spark.createDataFrame([tuple(at.at if n in times else values[n] for n in schema.names)], schema)

    def appends(thread: int) -> None:
        for n in range(3):
            tables.append(rows(f"h{thread}-{n}"), GOLD_SESSIONS, settings)

    tables.append(rows("first"), GOLD_SESSIONS, settings)
    tables.append(rows("second"), GOLD_SESSIONS, settings)
    # The lock is held throughout: threads of this process do not wait for each other, and no other process comes in.
    path = settings.locks / "tables" / "gold.sessions.lock"
    with tables.writing(spark, GOLD_SESSIONS, settings), ThreadPoolExecutor(3) as pool:
        assert is_held_against_others(path)
        jobs = [pool.submit(appends, thread) for thread in range(2)]
        jobs.append(pool.submit(tables.compact, spark, GOLD_SESSIONS, settings, None))
        for job in jobs:
            job.result(120)
    table = DeltaTable(str(GOLD_SESSIONS.path(settings.lake)))
    assert table.count() == 8
    operations = [commit["operation"] for commit in table.history()]
    assert (operations.count("WRITE"), operations.count("OPTIMIZE")) == (8, 1)
    assert not is_held_against_others(path)


def is_held_against_others(path: Path) -> bool:
    """Whether another process can have the lock."""
    tries = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", tries, str(path)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("left", ["", ".00000000000000000000.json.f3a.tmp", "_staged_commits/x"])
def test_a_creation_that_was_cut_short_is_done_again(spark, settings, left):
    log = GOLD_SESSIONS.path(settings.lake) / "_delta_log"
    (log / left).parent.mkdir(parents=True, exist_ok=True)
    log.mkdir(exist_ok=True)
    if left:
        (log / left).write_text("")
    tables.create_if_missing(spark, GOLD_SESSIONS, settings)
    assert tables.version(spark, GOLD_SESSIONS, settings.lake) == 0


def test_a_log_that_lost_its_versions_is_not_begun_again(spark, settings):
    log = GOLD_SESSIONS.path(settings.lake) / "_delta_log"
    log.mkdir(parents=True)
    (log / "_last_checkpoint").write_text('{"version": 10, "size": 1}')
    with pytest.raises(Exception, match="DELTA"):
        tables.create_if_missing(spark, GOLD_SESSIONS, settings)
    assert (log / "_last_checkpoint").exists()
