"""What is said while a task waits, and how many questions many waiting tasks ask."""

import asyncio
import time

import pytest

from dags.operators.slurm import work
from dags.operators.slurm.cluster import Cluster, Watch, shared
from dags.operators.slurm.errors import HostKeyError, MasterGoneError, TransportError
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.spec import Limits
from dags.operators.slurm.states import Verdict
from dags.operators.slurm.waiting import retrying_kill, wait
from tests.dags.slurm.fakes import KEY, Flaky

FAST = Limits(pending_poll_s=0.05, running_poll_s=0.05)


def submit(fake, request=None):
    return asyncio.run(work.submit(fake.cluster(), fake.settings, request or fake.request("ok"), say=print))


def log(fake, text, job=None):
    with (fake.folder() / "output.log").open("ab") as file:
        file.write(text)


def wait_for(fake, job, *, cluster=None, limits=FAST, reader="1", on_say=lambda _line: None):
    said = []

    def say(line):
        said.append(line)
        on_say(line)

    ending = asyncio.run(wait(cluster or fake.cluster(), job, limits, say=say, since=time.time(), reader=reader))
    return ending, said


def test_the_reason_and_the_estimate_of_a_job_that_waits_are_said_once(fake):
    job = submit(fake)
    polls = []

    def after_three(line):
        polls.append(line)

    async def run():
        task = asyncio.create_task(wait(fake.cluster(), job, FAST, say=after_three, since=time.time()))
        while len(fake.calls("squeue")) < 5:
            await asyncio.sleep(0.05)
        fake.change(job.job_id, state="COMPLETED")
        return await task

    asyncio.run(run())
    waiting = [line for line in polls if "PENDING" in line]
    assert waiting == [f"job {job.job_id}: PENDING (Priority) start estimated for 2026-12-01 08:00:00, cluster time"]


def test_new_lines_of_the_log_are_shown_whole_and_once(fake):
    job = submit(fake)
    fake.change(job.job_id, state="RUNNING", reason="None")
    log(fake, b"first\nsec")

    def more(line):
        if line.endswith("first"):
            log(fake, "ond ü\nlast".encode())
        elif "second" in line:
            fake.change(job.job_id, state="COMPLETED")

    _, said = wait_for(fake, job, on_say=more)
    assert [line for line in said if line.startswith("[job")] == [
        f"[job {job.job_id}] {text}" for text in ("first", "second ü", "last")
    ]


def test_a_watcher_that_is_started_again_goes_on_where_the_first_one_stopped(fake):
    job = submit(fake)
    log(fake, b"one\n")
    cluster = fake.cluster()
    assert asyncio.run(cluster.status(Watch(job, -1, "try-1"), 0)).text == b"one\n"
    log(fake, b"two\n")
    assert asyncio.run(fake.cluster().status(Watch(job, -1, "try-1"), 0)).text == b"two\n"
    # A new try has a log of its own, which begins with the first line.
    assert asyncio.run(fake.cluster().status(Watch(job, -1, "try-2"), 0)).text == b"one\ntwo\n"


def test_a_log_that_grows_faster_than_it_may_be_shown_is_shown_from_its_end(fake):
    job = submit(fake)
    log(fake, b"x" * 999_990 + b"\nthe end\n")
    fake.change(job.job_id, state="COMPLETED")
    _, said = wait_for(fake, job)
    assert any("bytes of the log left out" in line for line in said)
    assert f"[job {job.job_id}] the end" in said
    assert sum(map(len, said)) < 80_000


def test_eight_tasks_that_wait_ask_one_question(fake):
    keys = [WorkKey(KEY.dag_id, KEY.task_id, KEY.run_id, f"item-{number}") for number in range(8)]
    jobs = [submit(fake, fake.request("ok", key=key)) for key in keys]
    before = len(fake.calls("squeue"))
    flaky = Flaky(fake.cluster().transport)

    async def all_of_them():
        cluster = Cluster(flaky)
        waits = [
            asyncio.create_task(wait(cluster, job, FAST, say=lambda _line: None, since=time.time())) for job in jobs
        ]
        while len(fake.calls("squeue")) < before + 3:
            await asyncio.sleep(0.05)
        for job in jobs:
            fake.change(job.job_id, state="COMPLETED")
        return await asyncio.gather(*waits)

    endings = asyncio.run(all_of_them())
    assert {ending.verdict for ending in endings} == {Verdict.SUCCESS}
    assert flaky.runs <= 6
    asked = fake.calls("squeue")[before]
    assert asked[asked.index("-j") + 1].count(",") == 7


def test_one_connection_serves_all_tasks_of_a_process_and_is_closed_after_the_last(fake):
    made, closed = [], []

    class Counted(Flaky):
        async def close(self):
            closed.append(self)

    async def make():
        made.append(Counted(fake.cluster().transport))
        await asyncio.sleep(0.05)
        return Cluster(made[-1])

    async def one(pause):
        async with shared("hpc", make) as cluster:
            await asyncio.sleep(pause)
            return cluster

    async def several():
        first = asyncio.create_task(one(0.1))
        await asyncio.sleep(0.01)
        cancelled = asyncio.create_task(one(5))
        others = [asyncio.create_task(one(0.2)) for _ in range(3)]
        await asyncio.sleep(0.02)
        cancelled.cancel()
        found = await asyncio.gather(first, *others)
        assert len({id(each) for each in found}) == 1
        assert len(closed) == 1
        await one(0)

    asyncio.run(several())
    assert len(made) == len(closed) == 2


def test_a_connection_that_cannot_be_made_is_tried_again_by_the_next_task():
    tries = []

    async def make():
        tries.append(1)
        if len(tries) == 1:
            raise TransportError("Connecting", found="no route", required="one", next_step="Again.")
        return Cluster(Flaky(None))

    async def twice():
        with pytest.raises(TransportError):
            async with shared("hpc", make):
                pass
        async with shared("hpc", make):
            pass

    asyncio.run(twice())
    assert len(tries) == 2


def test_an_error_that_another_try_would_meet_again_ends_the_wait_at_once(fake):
    job = submit(fake)

    class Replaced(Flaky):
        async def run(self, *_arguments):
            raise HostKeyError("Connecting", found="another key", required="ours", next_step="Ask.")

    ending, _ = wait_for(fake, job, cluster=Cluster(Replaced(None)))
    assert (ending.verdict, ending.state) == (Verdict.FATAL, "REFUSED")
    assert "another key" in ending.reason


def test_a_person_is_told_when_the_connection_they_opened_is_closed(fake):
    job = submit(fake)

    class Closed(Flaky):
        async def run(self, *_arguments):
            raise MasterGoneError(
                "Reaching", found="closed", required="a master", next_step="Log in again: ssh -fNM hpc"
            )

    ending, said = wait_for(
        fake, job, cluster=Cluster(Closed(None)), limits=Limits(max_outage_s=0.2, pending_poll_s=0.05)
    )
    assert ending.state == "OUTAGE"
    # Once, not every few seconds.
    assert sum("Log in again: ssh -fNM hpc" in line for line in said) == 1


def test_a_kill_marks_the_job_before_it_ends_it(fake):
    job = submit(fake)
    order = []
    (fake.home / "run").touch()
    fake.change(job.job_id, state="RUNNING")
    assert asyncio.run(retrying_kill(fake.cluster(), job, order.append))
    assert fake.jobs()[0]["state"] == "CANCELLED"
    assert (fake.folder() / "killed").exists()
    assert fake.calls("scancel") == [[f"--name={job.name}", job.job_id]]


def test_a_kill_never_ends_a_job_that_was_given_the_same_id(fake):
    job = submit(fake)
    fake.change(job.job_id, name="stranger", state="RUNNING")
    asyncio.run(retrying_kill(fake.cluster(), job, print))
    assert fake.jobs()[0]["state"] == "RUNNING"


def test_a_job_whose_submission_was_never_heard_of_is_found_and_killed(fake):
    job = submit(fake)
    (fake.folder() / "job.id").unlink()
    asyncio.run(fake.cluster().kill(Job("", job.name, job.folder, 0)))
    assert fake.jobs()[0]["state"] == "CANCELLED"


def test_a_kill_that_cannot_be_sent_is_tried_again_and_then_left_to_a_person(fake):
    job, said = submit(fake), []
    failures = iter([True, False])
    cluster = Cluster(Flaky(fake.cluster().transport, before=lambda _: next(failures)))
    assert asyncio.run(retrying_kill(cluster, job, said.append, pause_s=0))
    assert fake.jobs()[0]["state"] == "CANCELLED"
    gone = Cluster(Flaky(None, before=lambda _: True))
    assert not asyncio.run(retrying_kill(gone, job, said.append, pause_s=0))
    assert f"touch {job.folder}/killed; scancel {job.job_id}" in said[-1]


def test_a_hopeless_job_is_cancelled_also_when_the_connection_fails_just_then(fake):
    job = submit(fake)
    fake.change(job.job_id, reason="PartitionTimeLimit")
    failures = iter([True])
    cluster = Cluster(
        Flaky(fake.cluster().transport, before=lambda stdin: b"# kill " in stdin and next(failures, False))
    )
    cluster._pause_after = lambda _failures: 0.0
    ending, _ = wait_for(fake, job, cluster=cluster)
    assert ending.verdict is Verdict.STUCK
    assert fake.jobs()[0]["state"] == "CANCELLED"


@pytest.mark.parametrize("command", ["squeue", "scontrol", "sacct"])
def test_a_queue_that_does_not_answer_is_no_job_that_is_lost(fake, command):
    job = submit(fake)
    (fake.home / f"{command}.fail").write_text("slurm_load_jobs error: Unable to contact slurm controller")
    if command != "squeue":
        fake.change(job.job_id, state="COMPLETED", in_squeue=command == "scontrol")
    limits = Limits(max_outage_s=0.3, pending_poll_s=0.05, running_poll_s=0.05, lost_after_polls=2)
    ending, said = wait_for(fake, job, limits=limits)
    # Without scontrol there is squeue's own state; without accounts a job that squeue forgot is known to nobody.
    expected = {"squeue": "OUTAGE", "scontrol": "COMPLETED", "sacct": ""}[command]
    assert ending.state == expected
    assert any("Unable to contact slurm controller" in line for line in said) == (command == "squeue")
