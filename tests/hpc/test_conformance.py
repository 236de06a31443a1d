"""The table of ``tests/dags/slurm/conformance.py`` on a living Slurm: what it says must happen is made to happen.

Jobs run our real script with a Spark that is a shell script. Scenarios that disturb nobody share the lab's four CPUs.
"""

import asyncio
import json
import os
import signal
import time
from dataclasses import replace

import pytest

from dags.operators.slurm import work
from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.conclusion import decide, effective_state, evidence
from dags.operators.slurm.connections import open_cluster
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.settings import cluster_settings
from dags.operators.slurm.spec import Escalation, Limits, SbatchSpec
from dags.operators.slurm.staging import Input
from dags.operators.slurm.waiting import wait
from infra.slurm import running
from tests.dags.slurm.conformance import SCENARIOS
from tests.dags.slurm.fakes import fake_venv

EXPECTED = {each.name: each for each in SCENARIOS}
QUICK = Limits(pending_poll_s=0.5, running_poll_s=0.5, lost_after_polls=5)
APPLICATION = """
import os, signal, sys, time
what = sys.argv[1]
print("application:", what, flush=True)
if what.startswith("exit-"):
    sys.exit(int(what[5:]))
if what.startswith("sleep-"):
    time.sleep(float(what[6:]))
if what == "kill-9":
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
if what == "memory":
    held = bytearray(900 << 20)
    time.sleep(60)
"""


class Stage:
    """One scenario on the lab: its job, and the means to disturb it."""

    def __init__(self, lab, settings, inputs, cluster: Cluster, name: str) -> None:
        self.lab, self.settings, self.inputs, self.cluster, self.name = lab, settings, inputs, cluster, name
        self.said: list[str] = []
        self.job: Job | None = None

    async def submit(self, what="sleep-1", **spec) -> Job:
        key = WorkKey("conformance", "live", f"run-{time.time()}", self.name)
        fields = {"memory_mib": 512, "time_limit_min": 5, "signal_s": 30} | spec
        self.spec = SbatchSpec(**fields)
        request = work.Request(key, self.spec, "fit.py", "code", (what,), self.inputs)
        self.job = await work.submit(self.cluster, self.settings, request, say=self.said.append)
        return self.job

    async def slurm(self, *command: str) -> str:
        done = await asyncio.to_thread(self.lab.run, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    async def until(self, state: str, timeout_s: float = 90) -> None:
        deadline = time.monotonic() + timeout_s
        while (found := await self.slurm("squeue", "-h", "-t", "all", "-j", self.job.job_id, "-o", "%T")) != state:
            assert time.monotonic() < deadline, f"{found}, not {state}"
            await asyncio.sleep(0.3)

    async def end(self, limits: Limits = QUICK):
        return await wait(self.cluster, self.job, limits, say=self.said.append, since=time.time(), reader="1")

    async def meanwhile(self, disturb, limits: Limits = QUICK):
        """The ending of a wait during which ``disturb`` happens."""
        waiting = asyncio.create_task(self.end(limits))
        try:
            await disturb
        except BaseException:
            waiting.cancel()
            raise
        return await waiting


async def _exit(stage, code):
    await stage.submit(f"exit-{code}")
    return await stage.end()


async def _over_before(stage):
    await stage.submit("sleep-0")
    await stage.until("COMPLETED")
    return await stage.end()


async def _no_environment(stage):
    stage.settings = stage.settings.model_copy(update={"venv": "/nowhere/venv"})
    await stage.submit()
    return await stage.end()


async def _plain(stage, what="sleep-2", limits=QUICK, **spec):
    await stage.submit(what, **spec)
    return await stage.end(limits)


async def _suspended(stage):
    async def disturb():
        await stage.until("RUNNING")
        await stage.slurm("scontrol", "suspend", stage.job.job_id)
        await asyncio.sleep(2)
        await stage.slurm("scontrol", "resume", stage.job.job_id)

    await stage.submit("sleep-4")
    return await stage.meanwhile(disturb())


async def _held(stage):
    async def disturb():
        await stage.slurm("scontrol", "hold", stage.job.job_id)
        await asyncio.sleep(2)
        await stage.slurm("scontrol", "release", stage.job.job_id)

    # Not before somebody releases it: a job that may start at once can be gone before it is held.
    await stage.submit("sleep-1", extra={"begin": "now+2"})
    return await stage.meanwhile(disturb())


async def _requeued(stage, how="requeue"):
    async def disturb():
        await stage.until("RUNNING")
        await asyncio.sleep(1)
        await stage.slurm("scontrol", how, stage.job.job_id)
        if how == "requeuehold":
            await asyncio.sleep(3)
            await stage.slurm("scontrol", "release", stage.job.job_id)

    await stage.submit("sleep-5", requeue=True)
    return await stage.meanwhile(disturb())


async def _never_satisfied(stage):
    failed = await stage.slurm("sbatch", "--parsable", "--mem=100M", "--wrap", "exit 1")
    await stage.submit(extra={"dependency": f"afterok:{failed}"})
    return await stage.end()


async def _cancelled(stage, how):
    async def disturb():
        if how == "waiting":
            await stage.slurm("scancel", stage.job.job_id)
            return
        await stage.until("RUNNING")
        await asyncio.sleep(1)
        await (stage.cluster.kill(stage.job) if how == "ours" else stage.slurm("scancel", stage.job.job_id))

    await stage.submit("sleep-100", **({"extra": {"begin": "now+300"}} if how == "waiting" else {}))
    return await stage.meanwhile(disturb())


async def _unknown(stage):
    await stage.submit("sleep-0")
    stage.job = replace(stage.job, job_id="9999999", folder=f"{stage.job.folder}x")
    return await stage.end()


async def _id_reused(stage):
    await stage.submit("sleep-0")
    stranger = await stage.slurm("sbatch", "--parsable", "--mem=100M", "--wrap", "sleep 20")
    stage.job = replace(stage.job, job_id=stranger, folder=f"{stage.job.folder}x")
    return await stage.end()


QUIET = {
    "runs and ends well": _plain,
    "over before it was first asked about": _over_before,
    "exit code 7": lambda stage: _exit(stage, 7),
    "exit code 2: contract broken": lambda stage: _exit(stage, 2),
    "exit code 5: a dependency was unavailable": lambda stage: _exit(stage, 5),
    "exit code 6: a lock was held": lambda stage: _exit(stage, 6),
    "exit code 69: no environment on the cluster": _no_environment,
    "killed itself with signal 9": lambda stage: _plain(stage, "kill-9"),
    "out of memory, without cgroups: only its log says so": lambda stage: _plain(stage, "memory", memory_mib=300),
    "time limit, its script heard the signal and ended as FAILED 143": lambda stage: _plain(
        stage, "sleep-100", time_limit_min=1, signal_s=50
    ),
    "time limit": lambda stage: _plain(stage, "sleep-200", time_limit_min=1, signal_s=0),
    "suspended and resumed": _suspended,
    "held by a person, then released": _held,
    "requeued by hand, the accounts still say REQUEUED": _requeued,
    "requeued into a hold": lambda stage: _requeued(stage, "requeuehold"),
    "pending for ever because of PartitionTimeLimit": lambda stage: _plain(
        stage, partition="preempt", time_limit_min=30
    ),
    "pending for ever because of DependencyNeverSatisfied": _never_satisfied,
    "pending for longer than max_queue_s": lambda stage: _plain(
        stage, limits=QUICK.model_copy(update={"max_queue_s": 2.0}), extra={"begin": "now+300"}
    ),
    "running for longer than max_run_s": lambda stage: _plain(
        stage, "sleep-100", limits=QUICK.model_copy(update={"max_run_s": 2.0})
    ),
    "cancelled by us": lambda stage: _cancelled(stage, "ours"),
    "cancelled by another user, while it ran": lambda stage: _cancelled(stage, "theirs"),
    "cancelled by another user, while it waited": lambda stage: _cancelled(stage, "waiting"),
    "known to nobody, for many polls": _unknown,
    "its id was given to somebody else's job": _id_reused,
}


@pytest.fixture(scope="module")
def place(accounted_lab, tmp_path_factory):
    """Settings and inputs for the lab, over SSH as an Airflow connection describes it."""
    folder = tmp_path_factory.mktemp("place")
    code = folder / "code"
    code.mkdir()
    (code / "fit.py").write_text(APPLICATION)
    found = json.loads(accounted_lab.airflow_connection)
    extra = found["extra"] | {
        "base_dir": str(accounted_lab.places.scratch / "millrace"), "site": "plain",
        "venv": str(fake_venv(folder / "venv")),
    }  # fmt: skip
    settings = cluster_settings("hpc", found["host"], found["port"], found["login"], None, extra)
    return accounted_lab, settings, (Input(str(code), None, "code"),)


def check(stage, ending):
    expected = EXPECTED[stage.name]
    tail = "\n".join(line for line in stage.said if line.startswith("[job"))
    state = effective_state(ending, tail)
    decision, _ = decide(ending, state, Escalation(), "")
    found = (ending.verdict.value, ending.state, decision)
    assert found == (expected.verdict, expected.state, expected.decision), "\n".join(stage.said)
    if expected.cancels:
        shown = stage.lab.run("squeue", "-h", "-t", "all", "-j", stage.job.job_id, "-o", "%T").stdout.strip()
        assert shown in {"CANCELLED", "COMPLETING"}


@pytest.fixture(scope="module")
def quiet(place):
    """All scenarios that disturb nobody else, at the same time, over one connection and with shared questions."""
    lab, settings, inputs = place

    async def all_of_them():
        cluster = open_cluster(settings, "slurm")
        stages = {name: Stage(lab, settings, inputs, cluster, name) for name in QUIET}

        async def one(name):
            try:
                return await asyncio.wait_for(QUIET[name](stages[name]), 240)
            except Exception as error:  # noqa: BLE001 - shown by the test of that scenario
                return error

        try:
            endings = await asyncio.gather(*(one(name) for name in QUIET))
        finally:
            await cluster.close()
        return {name: (stages[name], ending) for name, ending in zip(QUIET, endings, strict=True)}

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("name", QUIET)
def test_on_a_living_cluster(quiet, name):
    stage, ending = quiet[name]
    assert not isinstance(ending, Exception), "\n".join([*stage.said, repr(ending)])
    check(stage, ending)


def play(place, name, scene):
    """One scenario that has the lab to itself."""
    lab, settings, inputs = place

    async def run():
        cluster = open_cluster(settings, "slurm")
        stage = Stage(lab, settings, inputs, cluster, name)
        try:
            return stage, await asyncio.wait_for(scene(stage), 200)
        finally:
            await cluster.close()

    stage, ending = asyncio.run(run())
    check(stage, ending)
    return stage, ending


@pytest.mark.parametrize(("name", "requeue"), [("preempted, no requeue", False), ("preempted and requeued", True)])
def test_preemption(place, name, requeue):
    async def scene(stage):
        async def disturb():
            await stage.until("RUNNING")
            await stage.slurm("sbatch", "--parsable", "-N2", "--exclusive", "--mem=100M", "--wrap", "sleep 2")

        await stage.submit("sleep-5", partition="preempt", requeue=requeue, nodes=1, cpus_per_task=2)
        return await stage.meanwhile(disturb())

    stage, _ = play(place, name, scene)
    assert any("restart 1" in line for line in stage.said) == requeue


def test_a_node_that_loses_its_power(place):
    lab, settings, inputs = place
    names = ("lost node, no requeue", "lost node, requeued: the accounts show an end, squeue a job that waits")

    async def run():
        cluster = open_cluster(settings, "slurm")
        stages = [Stage(lab, settings, inputs, cluster, name) for name in names]
        try:
            for stage, requeue in zip(stages, (False, True), strict=True):
                await stage.submit("sleep-15", requeue=requeue, extra={"nodelist": "hpc2"})
                await stage.until("RUNNING")

            async def power():
                await asyncio.to_thread(lab.kill, "hpc2")
                await stages[0].until("NODE_FAIL")
                await asyncio.to_thread(lab.restart, "hpc2")

            waits = [asyncio.create_task(stage.end()) for stage in stages]
            await power()
            return stages, await asyncio.wait_for(asyncio.gather(*waits), 150)
        finally:
            await cluster.close()

    try:
        stages, endings = asyncio.run(run())
    finally:
        lab.restart("hpc2")
        lab.wait_for_nodes()
    for stage, ending in zip(stages, endings, strict=True):
        check(stage, ending)
    assert any("it was requeued and will run again" in line for line in stages[1].said)


@pytest.mark.parametrize(
    ("name", "daemon", "away_s", "limits"),
    [
        ("the connection is lost and comes back", "sshd", 4, QUICK),
        ("the controller is restarted", "slurmctld", 0, QUICK),
        ("an outage beyond the limit", "sshd", 8, QUICK.model_copy(update={"max_outage_s": 3.0})),
        ("the controller is away beyond the limit", "slurmctld", 25, QUICK.model_copy(update={"max_outage_s": 3.0})),
    ],
)
def test_outages(place, name, daemon, away_s, limits):
    lab = place[0]

    async def scene(stage):
        async def disturb():
            await stage.until("RUNNING")
            await asyncio.sleep(1)
            if daemon == "sshd":
                await asyncio.to_thread(lab.kill, daemon)
                await asyncio.sleep(away_s)
            elif away_s:
                # Too busy to answer. A controller that is killed may forget what it did in the last five seconds.
                controller = running.find(lab.places, daemon).pid
                os.kill(controller, signal.SIGSTOP)
                await asyncio.sleep(away_s)
                os.kill(controller, signal.SIGCONT)
                return
            await asyncio.to_thread(lab.restart, daemon)

        await stage.submit("sleep-12")
        ending = await stage.meanwhile(disturb(), limits)
        if ending.state == "OUTAGE":
            # The next try finds the same job, which went on all the time.
            lab.wait_for_nodes()
            assert (await stage.end()).state == "COMPLETED"
        return ending

    stage, ending = play(place, name, scene)
    # squeue itself tries a controller for some ten seconds: a short restart is only a slow answer.
    if daemon == "sshd" or ending.state == "OUTAGE":
        assert any("no answer from the cluster" in line for line in stage.said)


def test_what_a_job_used_is_accounted_for(place):
    lab, settings, inputs = place

    async def run():
        cluster = open_cluster(settings, "slurm")
        stage = Stage(lab, settings, inputs, cluster, "usage")
        await stage.submit("sleep-4")
        await stage.end()
        # slurmdbd hears of an end a moment later.
        await asyncio.sleep(2)
        found = await evidence(cluster, stage.job, stage.spec)
        await cluster.close()
        return found

    used = asyncio.run(run()).usage
    assert used.source == "sacct"
    assert 3 <= used.elapsed_s <= 30
    assert (used.cpus, used.nodes) == (1, 1)
    assert 0 < used.node_hours < 0.01
    assert used.peak_memory_mib is not None
    assert 0 < used.cpu_efficiency < 1
