"""One job for one task, whoever is killed while it is submitted: the worker, or the connection with all it runs."""

import asyncio
import json
import multiprocessing
import os
import random
import signal
import time

import pytest

from dags.operators.slurm import work
from dags.operators.slurm.connections import open_cluster
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.settings import cluster_settings
from dags.operators.slurm.spec import SbatchSpec
from dags.operators.slurm.staging import Input
from tests.dags.slurm.fakes import fake_venv

ROUNDS = int(os.environ.get("MILLRACE_KILLS", "8"))


@pytest.fixture
def submit(lab, tmp_path):
    """``submit(item)``: the id of the job of this task."""
    lab.start()
    code = tmp_path / "code"
    code.mkdir()
    (code / "fit.py").write_text("")
    found = json.loads(lab.airflow_connection)
    extra = found["extra"] | {
        "base_dir": str(lab.places.scratch / "never-two"), "venv": str(fake_venv(tmp_path / "venv")),
    }  # fmt: skip
    settings = cluster_settings("hpc", found["host"], found["port"], found["login"], None, extra)
    run = f"run-{time.time()}"

    def once(item: str) -> str:
        key = WorkKey("never_two", "fit", run, item)
        # It never starts: only submissions count here.
        spec = SbatchSpec(memory_mib=256, time_limit_min=5, extra={"begin": "now+3600"})
        request = work.Request(key, spec, "fit.py", "code", (), (Input(str(code), None, "code"),))

        async def one():
            cluster = open_cluster(settings, "slurm")
            try:
                return await work.submit(cluster, settings, request, say=lambda _line: None)
            finally:
                await cluster.close()

        return asyncio.run(one()).job_id

    yield once
    lab.run("scancel", f"--user={lab.places.user}")


def jobs(lab):
    rows = lab.run("squeue", "-h", "-t", "all", "-o", "%i %j").stdout.splitlines()
    return [row.split()[0] for row in rows if "never_two" in row]


@pytest.mark.parametrize("victim", ["worker", "sshd"])
def test_whoever_is_killed_there_is_one_job(lab, submit, victim):
    fork = multiprocessing.get_context("fork")
    chance = random.Random(7)  # noqa: S311 - moments of kills, the same in each run
    began = time.monotonic()
    submit("whole")
    whole_s = time.monotonic() - began
    known = set(jobs(lab))
    interrupted = 0
    for number in range(ROUNDS):
        item = f"{victim}-{number}"
        for _ in range(2):
            child = fork.Process(target=submit, args=(item,))
            child.start()
            child.join(chance.uniform(0.1, 1.1) * whole_s)
            if child.is_alive():
                interrupted += 1
                if victim == "sshd":
                    # With every session: the remote script dies wherever it is, sbatch included.
                    lab.kill("sshd")
                    lab.restart("sshd")
                os.kill(child.pid, signal.SIGKILL)
            child.join()
        job = submit(item)
        made = set(jobs(lab)) - known
        assert made == {job}, f"round {number}: {made}, and the ledger has {job}"
        known |= made
    assert interrupted >= ROUNDS // 2, f"only {interrupted} submissions were interrupted"
