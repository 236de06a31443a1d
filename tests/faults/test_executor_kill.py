"""Executors of a real standalone cluster are killed with SIGKILL while the stream writes: the same run ends, exact."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyspark
import pytest

from contracts.settings import load_settings
from contracts.spark_conf import short_application_java_options
from tests.faults.lab import morning, other_days
from tests.kafka_broker import free_port
from tests.replayer import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.lab import Driver

pytestmark = [pytest.mark.kafka, pytest.mark.spark, pytest.mark.timeout(1800)]

#: Two kills in each.
SEEDS = [0, *[pytest.param(seed, marks=pytest.mark.many) for seed in range(1, 6)]]
SPARK_HOME = Path(pyspark.__file__).resolve().parent
#: The worker starts an application's lost executor again, but gives it up after ten failures in a row.
EXECUTOR = ("--conf", "spark.executor.memory=600m", "--conf", "spark.cores.max=2")


@dataclass
class Cluster:
    """A standalone master and one worker on loopback."""

    url: str
    processes: list[subprocess.Popen[bytes]]

    def executor(self) -> int | None:
        """Process id of the executor that the worker runs now."""
        worker = self.processes[-1].pid
        for children in Path(f"/proc/{worker}/task").glob("*/children"):
            for pid in map(int, children.read_text().split()):
                with suppress(OSError):
                    if b"CoarseGrainedExecutorBackend" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        return pid
        return None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder, port = tmp_path_factory.mktemp("cluster"), free_port()
    url = f"spark://127.0.0.1:{port}"
    host = ("--host", "127.0.0.1", "--webui-port", "0")
    started = Cluster(url, [])
    try:
        started.processes.append(_daemon(folder, "master.Master", *host, "--port", str(port)))
        work = ("--cores", "2", "--memory", "1g", "--work-dir", str(folder / "work"))
        started.processes.append(_daemon(folder, "worker.Worker", *host, *work, url))
        yield started
    finally:
        for process in started.processes:
            # Executors are in the group of their worker.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _daemon(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "SPARK_HOME": str(SPARK_HOME), "SPARK_DAEMON_MEMORY": "192m", "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", "PYSPARK_PYTHON": sys.executable,
    }  # fmt: skip
    with (folder / "daemons.log").open("ab") as log:
        return subprocess.Popen(
            [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments],
            env=environment, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_executors_that_are_killed_cost_time_and_nothing_else(new_lab, cluster, seed):
    java = short_application_java_options(load_settings().toolchain)
    lab = new_lab(
        batch=400, master=cluster.url, submit=(*EXECUTOR, "--conf", f"spark.executor.extraJavaOptions={java}")
    )
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    lab.replay(other_days(200), "other.log")
    lab.replay(morning(0, 2000))
    lab.replay(morning(0, 500), "half.log", again=True)
    driver, killed = lab.start("--drain"), set()
    for dataset in ("bronze.access_log", chance.choice(["bronze.access_log", "silver.access_log"])):
        lab.wait_for_commits(dataset, chance.randint(2, 3), driver)
        time.sleep(chance.uniform(0, 1.0))
        killed.add(kill(cluster, driver))
    assert len(killed) == 2
    assert driver.wait() == 0, driver.said[-4000:]
    assert lab.deviations() == []


def kill(cluster: Cluster, driver: Driver) -> int:
    wait_until(lambda: cluster.executor() is not None or not driver.is_running)
    assert driver.is_running, driver.said[-3000:]
    pid = cluster.executor()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid
