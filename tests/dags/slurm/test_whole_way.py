"""From files to results: the real job script, on a fake Slurm and detached, with a Spark that is a shell script."""

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from contracts.results import RunContext, RunResult
from dags.operators.slurm import work
from dags.operators.slurm.cluster import Cluster, Watch
from dags.operators.slurm.errors import ResultError, TransferError, TransportError
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.spec import Escalation, Limits
from dags.operators.slurm.states import Verdict
from dags.operators.slurm.waiting import wait
from tests.dags.slurm.fakes import KEY, Flaky

FAST = Limits(pending_poll_s=0.1, running_poll_s=0.1, lost_after_polls=3)
CONTEXT = RunContext(dag_id=KEY.dag_id, run_id=KEY.run_id, task_id=KEY.task_id, try_number=2)


@pytest.fixture(params=["slurm", "detached"])
def place(fake, request):
    (fake.home / "run").touch()
    fake.queue = request.param
    return fake


def submit(place, request):
    return asyncio.run(work.submit(place.cluster(), place.settings, request, say=print))


def end_of(place, job, limits=FAST):
    said = []
    return asyncio.run(wait(place.cluster(), job, limits, say=said.append, since=time.time())), said


def conclude(place, job, ending, request, cluster=None):
    folder = place.base.parent
    request = work.Request(**(request.__dict__ | {"outputs": folder / "outputs"}))
    return asyncio.run(
        work.conclude(cluster or place.cluster(), job, ending, request, CONTEXT, folder / "runs", say=print)
    )


def whole(place, *args, **options):
    request = place.request(*args, **options)
    job = submit(place, request)
    ending, said = end_of(place, job)
    return conclude(place, job, ending, request), said


def until(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_the_job_made_comes_back_with_its_checksums(place):
    outcome, said = whole(place, "sleep-3")
    outputs = place.base.parent / "outputs"
    assert (outputs / "model" / "weights").read_bytes() == b"PAR1 not really"[::-1]
    assert outcome.decision == "done"
    assert outcome.summary["metrics"] == {"auc": 0.81}
    assert outcome.summary["artefacts"][0]["path"] == str(outputs / "model" / "weights")
    assert outcome.summary["usage"]["node_hours"] > 0
    assert outcome.summary["usage"]["peak_memory_mib"] > 0
    # As the result of this try, where the DAGs read it.
    filed = RunResult.read(CONTEXT.result_path(place.base.parent / "runs"))
    assert filed.context == CONTEXT
    assert any("application says sleep-3" in line for line in said)


def test_a_cleared_task_runs_again_and_a_retry_of_the_end_does_not(place):
    request = place.request("ok")
    job = submit(place, request)
    ending, _ = end_of(place, job)
    # The worker died before it fetched anything: the next try takes the same job up.
    assert submit(place, request).job_id == job.job_id
    assert conclude(place, job, ending, request).decision == "done"
    assert submit(place, request).generation == 1


def test_a_try_that_lost_the_connection_after_it_used_the_result_makes_no_second_job(place):
    request = place.request("ok", claim="until-try-2")
    job = submit(place, request)
    ending, _ = end_of(place, job)
    with pytest.raises(TransportError):
        conclude(place, job, ending, request, losing_the_reply_to_mark(place))
    assert (place.folder() / "consumed").read_text() == "until-try-2\n"
    again = submit(place, request)
    assert again.job_id == job.job_id
    ending, _ = end_of(place, again)
    assert conclude(place, again, ending, request).decision == "done"
    # Cleared by a person it runs again.
    assert submit(place, place.request("ok", claim="until-try-5")).generation == 1


def test_a_failure_is_final_although_the_note_about_it_was_lost(place):
    request = place.request("exit-7")
    job = submit(place, request)
    ending, _ = end_of(place, job)
    outcome = conclude(place, job, ending, request, losing_the_reply_to_mark(place))
    assert (outcome.decision, "ended as FAILED" in outcome.message) == ("fail", True)


def losing_the_reply_to_mark(place):
    inner = place.cluster()
    return Cluster(Flaky(inner.transport, after=lambda stdin: b"# mark " in stdin), inner.queue)


def test_a_failure_says_all_that_is_known_and_is_noted(place):
    outcome, _ = whole(place, "exit-7")
    assert outcome.decision == "fail"
    parts = ("ended as FAILED", "exit code 7:0", "application says exit-7", "of 1024 MiB requested")
    assert [part for part in (*parts, str(place.folder())) if part not in outcome.message] == []
    assert (place.folder() / "ended").read_text() == "FAILED\n"
    assert submit(place, place.request("exit-7")).generation == 1


def test_an_application_that_found_a_dependency_down_is_tried_again(place):
    assert whole(place, "exit-5")[0].decision == "retry"


@pytest.mark.parametrize(
    ("what", "says"),
    [("no-result", "found none, though the job ended well"), ("damaged-result", "a damaged one")],
)
def test_a_job_that_ended_well_without_a_whole_result_has_failed(place, what, says):
    with pytest.raises(ResultError, match=says):
        whole(place, what)
    assert (place.folder() / "ended").exists()
    assert not (place.base.parent / "outputs").exists()


def test_artefacts_that_do_not_match_the_result_are_not_taken(place):
    outputs = place.base.parent / "outputs"
    outputs.mkdir()
    (outputs / "older").touch()
    with pytest.raises(ResultError, match="required the checksum 0000"):
        whole(place, "wrong-checksum")
    assert [path.name for path in outputs.iterdir()] == ["older"]
    assert [path.name for path in place.base.parent.iterdir() if path.name.startswith(".outputs")] == []


def test_a_transfer_that_was_cut_is_fetched_again_without_running_again(place):
    request = place.request("ok")
    job = submit(place, request)
    ending, _ = end_of(place, job)
    cluster = place.cluster()
    inner = cluster.transport.get

    async def cut(remote, local):
        await inner(remote, local)
        os.truncate(local, 600)

    cluster.transport.get = cut
    with pytest.raises(TransferError):
        conclude(place, job, ending, request, cluster)
    again = submit(place, request)
    assert again.job_id == job.job_id
    assert conclude(place, again, ending, request).decision == "done"


def test_the_result_of_another_task_is_not_taken(place):
    request = place.request("ok")
    other = work.Request(**(request.__dict__ | {"args": (*request.args[:-1], "another_task")}))
    job = submit(place, other)
    ending, _ = end_of(place, job)
    with pytest.raises(ResultError, match="another_task"):
        conclude(place, job, ending, request)


def test_a_kill_ends_the_application_and_its_children(place):
    request = place.request("sleep-300")
    job = submit(place, request)
    until(lambda: b"application says" in (place.folder() / "output.log").read_bytes())
    began = time.monotonic()
    asyncio.run(place.cluster().kill(job))
    ending, _ = end_of(place, job)
    assert time.monotonic() - began < 10
    assert ending.verdict is Verdict.KILLED
    assert processes_with(str(place.base)) == []
    assert json.loads((place.folder() / "state.json").read_text())["phase"] == "terminated"
    again = submit(place, request)
    assert again.generation == 1
    asyncio.run(place.cluster().kill(again))


def test_a_second_copy_of_a_job_ends_before_it_writes_anything(place):
    request = place.request("sleep-2")
    job = submit(place, request)
    until((place.folder() / "owner").exists)
    owner = (place.folder() / "owner").read_text()
    again = subprocess.run(
        ["bash", str(place.folder() / "job.sh")], cwd=place.folder(), capture_output=True, text=True, check=False,
        env=place.environment | {"SLURM_JOB_ID": "999"},
    )  # fmt: skip
    assert again.returncode == 70
    assert "is at work in this folder" in again.stdout
    assert (place.folder() / "owner").read_text() == owner
    assert end_of(place, job)[0].verdict is Verdict.SUCCESS


def test_the_secret_of_a_job_is_in_no_log_and_on_no_command_line_and_gone_afterwards(place, tmp_path):
    calls = tmp_path / "spark_calls"
    place.environment["FAKE_SPARK_CALLS"] = str(calls)
    request = place.request("sleep-1")
    job = submit(place, request)
    conf = place.folder() / "conf" / "spark-defaults.conf"
    until(lambda: conf.exists() and "spark.authenticate.secret" in conf.read_text())
    assert conf.stat().st_mode & 0o777 == 0o600
    secret = re.search(r"spark.authenticate.secret (\S{20,})", conf.read_text()).group(1)
    until(calls.exists)
    end_of(place, job)
    assert not conf.exists()
    assert secret not in calls.read_text()
    holding = [path for path in place.base.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert holding == []


def test_a_job_that_nobody_ever_asks_about_ends_itself(place):
    request = place.request("sleep-300", env={"UNWATCHED_S": "1"})
    job = submit(place, request)
    state = place.folder() / "state.json"
    until(lambda: state.exists() and '"unwatched"' in state.read_text())
    assert end_of(place, job)[0].verdict is Verdict.RETRY
    assert "nobody has asked about this job" in (place.folder() / "output.log").read_text()
    # One question is enough, however long the next one takes.
    key = WorkKey(KEY.dag_id, KEY.task_id, KEY.run_id, "asked")
    asked = submit(place, place.request("sleep-4", key=key, env={"UNWATCHED_S": "2"}))
    asyncio.run(place.cluster().status(Watch(asked), 0))
    time.sleep(3)
    assert end_of(place, asked)[0].verdict is Verdict.SUCCESS


def test_an_input_that_cannot_be_read_on_the_node_fails_with_its_name(place):
    request = place.request("ok")
    job = submit(place, request)
    del job
    place.base.joinpath("objects", f"{'a' * 64}.tar").write_bytes(b"not an archive")
    key = WorkKey(KEY.dag_id, KEY.task_id, KEY.run_id, "second")
    job = submit(place, place.request("ok", key=key))
    ending, said = end_of(place, job)
    assert (ending.verdict, ending.exit_code) == (Verdict.FATAL, "74:0")
    assert any("input snapshot cannot be read" in line for line in said)


def test_a_cluster_without_spark_fails_with_what_is_missing(place):
    place.settings = place.settings.model_copy(update={"venv": "/nowhere/venv"})
    outcome, _ = whole(place, "ok")
    assert "no virtual environment in /nowhere/venv" in outcome.message
    assert "check the site profile" in outcome.message


def test_a_detached_application_is_told_of_its_time_limit(fake):
    fake.queue = "detached"
    request = fake.request("sleep-300", time_limit_min=1, signal_s=58, escalation=Escalation(TIMEOUT=2))
    job = submit(fake, request)
    ending, _ = end_of(fake, job)
    assert (ending.verdict, ending.state) == (Verdict.FATAL, "TIMEOUT")
    outcome = conclude(fake, job, ending, request)
    assert "the next try asks once for 2 times the time" in outcome.message
    again = submit(fake, request)
    assert "TIME_LIMIT_S=120\n" in (fake.folder(generation=1) / "job.sh").read_text()
    asyncio.run(fake.cluster().kill(again))


def test_a_detached_process_that_was_killed_from_outside_is_lost(fake):
    fake.queue = "detached"
    job = submit(fake, fake.request("sleep-300"))
    until(lambda: b"application says" in (fake.folder() / "output.log").read_bytes())
    os.killpg(int(job.job_id.split(".")[0]), signal.SIGKILL)
    assert end_of(fake, job)[0].verdict is Verdict.LOST


def test_nothing_of_a_detached_application_is_left_when_it_is_over(fake):
    fake.queue = "detached"
    job = submit(fake, fake.request("sleep-1"))
    session = job.job_id.split(".")[0]
    assert end_of(fake, job)[0].verdict is Verdict.SUCCESS
    left = ["ps", "-o", "args=", "-s", session]
    until(lambda: subprocess.run(left, capture_output=True, text=True, check=False).stdout == "", timeout_s=3)


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_ours(fake):
    fake.queue = "detached"
    job = submit(fake, fake.request("sleep-1"))
    end_of(fake, job)
    pid, start, host = job.job_id.split(".", 2)
    (fake.folder() / "state.json").unlink()
    strange = type(job)(f"{os.getpid()}.{start}.{host}", job.name, job.folder, 0)
    assert end_of(fake, strange)[0].verdict is Verdict.LOST
    elsewhere = type(job)(f"{pid}.{start}.another-host", job.name, job.folder, 0)
    asyncio.run(fake.cluster().kill(elsewhere))
    os.kill(os.getpid(), 0)


def processes_with(text):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found
