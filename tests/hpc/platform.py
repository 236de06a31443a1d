"""Airflow on Postgres beside a Slurm lab with accounting, and a DAG whose jobs are counted by Slurm itself."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

from contracts.settings import REPOSITORY
from infra.local import credentials, processes
from infra.local.airflow_api import AirflowApi
from tests.dags.slurm.fakes import fake_venv
from tests.local_stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.slurm.lab import Lab

SOURCES = REPOSITORY / "tests" / "hpc" / "kills"
DAG, TASK = "probe_hpc", "fit"
SERVICES = ("airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
#: What makes Airflow see within seconds that one of its parts is gone; its own values are minutes.
IMPATIENT = {
    "MILLRACE_AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "MILLRACE_AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "MILLRACE_AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "MILLRACE_AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "MILLRACE_AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}


class Platform:
    """A stack from a copy of the code, with the probe DAG in it; ``up`` first, ``down`` always."""

    def __init__(self, folder: Path, base: int, database: str, lab: Lab) -> None:
        self.lab, self._folder = lab, folder
        self.code = folder / "code"
        for name in ("bin", "contracts", "dags", "infra", "pipelines"):
            shutil.copytree(REPOSITORY / name, self.code / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(SOURCES / "probe_hpc.py", self.code / "dags")
        (self.code / "fit" / "spark_apps").mkdir(parents=True)
        shutil.copy(SOURCES / "fit.py", self.code / "fit" / "spark_apps")
        self.stack = Stack(folder / "state", base, self.code)
        toolchain = str(self.stack.places.settings.toolchain)
        own = {"MILLRACE_TOOLCHAIN": toolchain, "MILLRACE_AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
        self.stack.environment |= IMPATIENT | own

    def up(self) -> None:
        done = self.stack("up", *SERVICES, "--timeout", "300")
        assert done.returncode == 0, done.stdout + done.stderr
        password = credentials.load(self.stack.places.state).airflow_password
        self.api = AirflowApi.login(self.stack.base + 80, password)
        self._add_connection()
        wait_for(lambda: DAG in self.api.dag_ids(), 120)
        assert self.api.import_errors() == []
        self.api.unpause(DAG)

    def down(self) -> None:
        done = self.stack("down")
        assert done.returncode == 0, done.stderr

    def run(self, meanwhile: Callable[[str], None] = lambda _run_id: None) -> tuple[str, list[str | None]]:
        """One run of the DAG, ``meanwhile`` beside it: id of the run and the states of its tasks at the end."""
        run_id = self.api.trigger(DAG)
        meanwhile(run_id)
        self.api.wait(DAG, run_id, 300, lambda _: None)
        return run_id, [task["state"] for task in self.api.tasks(DAG, run_id)]

    def is_over(self, run_id: str) -> bool:
        return str(self.api.run(DAG, run_id)["state"]) in {"success", "failed"}

    def jobs(self) -> dict[str, list[tuple[str, str]]]:
        """What Slurm's accounting has of the probe: job name to (id, state) of each of its jobs."""
        answer = self.lab.run("sacct", "-X", "-n", "-P", "-S", "now-1day", "-o", "JobName,JobID,State")
        assert answer.returncode == 0, answer.stderr
        found: dict[str, list[tuple[str, str]]] = {}
        for line in answer.stdout.splitlines():
            name, job_id, state = line.split("|")
            if DAG in name:
                found.setdefault(name, []).append((job_id, state))
        return found

    def queue(self) -> list[str]:
        """Jobs of the probe that wait or run, with their states."""
        answer = self.lab.run("squeue", "--noheader", "--format=%j %T")
        assert answer.returncode == 0, answer.stderr
        return [line for line in answer.stdout.splitlines() if DAG in line]

    def settled_jobs(self) -> dict[str, list[tuple[str, str]]] | None:
        """The same as ``jobs``, once accounting knows the end of every job that the controller has seen."""
        found = self.jobs()
        answer = self.lab.run("squeue", "--noheader", "--states=all", "--format=%A %j")
        assert answer.returncode == 0, answer.stderr
        seen = {line.split()[0] for line in answer.stdout.splitlines() if DAG in line}
        known = {job_id: state for jobs in found.values() for job_id, state in jobs}
        is_settled = seen <= set(known) and not {"RUNNING", "PENDING", "COMPLETING"} & set(known.values())
        return found if is_settled else None

    def kill(self, victim: str, chance: random.Random) -> str:
        """SIGKILL one ``victim``; what was killed, in words, or nothing where no such process lived."""
        if victim == "ssh":
            # Every session with it: a remote script dies wherever it is, sbatch included.
            self.lab.kill("sshd")
            self.lab.restart("sshd")
            return "sshd and its sessions"
        if victim == "task":
            return self._kill_a_task(chance)
        pid = self.stack.service(f"airflow-{victim}")["pid"]
        found = processes.find(pid) if pid else None
        if found is None:
            return ""
        # As the kernel takes one process that is too large, or as a host goes down with all it runs.
        family = processes.tree(found.pid) if chance.random() < 0.5 else [found]
        for process in family:
            _kill(process.pid)
        return f"{victim} ({len(family)} processes)"

    def _kill_a_task(self, chance: random.Random) -> str:
        deadline = time.monotonic() + 15
        while not (running := self._task_processes()):
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1.5))
        victims = self._task_processes() or running
        pid = chance.choice(victims)
        return "a task's process" if _kill(pid) else ""

    def _task_processes(self) -> list[int]:
        """Grandchildren of the scheduler: below each worker of the LocalExecutor the task that it runs."""
        root = self.stack.service("airflow-scheduler")["pid"]
        return [p.pid for p in processes.tree(root) if _parent(_parent(p.pid)) == root] if root else []

    def _add_connection(self) -> None:
        known = json.loads(self.lab.airflow_connection)
        extra = known["extra"] | {
            "site": "plain", "base_dir": str(self.lab.places.scratch / "kills"),
            "venv": str(fake_venv(self._folder / "venv")),
        }  # fmt: skip
        body = {key: known[key] for key in ("conn_type", "host", "port", "login") if key in known}
        self.api.call("POST", "/connections", {"connection_id": "probe_cluster", **body, "extra": json.dumps(extra)})


def wait_for(condition: Callable[[], Any], timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
    return found


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
