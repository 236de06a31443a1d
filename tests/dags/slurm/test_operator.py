"""Airflow's side: what is rendered, what is deferred, what an end becomes, and that the secrets stay where they are."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization

from contracts.errors import ConfigurationError
from dags.operators.slurm.connections import open_cluster, settings_of
from dags.operators.slurm.errors import SpecError, TransportError
from dags.operators.slurm.operator import Input, SlurmSparkSubmitOperator, SparkOverSSHOperator
from dags.operators.slurm.transports.asyncssh_ import AsyncSSHTransport
from dags.operators.slurm.transports.openssh import OpenSSHTransport
from dags.operators.slurm.trigger import ClusterJobTrigger
from tests.dags.home import REPOSITORY
from tests.dags.rendering import RUN_ID, context

FAST = {"pending_poll_s": 0.1, "running_poll_s": 0.1, "lost_after_polls": 3}


@pytest.fixture
def hpc(fake, monkeypatch, runs):
    """The fake cluster as the Airflow connection ``hpc``."""
    monkeypatch.setenv("PATH", fake.environment["PATH"])
    monkeypatch.setenv("FAKE_SLURM", fake.environment["FAKE_SLURM"])
    monkeypatch.setenv("UNSURE_PAUSE", "0")
    extra = {
        "transport": "local", "base_dir": fake.settings.base_dir, "venv": fake.settings.venv, "site": "lab",
        "defaults": {"partition": "compute"}, "env": {"FROM_CONNECTION": "1"},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_HPC", json.dumps({"conn_type": "ssh", "extra": extra}))
    return fake


def task_of(fake, *args, kind=SlurmSparkSubmitOperator, **options):
    with DAG("retrain_higgs", schedule=None) as dag:
        defaults = {
            "task_id": "fit_on_cluster", "application": "spark_apps/fit.py", "application_args": list(args),
            "inputs": [tuple(each) for each in fake.inputs], "sbatch": {"memory_mib": 1024, "time_limit_min": 5},
            "outputs": str(fake.base.parent / "outputs" / "{{ run_id }}"), "limits": FAST,
        }  # fmt: skip
        task = kind(**(defaults | options))
    return dag, task


def rendered(dag, task, **options):
    ready = task.prepare_for_execution()
    found = context(dag, ready, **options)
    kept = {}
    found["task_state_store"] = SimpleNamespace(kept=kept, set=kept.__setitem__)
    ready.render_template_fields(found)
    return ready, found


def deferred(task, found):
    with pytest.raises(TaskDeferred) as raised:
        task.execute(found)
    return raised.value


def fired(trigger):
    """The event of a trigger that was stored in Airflow's database and begun by a triggerer."""
    path, fields = trigger.serialize()
    assert path == "dags.operators.slurm.trigger.ClusterJobTrigger"

    async def first():
        event = await anext(ClusterJobTrigger(**json.loads(json.dumps(fields))).run())
        return json.loads(json.dumps(event.payload))

    return asyncio.run(first())


def test_a_task_is_deferred_and_its_end_returns_the_result(hpc):
    (hpc.home / "run").touch()
    task, found = rendered(*task_of(hpc, "ok"))
    wait = deferred(task, found)
    assert wait.method_name == "execute_complete"
    assert found["task_state_store"].kept["cluster_job"]["job_id"] == "101"
    # All of it is in the event: another worker, with another operator object, takes it from there.
    again, found = rendered(*task_of(hpc, "ok"))
    summary = again.execute_complete(found, fired(wait.trigger))
    assert summary["metrics"] == {"auc": 0.81}
    assert summary["job"]["job_id"] == "101"
    assert (hpc.base.parent / "outputs" / RUN_ID / "model" / "weights").exists()
    assert "--partition=compute" in hpc.jobs()[0]["directives"]


def test_a_try_after_a_crash_waits_for_the_same_job(hpc):
    first = deferred(*rendered(*task_of(hpc, "ok"), try_number=1))
    second = deferred(*rendered(*task_of(hpc, "ok"), try_number=2))
    assert first.trigger.job["job_id"] == second.trigger.job["job_id"]
    # Its log is shown from the beginning in the log of the new try.
    assert first.trigger.reader != second.trigger.reader


def test_a_try_after_the_result_was_used_waits_for_the_same_job_and_a_cleared_task_for_a_new_one(hpc):
    (hpc.home / "run").touch()
    first = deferred(*rendered(*task_of(hpc, "ok")))
    task, found = rendered(*task_of(hpc, "ok"))
    task.execute_complete(found, fired(first.trigger))
    # Airflow did not hear of it: the next try of the same task.
    second = deferred(*rendered(*task_of(hpc, "ok"), try_number=2))
    assert second.trigger.job["job_id"] == first.trigger.job["job_id"]
    # Clearing gives a task that has ended as many tries again.
    cleared = deferred(*rendered(*task_of(hpc, "ok"), try_number=3, max_tries=4))
    assert cleared.trigger.job["job_id"] != first.trigger.job["job_id"]


def test_without_deferral_the_worker_waits_itself(hpc):
    (hpc.home / "run").touch()
    task, found = rendered(*task_of(hpc, "ok", deferrable=False))
    assert task.execute(found)["status"] == "done"


def test_the_same_operator_runs_an_application_without_slurm(hpc):
    task, found = rendered(*task_of(hpc, "ok", kind=SparkOverSSHOperator))
    summary = task.execute_complete(found, fired(deferred(task, found).trigger))
    assert summary["metrics"] == {"auc": 0.81}
    assert hpc.calls("sbatch") == []


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"state": "FAILED", "exit": "7:0"}, AirflowFailException, "exit code 7:0"),
        ({"state": "FAILED", "exit": "5:0"}, AirflowException, "worth a retry"),
        ({"state": "NODE_FAIL"}, AirflowException, "NODE_FAIL"),
        ({"state": "PREEMPTED"}, AirflowException, "PREEMPTED"),
        (
            {"state": "OUT_OF_MEMORY", "exit": "0:125"},
            AirflowFailException,
            "memory used 700 MiB of 1024 MiB requested",
        ),
        ({"state": "TIMEOUT"}, AirflowFailException, "set time_limit_min above 5"),
        ({"in_squeue": False, "in_sacct": False}, AirflowException, "LOST"),
        ({"state": "PENDING", "reason": "PartitionTimeLimit"}, AirflowFailException, "compute allows 60 min"),
    ],
)
def test_an_end_is_tried_again_only_where_that_may_help(hpc, fields, error, says):
    task, found = rendered(*task_of(hpc, "ok"))
    wait = deferred(task, found)
    hpc.change("101", **fields)
    with pytest.raises(AirflowException, match=says) as raised:
        task.execute_complete(found, fired(wait.trigger))
    assert type(raised.value) is error


def test_escalation_is_a_retry_first_and_final_the_second_time(hpc):
    options = {"escalate": {"OUT_OF_MEMORY": 2.0}}
    for number, error in ((1, AirflowException), (2, AirflowFailException)):
        task, found = rendered(*task_of(hpc, "ok", **options), try_number=number)
        wait = deferred(task, found)
        hpc.change(wait.trigger.job["job_id"], state="OUT_OF_MEMORY", exit="0:125")
        with pytest.raises(AirflowException) as raised:
            task.execute_complete(found, fired(wait.trigger))
        assert type(raised.value) is error
    memory = [each for job in hpc.jobs() for each in job["directives"] if "--mem" in each]
    assert memory == ["--mem=1024M", "--mem=2048M"]


def test_nothing_to_do_is_shown_as_skipped(hpc):
    (hpc.home / "run").touch()
    application = hpc.base.parent / "repository" / "spark_apps" / "fit.py"
    application.write_text(application.read_text().replace('"status": "done"', '"status": "not_enough_data"'))
    task, found = rendered(*task_of(hpc, "ok"))
    with pytest.raises(AirflowSkipException, match="not_enough_data"):
        task.execute_complete(found, fired(deferred(task, found).trigger))
    assert found["ti"].pushed["return_value"]["status"] == "not_enough_data"


def test_what_slurm_refuses_is_not_tried_again_and_a_busy_controller_is(hpc):
    (hpc.home / "sbatch.fail").write_text("sbatch: error: Invalid account or account/partition combination")
    task, found = rendered(*task_of(hpc, "ok"))
    with pytest.raises(AirflowFailException, match="Invalid account"):
        task.execute(found)
    (hpc.home / "sbatch.fail").write_text("sbatch: error: Batch job submission failed: Socket timed out")
    with pytest.raises(AirflowException, match="Socket timed out") as raised:
        task.execute(found)
    assert type(raised.value) is AirflowException


def test_marking_a_waiting_task_cancels_its_job_within_seconds(hpc):
    task, found = rendered(*task_of(hpc, "ok"))
    trigger = deferred(task, found).trigger

    async def marked():
        events = trigger.run()
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(0.5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        began = time.monotonic()
        await trigger.on_kill()
        return time.monotonic() - began

    assert asyncio.run(marked()) < 5
    assert hpc.jobs()[0]["state"] == "CANCELLED"
    assert deferred(*rendered(*task_of(hpc, "ok"))).trigger.job["generation"] == 1


def test_a_trigger_that_is_only_stopped_cancels_nothing(hpc):
    trigger = deferred(*rendered(*task_of(hpc, "ok"))).trigger

    async def stopped():
        waiting = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.cleanup()

    asyncio.run(stopped())
    assert hpc.jobs()[0]["state"] == "PENDING"


def test_a_worker_that_is_told_to_end_cancels_the_job_it_waits_for(hpc):
    task, found = rendered(*task_of(hpc, "ok", deferrable=False))

    async def from_inside_its_own_loop():
        await task._submit(settings_of("hpc"), found)
        task.on_kill()

    asyncio.run(from_inside_its_own_loop())
    assert hpc.jobs()[0]["state"] == "CANCELLED"


def test_mapped_neighbours_have_jobs_of_their_own(hpc):
    names = []
    for index, item in ((0, "gbt"), (1, "als"), (0, "als")):
        task, found = rendered(*task_of(hpc, "ok", item=item))
        found["ti"].map_index = index
        names.append(deferred(task, found).trigger.job["job_id"])
    assert names == ["101", "102", "102"]


def test_a_dag_with_the_operator_can_be_stored_and_read_again(hpc):
    dag, _ = task_of(hpc, "ok", inputs=[Input("{{ params.code }}", None, "code", ("contracts",))])
    json.dumps(DagSerialization.to_dict(dag))


def test_templates_reach_the_job(hpc):
    given = Input("/snapshots/{{ run_id }}", "{{ dag.dag_id }}", "snapshot", ("{{ task.task_id }}",))
    task, _ = rendered(*task_of(hpc, "--day", "{{ run_id }}", item="{{ ti.task_id }}", inputs=[given]))
    assert task.inputs == [Input(f"/snapshots/{RUN_ID}", "retrain_higgs", "snapshot", ("fit_on_cluster",))]
    assert task.application_args[1] == RUN_ID
    assert task.application_args[-10:] == [
        "--dag-id", "retrain_higgs", "--run-id", RUN_ID, "--task-id", "fit_on_cluster", "--map-index", "-1",
        "--try-number", "1",
    ]  # fmt: skip
    assert task.item == "fit_on_cluster"


def test_a_wrong_setting_is_seen_when_the_dag_is_parsed(hpc):
    with pytest.raises(SpecError, match="partion"):
        task_of(hpc, sbatch={"memory_mib": 1024, "time_limit_min": 5, "partion": "x"})
    with pytest.raises(ValueError, match="max_queue"):
        task_of(hpc, limits={"max_queue": 5})
    with pytest.raises(ValueError, match="FAILED"):
        task_of(hpc, escalate={"FAILED": 2})


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        ({"host": "hpc.example", "login": "me"}, "host_key or known_hosts is required"),
        (
            {"host": "hpc.example", "extra": {"host_key": "ssh-ed25519 A", "no_host_key_check": True}},
            "no_host_key_check",
        ),
        ({"host": "hpc.example", "extra": {"host_key": "ssh-ed25519 A", "proxy_jump": "gate"}}, "known_hosts"),
        ({"host": "hpc.example", "password": "hunter2", "extra": {"transport": "openssh"}}, "never sends a password"),
        ({"host": "hpc.example", "extra": {"host_key": "ssh-ed25519 A", "base_dir": "/x; rm -rf /"}}, "base_dir"),
        ({"host": "hpc.example", "extra": {"host_key": "ssh-ed25519 A", "kye_file": "x"}}, "kye_file"),
        ({"host": "hpc.example", "extra": {"host_key": "ssh-ed25519 A", "env": {"MY_TOKEN": "hunter2"}}}, "MY_TOKEN"),
    ],
)
def test_a_connection_that_is_wrong_or_unsafe_is_refused_by_field_and_without_its_secrets(
    monkeypatch, connection, says
):
    monkeypatch.setenv("AIRFLOW_CONN_HPC", json.dumps({"conn_type": "ssh"} | connection))
    with pytest.raises(ConfigurationError, match=says) as refused:
        settings_of("hpc")
    assert "hunter2" not in str(refused.value)


def test_a_connection_chooses_the_transport(monkeypatch):
    extra = {"host_key": "ssh-ed25519 AAAA", "key_file": "/keys/id", "look_for_keys": False}
    connection = {"conn_type": "ssh", "host": "h", "login": "me", "port": 2222, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_HPC", json.dumps(connection))
    transport = open_cluster(settings_of("hpc"), "slurm").transport
    assert isinstance(transport, AsyncSSHTransport)
    assert (transport.host, transport.port, transport.user) == ("h", 2222, "me")
    extra = {"transport": "openssh", "control_path": "/run/me/hpc", "proxy_jump": "hpcgw.shef.ac.uk"}
    monkeypatch.setenv("AIRFLOW_CONN_HPC", json.dumps({"conn_type": "ssh", "host": "h", "extra": extra}))
    assert isinstance(open_cluster(settings_of("hpc"), "slurm").transport, OpenSSHTransport)


def test_a_key_that_is_not_there_is_named(monkeypatch, tmp_path):
    extra = {"known_hosts": "/etc/hosts", "key_file": str(tmp_path / "id_platform")}
    monkeypatch.setenv("AIRFLOW_CONN_HPC", json.dumps({"conn_type": "ssh", "host": "h", "login": "me", "extra": extra}))
    cluster = open_cluster(settings_of("hpc"), "slurm")
    with pytest.raises(TransportError, match=f"no file {extra['key_file']}; required") as refused:
        asyncio.run(cluster.look("base", "name"))
    assert "docker compose --profile slurm up" in str(refused.value)


def test_a_key_below_the_home_folder_is_found_and_only_files_that_are_read_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True)
    public = " ".join((tmp_path / "id.pub").read_text().split()[:2])
    extra = {"host_key": public, "known_hosts": "/nowhere", "key_file": "~/id"}
    place = {"conn_type": "ssh", "host": "127.0.0.1", "port": 1, "login": "me", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_HPC", json.dumps(place))
    with pytest.raises(TransportError, match=r"Reaching 127\.0\.0\.1 by SSH"):
        asyncio.run(open_cluster(settings_of("hpc"), "slurm").look("base", "name"))


def test_no_secret_of_a_connection_is_shown_or_logged(monkeypatch, caplog):
    extra = {"host_key": "ssh-ed25519 AAAA", "private_key": "-----BEGIN hunter2"}
    connection = {"conn_type": "ssh", "host": "h", "password": "hunter2", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_HPC", json.dumps(connection))
    with caplog.at_level(logging.DEBUG):
        settings = settings_of("hpc")
        transport = open_cluster(settings, "slurm").transport
    assert "hunter2" not in repr(settings) + repr(transport) + caplog.text


def test_the_pure_core_can_be_used_without_airflow_and_asyncssh():
    modules = [
        path.stem for path in (REPOSITORY / "dags" / "operators" / "slurm").glob("*.py")
        if path.stem not in {"operator", "trigger", "connections", "__init__"}
    ]  # fmt: skip
    assert len(modules) > 10
    imports = "; ".join(f"import dags.operators.slurm.{name}" for name in modules)
    script = f"import sys; {imports}; print([name for name in ('airflow', 'asyncssh') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
