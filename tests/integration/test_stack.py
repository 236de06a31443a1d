"""The supervised stack for real: a broker, a Spark master with a worker, the page; no Airflow, to be quick."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from infra.local import processes, supervision
from infra.local.processes import Process
from tests.local_stack import Stack, free_base

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

SERVICES = ("kafka", "spark-worker-1", "page")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    found = Stack(tmp_path_factory.mktemp("stack") / "state", free_base())
    run = found("up", *SERVICES, "--timeout", "200")
    assert run.returncode == 0, run.stderr
    yield found
    found("down")


def _everything(stack: Stack) -> set[Process]:
    return set(supervision.family(stack.places))


def test_what_was_asked_for_is_healthy_and_shows_its_memory(stack):
    report = json.loads(stack("status", "--json").stdout)
    assert report["state"] == "healthy"
    up = {service["name"]: service for service in report["services"] if service["wanted"]}
    assert set(up) == {"kafka", "spark-master", "spark-worker-1", "page"}
    for service in up.values():
        assert service["health"] == "healthy"
        assert service["memory_mib"] > 10
        assert service["restarts"] == 0
    assert 100 < report["memory_mib"] < 2000
    assert {service["state"] for service in report["services"] if not service["wanted"]} == {"stopped"}


def test_a_second_up_is_quick_and_starts_nothing(stack):
    before = _everything(stack)
    started = time.monotonic()
    run = stack("up", *SERVICES)
    assert run.returncode == 0
    assert run.stdout.startswith("already up: 4 services healthy")
    assert time.monotonic() - started < 5
    assert _everything(stack) == before


def test_everything_listens_on_loopback_alone(stack):
    inodes = set()
    for process in _everything(stack):
        for handle in Path(f"/proc/{process.pid}/fd").iterdir():
            if handle.exists() or handle.is_symlink():
                inodes.add(os.readlink(handle))
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in inodes
    ]
    assert len(listening) >= 6
    # 127.0.0.1 as the kernel writes it, and the same within IPv6 (Java's sockets)
    loopback = ("0100007F", "0000000000000000FFFF00000100007F")
    assert [address for address in listening if address.partition(":")[0] not in loopback] == []


def test_the_topic_is_there_and_the_doctor_agrees(stack):
    said = stack("doctor").stdout
    assert "OK       topic web.access-log: web.access-log is as it should be" in said
    assert "OK       kafka: healthy" in said
    assert "OK       spark slots: 0 of 3 in use on 1 workers" in said


def test_a_service_that_is_killed_comes_back_and_status_says_so(stack):
    first = stack.service("kafka")["pid"]
    os.kill(first, signal.SIGKILL)
    found = stack.wait("kafka", health="healthy", restarts=1)
    assert found["pid"] != first
    assert found["last_end"].startswith("terminated by SIGKILL at ")
    assert "kafka ended terminated by SIGKILL" in stack("status").stdout


def test_a_service_that_keeps_dying_is_started_later_and_later(stack):
    for deaths in range(5):
        os.kill(stack.wait("page", state="running", restarts=deaths)["pid"], signal.SIGKILL)
    # The fifth short life is followed by a pause of at least four seconds.
    found = stack.wait("page", state="waiting", restarts=5)
    assert found["health"].startswith("waiting: starts again in ")
    stack.wait("page", health="healthy", restarts=5)


def test_restart_makes_a_new_process_and_is_no_death(stack):
    before = stack.service("page")
    assert stack("restart", "page").returncode == 0
    after = stack.service("page")
    assert after["pid"] != before["pid"]
    assert (after["health"], after["restarts"]) == ("healthy", before["restarts"])


def test_logs_shows_the_end_of_a_log(stack):
    assert "page" in stack("logs").stdout.split()
    assert len(stack("logs", "kafka", "-n", "3").stdout.splitlines()) <= 3
    run = stack("logs", "kafak")
    assert run.returncode == 2
    assert "required one of " in run.stderr


def test_another_stack_on_the_same_ports_refuses_before_it_starts_anything(stack, tmp_path):
    other = Stack(tmp_path / "other", stack.base)
    run = other("up", "kafka")
    assert run.returncode == 5
    assert f"port {stack.base + 92} (kafka, broker) is held by pid " in run.stderr
    assert "kafka.Kafka" in run.stderr or "java" in run.stderr
    assert _everything(other) == set()


def test_a_service_that_cannot_start_is_named_with_its_last_lines(tmp_path):
    broken = Stack(tmp_path / "broken", free_base())
    try:
        run = broken("up", "page", "--timeout", "60", MILLRACE_STREAM__TRIGGER_S="0")
        # A wrong setting stops the command itself, first.
        assert run.returncode == 2
        (tmp_path / "java" / "bin").mkdir(parents=True)
        java = tmp_path / "java" / "bin" / "java"
        java.write_text("#!/bin/sh\necho no such module: kafka\nexit 3\n")
        java.chmod(0o755)
        run = broken("up", "spark-master", JAVA_HOME=str(java.parent.parent))
        assert run.returncode == 5
        assert "Starting spark-master: found " in run.stderr
        assert "no such module: kafka" in run.stderr
        assert "bin/millrace down" in run.stderr
    finally:
        broken("down")
    assert _everything(broken) == set()


def test_down_leaves_nothing_even_when_the_supervisor_was_killed(stack):
    """Last of the module: it ends the stack."""
    before = _everything(stack)
    os.kill(int(stack.places.supervisor_pid.read_text()), signal.SIGKILL)
    time.sleep(0.5)
    refused = stack("up", *SERVICES)
    assert refused.returncode == 5
    assert "processes of an earlier start whose supervisor is gone" in refused.stderr
    assert "Run: bin/millrace down" in refused.stderr
    assert stack("down").returncode == 0
    assert [process for process in before if process.is_alive()] == []
    assert _everything(stack) == set()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", stack.base + 92))
    assert json.loads(stack("status", "--json").stdout)["state"] == "down"
    assert not processes.is_port_taken(stack.base + 81)
