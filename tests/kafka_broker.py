"""A real single-node Kafka broker for tests: KRaft, loopback only, its own folder, killed with the test run.

    with Broker(folder) as broker:          # formatted, started, answering
        ... broker.bootstrap ...
        broker.kill()                       # SIGKILL, as a crash
        broker.start()                      # same port, same data

A test that starts one carries ``pytest.mark.kafka``. Starting takes about 4 s on two cores.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from contracts.settings import load_settings

REPOSITORY = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 90.0
#: Small and quick to start: tests send megabytes, and the compiler's second stage never pays for itself.
JVM = ("-Xms128m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true")

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
auto.create.topics.enable=false
num.partitions=1
log.cleaner.dedupe.buffer.size=16777216
"""

LOG4J = """\
<Configuration status="WARN">
<Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Record:
    """What a consumer saw: ``headers`` by name, ``timestamp_type`` 1 for LogAppendTime."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]
    timestamp_ms: int
    timestamp_type: int


@dataclass
class Broker:
    """One broker in ``folder``, which need not exist. Entering starts it, leaving kills it; data stay in the folder."""

    folder: Path
    jars: Path = field(default_factory=lambda: load_settings().toolchain / "jars" / "kafka")
    port: int = field(default_factory=free_port)
    controller_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Format the folder if it is new, start the broker and wait until it answers. Also the way to restart it."""
        if self.process and self.process.poll() is None:
            raise RuntimeError("the broker runs already")
        if not any(self.jars.glob("kafka_*.jar")):
            pytest.fail(f"needs Kafka's archives in {self.jars} (bin/millrace setup)")
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_dies_with_us(), *self._java("kafka.Kafka"), str(self.folder / "server.properties")],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self._wait_until_it_answers()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, timeout_s: float = 30.0) -> None:
        """SIGTERM, as an operator would; SIGKILL after ``timeout_s``."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def records(self, topic: str) -> list[Record]:
        """Every record of the topic, Kafka partition by Kafka partition, in order of offset."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
            max_partition_fetch_bytes=8 << 20, fetch_max_bytes=32 << 20, max_poll_records=20_000,
        )  # fmt: skip
        try:
            partitions = [
                TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            ends = consumer.end_offsets(partitions)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            found: list[Record] = []
            deadline = time.monotonic() + 120
            while any(consumer.position(each) < ends[each] for each in partitions):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic}: read {len(found)} records, not up to {ends}")
                for batch in consumer.poll(timeout_ms=1000, max_records=20_000).values():
                    found += [
                        Record(r.partition, r.offset, r.key, r.value, dict(r.headers), r.timestamp, r.timestamp_type)
                        for r in batch
                    ]
        finally:
            consumer.close()
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _java(self, main: str) -> list[str]:
        java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else Path("java")
        log4j = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}"
        return [str(java), *JVM, log4j, "-cp", f"{self.jars}/*", main]

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "log4j2.xml").write_text(LOG4J)
        (self.folder / "server.properties").write_text(
            PROPERTIES.format(port=self.port, controller_port=self.controller_port, data=self.folder / "data")
        )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # One argument: the id may begin with a dash.
        command = [*self._java("kafka.tools.StorageTool"), "format", "--standalone", f"--cluster-id={cluster}"]
        result = subprocess.run(
            [*command, "-c", str(self.folder / "server.properties")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(f"Kafka's storage was not formatted:\n{result.stdout}{result.stderr}")

    def _wait_until_it_answers(self) -> None:
        assert self.process
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    pass
                KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000).close()
            except (OSError, KafkaError):
                time.sleep(0.1)
            else:
                return
        log = (self.folder / "broker.log").read_text(errors="replace")[-3000:]
        self.kill()
        raise RuntimeError(f"the broker did not start within {START_TIMEOUT_S:.0f} s:\n{log}")


def _dies_with_us() -> list[str]:
    # A broker must not outlive a test run that was killed.
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
