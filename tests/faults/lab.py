"""A place to break things in: one topic, one state folder, the streaming driver as a process that can be killed."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.settings import Ports, Settings, StreamSettings
from contracts.spark_conf import short_application_java_options
from streaming.drain import driver_status
from tests.faults import truth
from tests.kafka_broker import REPOSITORY, Broker, free_port
from tests.replayer import Replayer, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SAMPLE = REPOSITORY / "samples" / "nasa_http" / "access_09jul1995_am.log"
OTHER_DAYS = REPOSITORY / "samples" / "nasa_http" / "NASA_short.log"
#: A driver that has had nothing to do for so long has written what waited.
IDLE_S = 10.0
#: Records of a micro-batch: small, so that a few thousand lines take many of them.
BATCH = 600


@dataclass
class Driver:
    """A streaming driver, leader of its process group; its JVM is in the group, too."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self, what: str = "both") -> None:
        """SIGKILL to Python, to the JVM or to both at the same time; returns when no process of the group is left."""
        if what == "python":
            self.process.kill()
        elif what == "jvm":
            for pid in self._jvm():
                os.kill(pid, signal.SIGKILL)
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(90)
        wait_until(lambda: not self._group(), 60)

    def wait(self, timeout_s: float = 240) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the driver has not ended in {timeout_s:.0f} s:\n{self.said[-4000:]}") from None

    def _jvm(self) -> list[int]:
        return [pid for pid in self._group() if pid != self.process.pid]

    def _group(self) -> list[int]:
        """Living processes of the group."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return found


@dataclass
class Lab:
    """``replay`` fills the topic, ``start`` and ``drain`` run the driver, ``deviations`` compares with the logs."""

    broker: Broker
    topic: str
    folder: Path
    state: Path
    batch: int = BATCH
    master: str = "local[2]"
    submit: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    drivers: list[Driver] = field(default_factory=list)
    base_port: int = field(default_factory=lambda: free_port() - 20)

    @property
    def settings(self) -> Settings:
        """The settings that the driver reads from its environment."""
        stream = StreamSettings(topic=self.topic, max_offsets_per_trigger=self.batch)
        return Settings(
            state=self.state, kafka_bootstrap=self.broker.bootstrap, stream=stream, ports=Ports(base=self.base_port)
        )

    @property
    def environment(self) -> dict[str, str]:
        java = short_application_java_options(self.settings.toolchain)
        submit = (
            "--master", self.master, "--driver-memory", "1g", "--driver-java-options", java,
            "--conf", f"spark.local.dir={self.folder / 'scratch'}", *self.submit, "pyspark-shell",
        )  # fmt: skip
        return os.environ | {
            "MILLRACE_STATE": str(self.state),
            "MILLRACE_KAFKA_BOOTSTRAP": self.broker.bootstrap,
            "MILLRACE_PORTS__BASE": str(self.base_port),
            "MILLRACE_STREAM__TOPIC": self.topic,
            "MILLRACE_STREAM__MAX_OFFSETS_PER_TRIGGER": str(self.batch),
            # When it runs on: everything at once, so that kills meet gold steps and compactions, too.
            "MILLRACE_STREAM__TRIGGER_S": "0.2",
            "MILLRACE_STREAM__GOLD_TRIGGER_S": "0.5",
            "MILLRACE_STREAM__SESSIONS_TRIGGER_S": "0.5",
            "MILLRACE_STREAM__COMPACT_AFTER_FILES": "3",
            "PYTHONPATH": str(REPOSITORY),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": shlex.join(submit),
            **self.extra,
        }

    def replay(self, content: bytes, name: str = "access.log", *, again: bool = False) -> str:
        """Send a log with the real replayer; ``again`` by one that has forgotten what it sent. Returns the source."""
        path = self.folder / name
        path.write_bytes(content)
        positions = self.folder / f"replayer{len(list(self.folder.glob('replayer*'))) if again else ''}"
        code, report, said = Replayer(self.broker, self.topic, positions)(path)
        assert code == 0, said
        source = str(report["files"][0]["source"])
        if not self.logs.get(source, b"").startswith(content):
            self.logs[source] = content
        return source

    def start(self, *arguments: str, die: str | None = None, naive: bool = False) -> Driver:
        """Start the driver; with ``die`` or ``naive`` the one with a fault in it."""
        command = [sys.executable, "-m", "streaming.access_log"]
        if die or naive:
            command = [sys.executable, "-m", "tests.faults.dying_driver"]
            command += [*(["--die", die] if die else []), *(["--naive"] if naive else []), "--"]
        return self.spawn([*command, *arguments])

    def spawn(self, command: Sequence[str]) -> Driver:
        log = self.folder / f"driver-{len(self.drivers)}.log"
        with log.open("wb") as out:
            dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
            process = subprocess.Popen(
                [*dies_with_us, *command], env=self.environment, cwd=REPOSITORY, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.drivers.append(Driver(process, log))
        return self.drivers[-1]

    def drain(self, *, naive: bool = False) -> None:
        """Take everything that waits, gold included."""
        driver = self.start("--drain", naive=naive)
        assert driver.wait() == 0, driver.said[-4000:]

    def command(self, module: str, *arguments: str) -> str:
        """Run one of the commands that mend a stream; returns what it says."""
        run = self.spawn([sys.executable, "-m", module, *arguments])
        assert run.wait() == 0, run.said[-4000:]
        return run.said

    def commits(self, dataset: str) -> int:
        """Commits of a table so far, its creation included; a look at the files, no JVM."""
        return len(list((self.state / "lake" / Path(*dataset.split("."))).glob("_delta_log/*[0-9].json")))

    def wait_for_commits(self, dataset: str, more: int, driver: Driver, seconds: float = 120) -> None:
        """Until the table has ``more`` commits than now, the driver has ended, or nothing has waited for a while.

        What a killed driver left may be one micro-batch, of which this table has its commit already.
        """
        wanted, busy_at = self.commits(dataset) + more, time.monotonic()

        def is_over() -> bool:
            nonlocal busy_at
            status = driver_status(self.settings)
            if status is None or status["state"] != "running" or status["lag_records"]:
                busy_at = time.monotonic()
            return self.commits(dataset) >= wanted or not driver.is_running or time.monotonic() > busy_at + IDLE_S

        wait_until(is_over, seconds)

    def deviations(self, erased: Collection[str] = ()) -> list[str]:
        return truth.deviations(self.state / "lake", self.logs, self.broker.records(self.topic), erased)

    def close(self) -> None:
        for driver in self.drivers:
            if driver.is_running:
                driver.kill()


def morning(first: int, last: int) -> bytes:
    """Lines [first, last) of the NASA morning, every 40th followed by one that is refused."""
    refused, content = list(truth.REFUSED), []
    for number, line in enumerate(SAMPLE.read_bytes().splitlines(keepends=True)[first:last], 1):
        content.append(line)
        if number % 40 == 0:
            content.append(refused[number // 40 % len(refused)] + b"\n")
    return b"".join(content)


def other_days(lines: int) -> bytes:
    """Lines of several days of July, as many of each."""
    found = OTHER_DAYS.read_bytes().splitlines(keepends=True)
    return b"".join(found[:: max(1, len(found) // lines)][:lines])
