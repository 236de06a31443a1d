"""The replayer is killed, deliveries fail, the broker dies: every line is in the topic at least once, under one source.

Lines that arrive twice are what the stream recognises by source and byte offset; here they only have to be few.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from kafka.errors import OutOfOrderSequenceNumberError
from kafka.future import Future

from contracts.settings import Settings
from streaming import replay as command
from streaming import topics
from streaming.replay_delivery import WINDOW_LINES, ReplayProducer, Stop
from streaming.replay_report import Report
from tests.kafka_broker import REPOSITORY, Broker
from tests.replayed import assert_at_least_once, assert_exactly, line_of, lines_of
from tests.replayer import Replayer, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kafka

#: Two of each kind in `make test`, ten more in `make test-faults`.
SEEDS = [0, 1, *[pytest.param(seed, marks=pytest.mark.many) for seed in range(2, 12)]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def log(tmp_path: Path, samples: Path) -> Path:
    """About 37,000 lines, no two of them alike at the same place."""
    path = tmp_path / "access.log"
    path.write_bytes((samples / "nasa_http" / "access_09jul1995_am.log").read_bytes() * 3)
    return path


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    name = f"killed.{abs(hash(request.node.nodeid)):x}"
    topics.ensure(broker.bootstrap, name, 2)
    return name


def records_in(broker: Broker, topic: str) -> int:
    return sum(topics.end_offsets(broker.bootstrap, topic).values())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replayer_killed_again_and_again_loses_no_line(broker, topic, log, tmp_path, seed):
    chance, kills = random.Random(seed), 0  # noqa: S311 - a seed, no secret
    replay = Replayer(broker, topic, tmp_path / "state")
    pace = ["--rate", "12000"] if seed % 2 else []
    for moment in [at_any_time, *chance.choices([at_any_time, behind_a_position], k=2), behind_a_position]:
        process = replay.start(*pace, log)
        moment(process, tmp_path / "state" / "positions", chance)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    code, report, _ = replay(log)
    assert code == 0
    assert kills >= 1
    assert report["files"][0]["to_byte"] == log.stat().st_size
    again = assert_at_least_once(broker.records(topic), log.read_bytes())
    # What was in flight, and what was acknowledged since the position was last written.
    assert again <= kills * (WINDOW_LINES + 60_000)
    assert replay(log)[1]["lines"] == 0


def at_any_time(process: subprocess.Popen[bytes], _: Path, chance: random.Random) -> None:
    """Also before the first line leaves, and after the last one."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(chance.uniform(0.2, 1.5))


def behind_a_position(process: subprocess.Popen[bytes], folder: Path, chance: random.Random) -> None:
    """Just after a position was written, when it would show that it counts lines which are still under way."""
    written, wanted = set(map(fingerprint_of, folder.glob("*.json"))), chance.choice([2, 3])
    while process.poll() is None and wanted:
        now = set(map(fingerprint_of, folder.glob("*.json")))
        wanted -= bool(now - written)
        written |= now
        time.sleep(0.0005)


def fingerprint_of(path: Path) -> tuple[int, int]:
    # Written by rename: another file each time.
    return path.stat().st_ino, path.stat().st_mtime_ns


class LossyProducer(ReplayProducer):
    """The real producer, but the broker never hears of chosen lines, as when it forces a new epoch (KIP-360)."""

    def __init__(self, bootstrap: str, loses: set[bytes]) -> None:
        super().__init__(bootstrap)
        self.loses = loses

    def send(self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]], partition: int) -> Any:
        place = dict(headers)["offset"]
        if place in self.loses:
            self.loses.discard(place)
            return Future().failure(OutOfOrderSequenceNumberError())
        return super().send(topic, value, key, headers, partition)


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_lines_are_sent_again_behind_those_that_arrived(broker, topic, log, tmp_path, seed):
    lines = lines_of(log.read_bytes())
    lost = random.Random(seed).sample(lines[:-1], 4)  # noqa: S311 - a seed, no secret
    loses = {b"%d" % line.offset for line in lost}
    report = Report(topic)
    settings = Settings(state=tmp_path / "state", kafka_bootstrap=broker.bootstrap)
    command.replay(
        command.parse_args([str(log)]), settings, Stop(), report,
        start_producer=lambda: LossyProducer(broker.bootstrap, loses),
    )  # fmt: skip
    assert not loses
    assert report.lines == len(lines)
    assert 4 <= report.resends <= 4 * WINDOW_LINES
    records = broker.records(topic)
    assert assert_at_least_once(records, log.read_bytes()) > 0
    # Lines behind a lost one had arrived before it did: a reader with a high-water mark would drop it.
    first = {}
    for number, record in enumerate(records):
        first.setdefault(line_of(record), number)
    assert any(first[line] > first[lines[lines.index(line) + 1]] for line in lost)


LOSE_THEN_DIE = """
import os, signal, sys
from contracts.settings import load_settings
from streaming import replay as command
from streaming.replay_delivery import Stop
from streaming.replay_report import Report
from tests.faults.test_replayer_kill import LossyProducer

bootstrap, topic, log, lost, dies_at = sys.argv[1:]
loses, connections = {lost.encode()}, 0

class DyingProducer(LossyProducer):
    sent = 0
    def send(self, *line):
        self.sent += 1
        if connections == 2 and self.sent == int(dies_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().send(*line)

def start():
    global connections
    connections += 1
    return DyingProducer(bootstrap, loses)

args = command.parse_args([log])
command.replay(args, load_settings(), Stop(), Report(topic), start_producer=start)
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replayer_killed_in_the_middle_of_a_resend_loses_no_line(broker, topic, log, tmp_path, seed):
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    lost = chance.choice(lines_of(log.read_bytes())[5000:30_000]).offset
    replay = Replayer(broker, topic, tmp_path / "state")
    arguments = [broker.bootstrap, topic, log, lost, chance.randrange(1, 3000)]
    killed = subprocess.run(
        [sys.executable, "-c", LOSE_THEN_DIE, *map(str, arguments)],
        env=replay.environment, cwd=REPOSITORY, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr.decode()
    assert replay(log)[0] == 0
    assert_at_least_once(broker.records(topic), log.read_bytes())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broker_killed_while_lines_arrive_is_waited_for_and_loses_no_line(broker, topic, log, tmp_path, seed):
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    replay = Replayer(broker, topic, tmp_path / "state")
    process = replay.start("--rate", "10000", "--json", log)
    wait_until(lambda: records_in(broker, topic) > 0)
    time.sleep(chance.uniform(0, 3))
    assert process.poll() is None
    broker.kill()
    time.sleep(chance.uniform(0, 4))
    broker.start()
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err.decode()
    assert_at_least_once(broker.records(topic), log.read_bytes())
    assert replay(log)[1]["lines"] == 0


class Watcher(ReplayProducer):
    """The real producer; notes which position files there are when the first line leaves."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        super().__init__(bootstrap)
        self.folder, self.found = folder, None

    def send(self, *line: Any) -> Any:
        if self.found is None:
            self.found = [path.name for path in self.folder.glob("*.json")]
        return super().send(*line)


def test_the_identity_is_on_disk_before_the_first_line_leaves(broker, topic, tmp_path):
    """A short log that grows has another fingerprint after a crash: only the file knows which id its lines got."""
    (tmp_path / "short.log").write_bytes(b"one\n")
    settings, report, watchers = Settings(state=tmp_path / "state", kafka_bootstrap=broker.bootstrap), Report(topic), []

    def start() -> Watcher:
        watchers.append(Watcher(broker.bootstrap, settings.state / "positions"))
        return watchers[-1]

    command.replay(command.parse_args([str(tmp_path / "short.log")]), settings, Stop(), report, start_producer=start)
    assert [watcher.found for watcher in watchers] == [[f"{report.files[0].source}.json"]]


def test_without_any_fault_each_line_arrives_once(broker, topic, log, tmp_path):
    """The measure for the tests above: what they count as sent again comes from their faults."""
    report = Replayer(broker, topic, tmp_path / "state")(log)[1]
    assert_exactly(broker.records(topic), log.read_bytes(), report["files"][0]["source"])
