"""No driver outlives what started it: the task takes the JVM with it, the JVM takes the Python driver with it."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dags.operators.spark import SPARK_SUBMIT

# Spark in client mode: a JVM (here a shell) starts the Python driver through PYSPARK_DRIVER_PYTHON and waits for it.
SUBMIT = """\
#!/bin/sh
echo $$ > "$PIDS/jvm"
"$PYSPARK_DRIVER_PYTHON" -c 'import os, sys, time
open(os.environ["PIDS"] + "/driver", "w").write(str(os.getpid()) + " " + sys.executable)
time.sleep(60)' &
wait
"""
# The Airflow task: starts spark-submit the way the operator does, and waits.
TASK = "import subprocess, sys; subprocess.Popen([sys.argv[1], 'app.py'], start_new_session=True).wait()"


@pytest.fixture
def application(tmp_path, monkeypatch):
    """A running task, JVM and driver: their process ids."""
    binary = tmp_path / "bin" / "spark-submit"
    binary.parent.mkdir()
    binary.write_text(SUBMIT, encoding="utf-8")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {
        "PATH": f"{binary.parent}:{os.environ['PATH']}", "PYSPARK_PYTHON": sys.executable, "PIDS": str(tmp_path),
    }  # fmt: skip
    task = subprocess.Popen([sys.executable, "-c", TASK, str(SPARK_SUBMIT)], env=environment)
    pids = {"task": task.pid}
    for name in ("jvm", "driver"):
        wait_for(lambda path=tmp_path / name: path.exists() and path.read_text(encoding="utf-8").strip())
        pids[name] = int((tmp_path / name).read_text(encoding="utf-8").split()[0])
    yield pids
    for pid in pids.values():
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    task.wait(10)


def wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def alive(pid):
    """Whether the process runs; one that has ended and is not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_task_leaves_neither_jvm_nor_driver(application):
    assert alive(application["jvm"])
    assert alive(application["driver"])
    os.kill(application["task"], signal.SIGKILL)
    wait_for(lambda: not alive(application["jvm"]) and not alive(application["driver"]))


def test_a_killed_jvm_leaves_no_driver(application):
    os.kill(application["jvm"], signal.SIGKILL)
    wait_for(lambda: not alive(application["driver"]))
    assert not alive(application["jvm"])


def test_the_driver_is_the_python_that_was_asked_for(application, tmp_path):
    assert (tmp_path / "driver").read_text(encoding="utf-8").split()[1] == sys.executable


def test_nothing_starts_when_the_task_died_before_the_signal_was_armed(tmp_path):
    # A subshell that ends at once: by the time the guard looks, its parent is another process.
    marker = tmp_path / "started"
    binary = tmp_path / "spark-submit"
    binary.write_text(f"#!/bin/sh\ntouch {marker}\n", encoding="utf-8")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    slow = tmp_path / "setpriv"
    # The kernel arms the signal only when setpriv runs; until then the parent may die unnoticed.
    slow.write_text('#!/bin/sh\nsleep 0.5\nexec /usr/bin/setpriv "$@"\n', encoding="utf-8")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", f"{SPARK_SUBMIT} app.py & sleep 0.2"], env=environment, check=True)
    time.sleep(1)
    assert not marker.exists()
