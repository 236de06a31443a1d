"""A broker, topic, checkpoint, registry or lake that is not the one it was: every start refuses and says what to do.

Then `recover` and a drain make every table exact again: nothing starts from zero, nothing is skipped. The state that
each case damages has micro-batches behind it, one that is half written (bronze but not silver) and records that wait.
"""

from __future__ import annotations

import shutil
import sys
import threading
from argparse import Namespace
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from kafka.admin import KafkaAdminClient

from contracts.errors import ExitCode, PlatformError
from spark_apps.io import ops, stream_records, tables
from streaming import access_log, guard, recover, topics
from streaming.status import StreamStatus
from tests.faults.lab import Lab, morning, other_days
from tests.kafka_broker import Broker
from tests.replayer import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.kafka, pytest.mark.spark]

RECOVER = "bin/millrace stream recover"


class StoppedHereError(Exception):
    """What ends the stream in the middle of a micro-batch, as a crash would."""


@pytest.fixture(scope="module")
def prepared(shared_broker: Broker, _spark_session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Micro-batches 0 to 2 written, of micro-batch 3 only bronze; the rest of the topic waits."""
    folder = tmp_path_factory.mktemp("prepared")
    lab = Lab(shared_broker, "faults.prepared", folder, folder / "state", batch=300)
    topics.ensure(shared_broker.bootstrap, lab.topic, 2)
    lab.replay(other_days(100), "other.log")
    lab.replay(morning(0, 1000))
    lab.replay(morning(0, 300), "half.log", again=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "append", stopping_before_silver_of(3))
        with pytest.raises(Exception, match="StoppedHereError"):
            drained(_spark_session, lab)
    assert lab.commits("bronze.access_log") == lab.commits("silver.access_log") + 1 == 5
    return lab


def stopping_before_silver_of(batch: int) -> Callable[..., None]:
    real = tables.append

    def append(rows, dataset, settings, transaction=None):
        if dataset.name == "silver.access_log" and transaction.version == batch:
            raise StoppedHereError
        real(rows, dataset, settings, transaction)

    return append


def drained(spark: SparkSession, lab: Lab) -> None:
    """What `access_log --drain` does in a session that is there already."""
    topic_id = topics.topic_id(lab.settings.kafka, lab.topic)
    access_log._run_locked(spark, lab.settings, topic_id, StreamStatus(), threading.Event(), drain=True)


@pytest.fixture
def damaged(prepared: Lab, tmp_path: Path) -> Iterator[Lab]:
    """A copy of the prepared state to break."""
    shutil.copytree(prepared.state, tmp_path / "state")
    lab = replace(prepared, folder=tmp_path, state=tmp_path / "state", logs=dict(prepared.logs), drivers=[], batch=5000)
    engine = ops.connect(lab.settings.ops_database)
    entry = stream_records.registration(engine, guard.QUERY_NAME)
    stream_records.register(engine, replace(entry, checkpoint=str(checkpoint(lab))))
    engine.dispose()
    yield lab
    lab.close()


def checkpoint(lab: Lab) -> Path:
    return lab.settings.checkpoints / guard.QUERY_NAME


@dataclass(frozen=True)
class Damage:
    """What was done, and what the refusal must name."""

    do: Callable[[Lab], object]
    named: str


def write(path: str, content: str) -> Callable[[Lab], object]:
    return lambda lab: (checkpoint(lab) / path).write_text(content)


def cut(path: str, size: int) -> Callable[[Lab], object]:
    def do(lab: Lab) -> None:
        file = checkpoint(lab) / path
        file.write_bytes(file.read_bytes()[:size])

    return do


def without(*patterns: str) -> Callable[[Lab], object]:
    """Remove what matches under the state folder."""

    def do(lab: Lab) -> None:
        for pattern in patterns:
            for path in list(lab.state.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return do


def older_checkpoint(lab: Lab) -> None:
    """As from a backup that was made two micro-batches ago."""
    for log, batches in (("offsets", (2, 3)), ("commits", (1, 2))):
        for batch in batches:
            (checkpoint(lab) / log / str(batch)).unlink()


def older_registry(lab: Lab) -> None:
    engine = ops.connect(lab.settings.ops_database)
    entry = stream_records.registration(engine, guard.QUERY_NAME)
    stream_records.register(engine, replace(entry, last_batch=entry.last_batch - 1))


def older_lake(lab: Lab) -> None:
    for layer, version in (("bronze", 3), ("silver", 2), ("quarantine", 2)):
        log = lab.state / "lake" / layer / "access_log" / "_delta_log"
        for path in [*log.glob("0*"), *log.glob(".0*")]:
            if int(path.name.lstrip(".").split(".")[0]) > version:
                path.unlink()


NEW = "checkpoints/access_log_ingest"
DAMAGES = {
    "metadata deleted": Damage(without(f"{NEW}/metadata"), "no file `metadata`"),
    "metadata empty": Damage(write("metadata", ""), "unreadable file `metadata`"),
    "metadata of another query": Damage(write("metadata", '{"id":"x"}'), "query id x"),
    "last offsets empty": Damage(write("offsets/3", ""), "truncated file `offsets/3`"),
    "last offsets truncated": Damage(cut("offsets/3", -9), "truncated file `offsets/3`"),
    "last offsets without the topic": Damage(write("offsets/3", "v1\n{}"), "truncated file `offsets/3`"),
    "offsets before the last one missing": Damage(without(f"{NEW}/offsets/2"), "file `offsets/2`"),
    "last commit empty": Damage(write("commits/2", ""), "truncated file `commits/2`"),
    "checkpoint deleted": Damage(without("checkpoints"), "no file `metadata`"),
    "checkpoint from a backup": Damage(older_checkpoint, "offsets up to micro-batch 1"),
    "registry lost": Damage(without("ops.db*"), "no entry in the stream registry"),
    "registry and lake lost": Damage(without("ops.db*", "lake"), "that the registry does not know"),
    "registry from a backup": Damage(older_registry, "commits up to 2"),
    "checkpoint and registry lost": Damage(without("ops.db*", "checkpoints"), "no entry in the stream registry"),
    "lake lost": Damage(without("lake"), "bronze.access_log written up to micro-batch -1"),
    "lake from a backup": Damage(older_lake, "silver.access_log written up to micro-batch 1"),
}


#: Recovered from in `make test`; the others in `make test-faults`.
SOON = ("registry lost", "lake from a backup")


@pytest.mark.parametrize("name", DAMAGES)
def test_a_start_on_a_damaged_state_is_refused_and_changes_nothing(spark, damaged, name):
    damage = DAMAGES[name]
    damage.do(damaged)
    before = everything(damaged)
    with pytest.raises(PlatformError) as refusal:
        drained(spark, damaged)
    assert refusal.value.exit_code == ExitCode.REFUSED
    assert damage.named in str(refusal.value)
    assert RECOVER in str(refusal.value)
    assert everything(damaged) == before


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in SOON else pytest.mark.many) for n in DAMAGES])
def test_recovery_from_damage_makes_every_table_exact(spark, damaged, name):
    DAMAGES[name].do(damaged)
    recovered(spark, damaged)
    recovered(spark, damaged)
    drained(spark, damaged)
    assert damaged.deviations() == []


def recovered(spark: SparkSession, lab: Lab) -> None:
    """What the command `recover` does in a session that is there already."""
    recover.main(Namespace(), lab.settings, spark, ops.connect(lab.settings.ops_database))


def everything(lab: Lab) -> dict[str, int]:
    """Files of checkpoint and tables with their sizes."""
    folders = (lab.settings.checkpoints, lab.settings.lake)
    return {str(path): path.stat().st_size for each in folders for path in each.rglob("*") if path.is_file()}


def test_without_damage_a_start_goes_on_with_the_half_written_micro_batch(spark, damaged):
    """The measure of the tests above: the prepared state itself is sound."""
    drained(spark, damaged)
    assert damaged.deviations() == []
    assert {path.name for path in damaged.settings.checkpoints.iterdir()} == {guard.QUERY_NAME}


def test_the_commands_say_the_same_and_end_with_the_same_code(damaged):
    without("checkpoints")(damaged)
    refused = damaged.start("--drain")
    assert refused.wait() == 4, refused.said[-3000:]
    assert "no file `metadata`" in refused.said
    assert RECOVER in refused.said
    assert "Traceback" not in refused.said
    assert "recovered: " in damaged.command("streaming.recover")
    damaged.drain()
    assert damaged.deviations() == []


def test_a_recreated_topic_is_refused_and_recovery_goes_on_with_the_new_one(spark, lab):
    lab.replay(morning(0, 400))
    drained(spark, lab)
    recreate(lab)
    # The new topic has these at offsets that the stream has seen in the old one.
    lab.replay(morning(0, 900))
    with pytest.raises(PlatformError, match="a recreated topic reuses its offsets") as refusal:
        drained(spark, lab)
    assert refusal.value.exit_code == ExitCode.REFUSED
    assert RECOVER in str(refusal.value)
    recovered(spark, lab)
    drained(spark, lab)
    # The replayer sends all of the log to a new topic; bronze keeps what came through the old one, too: 400 lines of
    # the sample and 10 refused ones. Nothing else differs.
    assert [wrong.split(" rows ")[0] for wrong in lab.deviations()] == ["bronze: 410"]


def recreate(lab: Lab) -> None:
    admin = KafkaAdminClient(bootstrap_servers=lab.broker.bootstrap)
    try:
        admin.delete_topics([lab.topic])
    finally:
        admin.close()
    wait_until(lambda: not topics.exists(lab.broker.bootstrap, lab.topic))
    topics.ensure(lab.broker.bootstrap, lab.topic, 2)


def test_a_missing_topic_is_a_wrong_configuration(lab):
    lab.topic = "faults.no-such-topic"
    driver = lab.start()
    assert driver.wait() == 2, driver.said[-3000:]
    assert "faults.no-such-topic: found no such topic" in driver.said
    assert "streaming.topics ensure" in driver.said
    assert not lab.state.exists()


def test_a_broker_that_is_down_at_the_start_is_unavailable(local_lab):
    driver = local_lab.start()
    assert driver.wait() == 5, driver.said[-3000:]
    assert local_lab.broker.bootstrap in driver.said
    assert "bin/millrace logs kafka" in driver.said
    assert not local_lab.state.exists()


@pytest.mark.parametrize("module", ["streaming.recover", "streaming.drain"])
def test_commands_around_the_stream_say_that_the_broker_is_down(local_lab, module):
    command = local_lab.spawn([sys.executable, "-m", module])
    assert command.wait() == 5, command.said[-3000:]
    assert local_lab.broker.bootstrap in command.said
