"""What is read from /proc, on real processes."""

import os
import socket
import subprocess
import sys
import time

import pytest

from infra.local import processes


@pytest.fixture
def started():
    """Start real processes; whatever is left of them is ended."""
    running = []

    def start(script: str, **options) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, **options)
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_tree_holds_children_and_not_the_parent_s_other_relatives(started):
    parent = started(PARENT)
    found = processes.tree(parent.pid)
    assert found[0].pid == parent.pid
    assert len(found) == 2
    assert os.getpid() not in [process.pid for process in found]


def test_a_session_is_found_after_its_leader_died(started):
    leader = started(PARENT, start_new_session=True)
    known = processes.find(leader.pid)
    leader.kill()
    leader.wait()
    orphans = processes.in_session(known)
    assert len(orphans) == 1
    assert processes.end(orphans) == orphans
    assert processes.in_session(known) == []


def test_a_reused_session_number_is_nobody_of_ours(started):
    leader = started(SLEEP, start_new_session=True)
    earlier = processes.Process(leader.pid, started=1)
    assert processes.in_session(earlier) == []


def test_processes_are_found_by_the_mark_in_their_environment(started, tmp_path):
    mark = str(tmp_path)
    marked = started(SLEEP, env=os.environ | {processes.MARKER: mark})
    started(SLEEP, env=os.environ | {processes.MARKER: f"{mark}-of-another-stack"})
    assert [process.pid for process in processes.marked(mark)] == [marked.pid]


def test_a_process_that_ignores_sigterm_is_ended_all_the_same(started):
    stubborn = started(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}")
    found = processes.find(stubborn.pid)
    assert processes.end([found], grace_s=0.3) == [found]
    assert stubborn.wait() == -9


def test_a_process_that_is_gone_is_not_mistaken_for_a_later_one_of_its_number(started):
    process = started(SLEEP)
    found = processes.find(process.pid)
    assert found.is_alive()
    assert abs(found.started_at - time.time()) < 30
    assert not processes.Process(process.pid, found.started - 1).is_alive()


def test_the_holder_of_a_port_is_named():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert processes.is_port_taken(port)
        assert processes.port_holder(port).startswith(f"pid {os.getpid()} (")
    assert not processes.is_port_taken(port)


def test_memory_counts_a_tree_once():
    own = processes.find(os.getpid())
    assert processes.memory_mib([own]) > 5
    assert processes.memory_mib([]) == 0
    assert processes.available_memory_mib() > 0


def test_lock_holders_name_who_holds_which_file(started, tmp_path):
    (tmp_path / "tasks").mkdir()
    path, free = tmp_path / "tasks" / "held.lock", tmp_path / "free.lock"
    free.touch()
    script = f"import fcntl; f = open({str(path)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); {SLEEP}"
    holder = started(script)
    assert processes.lock_holders(tmp_path) == [(path, holder.pid)]
    assert processes.lock_holders(tmp_path / "absent") == []
