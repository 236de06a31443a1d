"""Exactly one job per generation, whatever is lost on the way: the real remote scripts against fake Slurm commands."""

import asyncio
import json
import shutil
import subprocess

import pytest

from dags.operators.slurm import work
from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.errors import (
    CommandTimeoutError,
    QueueUnavailableError,
    SpecError,
    SubmissionError,
    TransferError,
    TransportError,
)
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.ledger import remote_script
from dags.operators.slurm.spec import Escalation
from dags.operators.slurm.staging import Input
from tests.dags.slurm.fakes import KEY, Flaky


def submit(fake, request=None, cluster=None):
    request, cluster = request or fake.request("ok"), cluster or fake.cluster()
    return asyncio.run(work.submit(cluster, fake.settings, request, say=print))


def losing(fake, verb, *, reply):
    """A cluster to which the connection is lost at ``verb``, before the command or before its reply."""
    text = f"# {verb} "

    def hit(stdin):
        return text.encode() in stdin

    return Cluster(Flaky(fake.cluster().transport, **{"after" if reply else "before": hit}))


def mark(fake, job, name, text="1"):
    asyncio.run(fake.cluster().mark(job, name, text))


def test_a_job_gets_its_name_its_folder_and_its_resources(fake):
    job = submit(fake, fake.request("ok", partition="compute", nodes=2))
    (options,) = fake.calls("sbatch")
    assert f"--job-name={KEY.name()}.g0" in options
    assert f"--chdir={job.folder}" in options
    assert {"--partition=compute", "--nodes=2", "--mem=1024M", "--no-requeue"} <= set(fake.jobs()[0]["directives"])
    assert (job.job_id, job.how, job.generation) == ("101", "NEW", 0)
    assert (fake.folder() / "job.id").read_text() == "101\n"


def test_the_ledger_and_what_is_staged_belong_to_the_user_alone(fake):
    submit(fake)
    assert fake.base.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in fake.base.rglob("*"))


def test_a_second_try_takes_up_the_job_that_goes_on(fake):
    first = submit(fake)
    again = submit(fake)
    assert (again.job_id, again.how) == (first.job_id, "OLD")
    assert len(fake.jobs()) == 1


def test_a_job_that_ended_well_while_nobody_looked_is_taken_up(fake):
    job = submit(fake)
    fake.change(job.job_id, state="COMPLETED")
    assert submit(fake).job_id == job.job_id
    # Also when only the accounts still know it, and when not even they do but its script noted its end.
    fake.change(job.job_id, in_squeue=False)
    assert submit(fake).job_id == job.job_id
    fake.change(job.job_id, in_sacct=False)
    (fake.folder() / "state.json").write_text('{"phase": "finished", "exit_code": 0}')
    assert submit(fake).job_id == job.job_id
    assert len(fake.jobs()) == 1


def test_a_reply_that_is_lost_after_sbatch_makes_no_second_job(fake):
    with pytest.raises(CommandTimeoutError):
        submit(fake, cluster=losing(fake, "submit", reply=True))
    assert submit(fake).job_id == "101"
    assert len(fake.jobs()) == 1


def test_a_crash_between_sbatch_and_the_ledger_makes_no_second_job(fake):
    submit(fake)
    (fake.folder() / "job.id").unlink()
    job = submit(fake)
    assert (job.job_id, job.how, job.generation) == ("101", "FOUND", 0)
    assert len(fake.calls("sbatch")) == 1


def test_after_such_a_crash_a_job_that_is_over_is_found_without_accounts(fake):
    (fake.home / "no_accounting").touch()
    submit(fake)
    (fake.folder() / "job.id").unlink()
    fake.change("101", state="COMPLETED")
    assert submit(fake).how == "FOUND"
    assert len(fake.calls("sbatch")) == 1


def test_after_such_a_crash_a_job_that_squeue_forgot_is_found_in_the_accounts(fake):
    submit(fake)
    (fake.folder() / "job.id").unlink()
    fake.change("101", in_squeue=False, state="COMPLETED")
    assert submit(fake).job_id == "101"
    assert len(fake.calls("sbatch")) == 1


def test_a_job_of_the_same_name_from_a_ledger_that_is_gone_is_not_taken_for_this_one(fake):
    submit(fake)
    fake.change("101", state="RUNNING", folder="/another/base/jobs/x/g0")
    shutil.rmtree(fake.base)
    assert submit(fake).job_id == "102"
    # Nor one that ended in this very folder before the folder was cleaned away.
    fake.change("102", state="COMPLETED")
    shutil.rmtree(fake.base)
    assert submit(fake).job_id == "103"


def test_a_submission_that_never_arrived_is_made_by_the_next_try(fake):
    with pytest.raises(TransportError):
        submit(fake, cluster=losing(fake, "submit", reply=False))
    assert fake.jobs() == []
    assert submit(fake).how == "NEW"


def test_sbatch_that_says_failed_and_made_a_job_all_the_same_is_not_asked_again(fake):
    (fake.home / "sbatch.lost").write_text("sbatch: error: Batch job submission failed: Socket timed out on send/recv")
    job = submit(fake)
    assert (job.job_id, job.how) == ("101", "FOUND")
    assert len(fake.calls("sbatch")) == 1


def test_a_controller_that_is_too_busy_is_worth_another_try_of_the_same_generation(fake):
    (fake.home / "sbatch.fail").write_text("sbatch: error: Unable to contact slurm controller (connect failure)")
    with pytest.raises(QueueUnavailableError, match="Unable to contact"):
        submit(fake)
    (fake.home / "sbatch.fail").unlink()
    assert submit(fake).generation == 0
    assert len(fake.jobs()) == 1


def test_nothing_is_submitted_while_the_queue_cannot_be_asked_for_the_name(fake):
    (fake.home / "squeue.fail").write_text("slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(QueueUnavailableError):
        submit(fake)
    assert fake.calls("sbatch") == []


def test_what_slurm_refuses_fails_with_its_own_words_and_the_next_generation_is_new(fake):
    (fake.home / "sbatch.fail").write_text("sbatch: error: invalid partition specified: nope")
    with pytest.raises(SubmissionError, match="invalid partition specified: nope"):
        submit(fake)
    (fake.home / "sbatch.fail").unlink()
    assert submit(fake).generation == 1


@pytest.mark.parametrize(
    ("state", "marks"),
    [
        ("COMPLETED", ["consumed"]),
        ("RUNNING", ["killed"]),
        ("FAILED", []),
        ("FAILED", ["ended"]),
        ("COMPLETED", ["ended"]),
    ],
)
def test_what_is_over_is_run_again_as_a_new_generation(fake, state, marks):
    job = submit(fake)
    fake.change(job.job_id, state=state)
    for each in marks:
        mark(fake, job, each)
    again = submit(fake)
    assert (again.job_id, again.generation, again.name) == ("102", 1, f"{KEY.name()}.g1")


def test_a_result_that_was_used_under_the_same_claim_is_used_again_and_under_another_it_is_over(fake):
    request = fake.request("ok", claim="until-try-2")
    job = submit(fake, request)
    fake.change(job.job_id, state="COMPLETED")
    mark(fake, job, "consumed", "until-try-2")
    # The try that used it never told Airflow: another try of the same task, which nobody cleared.
    assert submit(fake, request).job_id == job.job_id
    # Also when the queue has forgotten the job.
    (fake.home / "jobs" / f"{job.job_id}.json").unlink()
    assert submit(fake, request).job_id == job.job_id
    assert submit(fake, fake.request("ok", claim="until-try-5")).generation == 1
    mark(fake, job, "killed")
    assert submit(fake, request).generation == 1


def test_a_job_whose_id_was_given_to_a_stranger_is_not_taken_up(fake):
    submit(fake)
    fake.change("101", name="somebody-elses", state="RUNNING")
    assert submit(fake).generation == 1


def test_neighbours_of_a_mapped_task_have_jobs_of_their_own(fake):
    keys = [WorkKey(KEY.dag_id, KEY.task_id, KEY.run_id, item) for item in ("gbt", "als", "gbt")]
    jobs = [submit(fake, fake.request("ok", key=key)).job_id for key in keys]
    assert jobs == ["101", "102", "101"]


def test_two_tries_at_the_same_moment_share_one_job(fake):
    async def both():
        request = fake.request("ok")
        tries = (work.submit(fake.cluster(), fake.settings, request, say=print) for _ in range(5))
        return await asyncio.gather(*tries)

    jobs = asyncio.run(both())
    assert {job.job_id for job in jobs} == {"101"}
    assert len(fake.calls("sbatch")) == 1


def test_more_memory_is_asked_for_once(fake):
    request = fake.request("ok", escalation=Escalation(OUT_OF_MEMORY=2.0))
    first = submit(fake, request)
    mark(fake, first, "ended", "OUT_OF_MEMORY")
    fake.change(first.job_id, state="FAILED")
    second = submit(fake, request)
    assert "--mem=2048M" in fake.jobs()[1]["directives"]
    assert second.escalated == "OUT_OF_MEMORY"
    # Taken up again it still knows.
    assert submit(fake, request).escalated == "OUT_OF_MEMORY"
    mark(fake, second, "ended", "OUT_OF_MEMORY")
    fake.change(second.job_id, state="FAILED")
    submit(fake, request)
    assert "--mem=1024M" in fake.jobs()[2]["directives"]


def test_more_memory_is_asked_for_although_the_try_that_saw_the_end_could_not_note_it(fake):
    request = fake.request("ok", escalation=Escalation(OUT_OF_MEMORY=2.0))
    fake.change(submit(fake, request).job_id, state="OUT_OF_MEMORY")
    assert submit(fake, request).escalated == "OUT_OF_MEMORY"
    assert "--mem=2048M" in fake.jobs()[1]["directives"]


def test_an_escalation_beyond_what_the_site_has_is_refused(fake):
    fake.settings = fake.settings.model_copy(update={"site": "lab"})
    request = fake.request("ok", escalation=Escalation(TIMEOUT=8.0), time_limit_min=30)
    job = submit(fake, request)
    mark(fake, job, "ended", "TIMEOUT")
    with pytest.raises(SpecError, match="time_limit_min=240"):
        submit(fake, request)
    assert len(fake.jobs()) == 1


def test_what_the_cluster_has_is_not_sent_again(fake):
    submit(fake)
    before = {path: path.stat().st_ino for path in (fake.base / "objects").iterdir()}
    submit(fake, fake.request("other"))
    asyncio.run(fake.cluster().kill(submit(fake)))
    submit(fake)
    after = {path: path.stat().st_ino for path in (fake.base / "objects").iterdir()}
    assert {path: inode for path, inode in after.items() if path in before} == before
    assert f"{'a' * 64}.tar" in {path.name for path in before}


def test_only_the_entries_that_were_named_are_sent(fake):
    submit(fake)
    listed = [
        subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True).stdout.split()
        for path in (fake.base / "objects").glob("*.tar")
    ]
    assert sorted(listed) == [["part-0.parquet"], ["spark_apps/fit.py"]]


def test_half_a_transfer_is_never_used(fake):
    cluster = fake.cluster()
    inner = cluster.transport.put

    async def cut(local, remote):
        await inner(local, remote)
        with open(remote, "r+b") as file:
            file.truncate(100)

    cluster.transport.put = cut
    with pytest.raises(TransferError, match="arrived with the checksum"):
        submit(fake, cluster=cluster)
    assert list((fake.base / "objects").iterdir()) == []
    assert submit(fake).how == "NEW"


def test_an_input_that_does_not_exist_is_named_before_anything_is_sent(fake):
    fake.inputs = (*fake.inputs, Input("/nowhere/snapshot", None, "more"))
    with pytest.raises(SpecError, match="no file or folder /nowhere/snapshot"):
        submit(fake)
    assert fake.calls("sbatch") == []


def test_an_answer_that_is_cut_short_is_no_answer(fake):
    class Cut:
        async def run(self, command, stdin=b"", timeout_s=60):
            done = await fake.cluster().transport.run(command, stdin, timeout_s)
            return type(done)(0, done.stdout[: len(done.stdout) // 2], b"")

    with pytest.raises(TransportError, match="cut short"):
        submit(fake, cluster=Cluster(Cut()))


def test_greetings_of_a_login_shell_do_no_harm(fake):
    class Chatty:
        def __init__(self):
            self.inner = fake.cluster().transport
            self.put = self.inner.put

        async def run(self, command, stdin=b"", timeout_s=60):
            done = await self.inner.run(command, stdin, timeout_s)
            return type(done)(0, b"Welcome to HPC\nlast login: today\n" + done.stdout, b"motd")

    assert submit(fake, cluster=Cluster(Chatty())).job_id == "101"


def test_no_text_of_a_task_reaches_a_command_line(fake):
    seen = []

    class Recording:
        def __init__(self):
            self.inner = fake.cluster().transport
            self.put = self.inner.put

        async def run(self, command, stdin=b"", timeout_s=60):
            seen.append(command)
            return await self.inner.run(command, stdin, timeout_s)

    submit(fake, fake.request("ok", "--note", "$(touch /tmp/pwned)"), cluster=Cluster(Recording()))
    assert set(seen) == {"bash -s"}
    assert "pwned" not in json.dumps(fake.calls("sbatch"))


def test_arguments_of_a_remote_script_are_words_whatever_they_hold():
    script = remote_script("slurm", "look", "it's", '$(reboot) `x`\n"').decode()
    assert script.endswith("main 'it'\"'\"'s' '$(reboot) `x`\n\"' < /dev/null\n")
