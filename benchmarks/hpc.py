"""Many waiting jobs on one triggerer, and how long a job takes from `sbatch` to Spark. `make bench-hpc`.

    make bench-hpc PARTS="[waiting] [starting]"

`waiting` runs the operator's triggers as Airflow's triggerer does, a thousand in one event loop, against a cluster that
answers from memory: what is measured is ours. `starting` submits a small Spark application to the Slurm lab, over SSH.
Runs in Airflow's environment.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from airflow.triggers.base import BaseTrigger

from benchmarks.figures import Figures
from benchmarks.processes import cpu_s_of, resident_mib
from contracts.settings import Ports, Settings
from dags.operators.slurm import trigger, work
from dags.operators.slurm.cluster import MAX_JOBS_PER_QUESTION, Cluster
from dags.operators.slurm.connections import open_cluster
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.settings import cluster_settings
from dags.operators.slurm.spec import Limits, SbatchSpec
from dags.operators.slurm.staging import Input
from dags.operators.slurm.transports import Completed
from dags.operators.slurm.waiting import wait
from infra.slurm.lab import Lab

JOBS, MINUTES = 1000, 3
STARTS = 5
#: A job writes about so much log between two questions.
_LINE = "epoch done\n"

APPLICATION = """
import json, time
began = time.time()
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("start").getOrCreate()
ready = time.time()
spark.range(1000).count()
steps = {"python_started": began, "spark_started": ready, "first_job_done": time.time()}
print("STEPS " + json.dumps(steps), flush=True)
spark.stop()
"""


class Answers:
    """A cluster whose jobs all run: it answers the question about jobs as the remote script does, from memory."""

    def __init__(self) -> None:
        self.commands = 0

    async def run(self, _command: str, stdin: bytes = b"", _timeout_s: float = 0.0) -> Completed:
        self.commands += 1
        await asyncio.sleep(0.2)
        said = stdin.decode().rpartition("main <<'END_OF_INPUT'\n")[2].splitlines()[:-1]
        lines = []
        for line in said:
            job_id, name, _, read_from, _ = line.split()
            begin = max(int(read_from), 0)
            lines.append(f"QUEUE {job_id}|RUNNING|None|N/A|{name}|node1|1:00|10:00")
            lines.append(f"LOG {job_id} {begin} {begin + len(_LINE)}")
            lines.append(f"TEXT {job_id} {begin} ZXBvY2ggZG9uZQo=")
        return Completed(0, ("\n".join([*lines, "END"]) + "\n").encode(), b"")

    async def put(self, local: Path, remote: str) -> None: ...

    async def get(self, remote: str, local: Path) -> None: ...

    async def close(self) -> None: ...


def main() -> None:
    parts: dict[str, Callable[[Figures], None]] = {"waiting": waiting, "starting": starting}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(parts)}")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(parts):
        parser.error(f"found the parts {sorted(unknown)}, required some of {', '.join(parts)}")
    figures = Figures()
    for part in args.parts or parts:
        parts[part](figures)
        figures.write("hpc")


def waiting(figures: Figures) -> None:
    """Memory of a process with nothing but triggers, its CPU time, its questions, and how late the loop is."""
    answers = Answers()
    before = resident_mib()

    async def opened(_: trigger.ClusterJobTrigger) -> Cluster:
        return Cluster(answers)

    trigger.ClusterJobTrigger._open = opened  # noqa: SLF001 - all that differs from a triggerer: what it connects to
    late: list[float] = []
    cpu_before = cpu_s_of(os.getpid())
    asyncio.run(_watch([_trigger(n) for n in range(JOBS)], late))
    cpu = cpu_s_of(os.getpid()) - cpu_before
    figures.add("waiting.jobs", JOBS, "deferred jobs in one process")
    figures.add("waiting.memory", resident_mib(), "MiB, resident", "<= 300")
    figures.add("waiting.memory_of_jobs", resident_mib() - before, "MiB more than without them")
    # A job is asked about again after 85 % of its pause at the earliest.
    most = math.ceil(JOBS / MAX_JOBS_PER_QUESTION) * 60 / (0.85 * Limits().running_poll_s)
    figures.add("waiting.commands", answers.commands / MINUTES, "commands a minute", f"<= {most:.0f}")
    figures.add("waiting.cpu", cpu / MINUTES, "CPU s a minute")
    figures.add("waiting.loop_lateness_p99", statistics.quantiles(late, n=100)[98] * 1000, "ms")


async def _watch(triggers: list[BaseTrigger], late: list[float]) -> None:
    tasks = [asyncio.ensure_future(_drive(each)) for each in triggers]
    until = time.monotonic() + 60 * MINUTES
    while time.monotonic() < until:
        due = time.monotonic() + 0.1
        await asyncio.sleep(0.1)
        late.append(time.monotonic() - due)
    ended = [task for task in tasks if task.done()]
    if ended:
        raise AssertionError(f"{len(ended)} triggers ended by themselves: {ended[0]}")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _drive(waits: BaseTrigger) -> None:
    async for _ in waits.run():
        return


def _trigger(n: int) -> trigger.ClusterJobTrigger:
    job = Job(str(1000 + n), f"millrace.job{n}.g0", f"/base/jobs/millrace.job{n}/g0", 0)
    return trigger.ClusterJobTrigger(
        ssh_conn_id="hpc", queue="slurm", job=asdict(job), limits=Limits().model_dump(), since=time.time()
    )


def starting(figures: Figures) -> None:
    """Seconds from the submission to each step, as seen in the job's folder on the lab's disk, on an idle lab."""
    with tempfile.TemporaryDirectory(prefix="millrace-hpc-") as folder:
        home = Path(folder)
        (home / "code" / "spark_apps").mkdir(parents=True)
        (home / "code" / "spark_apps" / "start.py").write_text(APPLICATION)
        with Lab(home / "lab", Ports(base=29_500)) as lab:
            found = [asyncio.run(_start(lab, home, n)) for n in range(STARTS)]
    for step in found[0]:
        values = [each[step] for each in found]
        goal = "<= 15" if step == "spark_started" else ""
        figures.add(f"starting.{step}", statistics.median(values), f"s after the call (median of {STARTS})", goal)


async def _start(lab: Lab, home: Path, n: int) -> dict[str, float]:
    said = json.loads(lab.airflow_connection)
    base = lab.places.scratch / "bench"
    extra = said["extra"] | {
        "base_dir": str(base), "venv": str(Settings().toolchain.resolve() / "env" / "spark"), "site": "lab",
    }  # fmt: skip
    settings = cluster_settings("hpc", said["host"], said["port"], said["login"], None, extra)
    request = work.Request(
        WorkKey("bench", "start", f"run{n}"), SbatchSpec(memory_mib=1800, time_limit_min=10, cpus_per_task=2),
        "spark_apps/start.py", "code", (), (Input(str(home / "code"), None, "code", ("spark_apps",)),),
    )  # fmt: skip
    cluster = open_cluster(settings, "slurm")
    began = time.time()
    try:
        job = await work.submit(cluster, settings, request, say=lambda _: None)
        steps = {"staged_and_submitted": time.time() - began}
        seen = threading.Thread(target=_look, args=(Path(job.folder), began, steps), daemon=True)
        seen.start()
        limits = Limits(pending_poll_s=1, running_poll_s=1, max_run_s=120)
        await wait(cluster, job, limits, say=lambda _: None, since=time.time())
        seen.join(10)
    finally:
        await cluster.close()
    log = (Path(job.folder) / "output.log").read_text(encoding="utf-8")
    [said_by_it] = [line.removeprefix("STEPS ") for line in log.splitlines() if line.startswith("STEPS ")]
    steps |= {step: at - began for step, at in json.loads(said_by_it).items()}
    return steps


def _look(folder: Path, began: float, steps: dict[str, float]) -> None:
    """When files of the job's script appear that say how far it is."""
    signs = {"allocated": folder / "owner", "environment_ready": folder / "conf" / "spark-defaults.conf"}
    while signs and time.time() < began + 120:
        for step, path in list(signs.items()):
            if path.exists():
                steps[step] = time.time() - began
                del signs[step]
        time.sleep(0.02)


if __name__ == "__main__":
    main()
