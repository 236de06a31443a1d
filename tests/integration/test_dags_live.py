"""The DAGs in a real Airflow with real spark-submit processes; only the applications are tiny stand-ins."""

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.results import RunContext
from contracts.settings import REPOSITORY, Settings
from infra.local import credentials
from infra.local.airflow_api import AirflowApi
from tests.dags.web import serving

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

HERE = Path(__file__).with_name("dags_live")
SERVICES = ("spark-worker-1", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
#: Ports that no other stack of this machine uses.
BASE = 23000
DAGS = ("access_log_daily", "retrain_access_log_volume", "probe_ends", "probe_clear", "probe_kill", "probe_stop")


@pytest.fixture(scope="module")
def posted(tmp_path_factory):
    with serving({}) as (port, bodies):
        os.environ["MILLRACE_ALERT_WEBHOOK"] = f"http://127.0.0.1:{port}/T0-token-0T"
        yield bodies
        del os.environ["MILLRACE_ALERT_WEBHOOK"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(state=tmp_path_factory.mktemp("live") / "state", ports={"base": BASE})


@pytest.fixture(scope="module")
def api(settings, posted):
    """A stack from a copy of the code whose applications are stand-ins, with our DAGs and the probes."""
    copy = settings.state.parent / "code"
    for folder in ("bin", "contracts", "dags", "infra", "pipelines"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "probe.py", copy / "dags" / "probe.py")
    (copy / "spark_apps").mkdir()
    for app in ("validate", "reconcile", "build_features", "train", "evaluate", "promote", "score", "probe"):
        shutil.copy(HERE / "tiny.py", copy / "spark_apps" / f"{app}.py")
    environment = os.environ | {
        "MILLRACE_STATE": str(settings.state), "MILLRACE_PORTS__BASE": str(BASE),
        "MILLRACE_TOOLCHAIN": str(settings.toolchain),
    }  # fmt: skip
    millrace = str(copy / "bin" / "millrace")
    subprocess.run([millrace, "up", *SERVICES, "--timeout", "300"], env=environment, check=True)
    try:
        api = AirflowApi.login(BASE + 80, credentials.load(settings.state).airflow_password)
        wait_for(lambda: set(DAGS) <= set(api.dag_ids()), 120)
        assert api.import_errors() == []
        yield api
    finally:
        subprocess.run([millrace, "down"], env=environment, check=True)


def wait_for(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
    return found


def finished(api, dag, run_id, timeout_s=300):
    """State of the run at its end, and of its tasks: (state, number of tries)."""
    state = api.wait(dag, run_id, timeout_s, lambda _: None)
    return state, {task["task_id"]: (task["state"], task["try_number"]) for task in api.tasks(dag, run_id)}


def start(api, dag, conf=None):
    api.unpause(dag)
    return api.trigger(dag, conf)


def processes(run_id):
    """Processes of the Spark applications of a run: pid to command line."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if run_id in words:
            found[int(path.parent.name)] = words
    return found


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def jvm_of(run_id):
    """The JVM of the run, once its Python driver runs too."""
    running = processes(run_id)
    java = [pid for pid, words in running.items() if words[0].endswith("java")]
    python = [pid for pid, words in running.items() if "python" in words[0]]
    return java[0] if java and python else None


@pytest.mark.parametrize(
    ("dag", "conf"),
    [
        ("access_log_daily", {"first_day": "yesterday", "last_day": "2026-11-01"}),
        ("access_log_daily", {"first_day": ""}),
        ("retrain_access_log_volume", {"force": "yes please"}),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_the_api(api, dag, conf):
    with pytest.raises(ConfigurationError, match="status 400"):
        api.trigger(dag, conf)


def test_each_end_of_an_application_does_to_its_task_what_was_decided(api, posted):
    run_id = start(api, "probe_ends")
    state, tasks = finished(api, "probe_ends", run_id)
    assert (state, tasks) == (
        "failed",
        {
            "refused": ("failed", 1),
            "unavailable": ("success", 2),
            "killed": ("success", 2),
            "lost": ("success", 2),
            "nothing": ("skipped", 1),
        },
    )
    failures = [body for body in posted if body["subject"] == "probe_ends.refused failed"]
    assert len(failures) == 1
    assert "exit code 3, EXPECTATIONS_FAILED; not retried. ended as told: 3" in failures[0]["text"]
    assert failures[0]["facts"]["run_id"] == run_id
    # The deadline of one second passed long before the end of the run.
    late = wait_for(lambda: [body for body in posted if body["subject"] == "probe_ends is late"])
    assert late[0]["facts"]["run_id"] == run_id


def test_a_failed_task_of_a_run_that_is_not_late_yet_is_cleared_and_runs_again(api):
    run_id = start(api, "probe_clear")
    assert finished(api, "probe_clear", run_id) == ("failed", {"refused": ("failed", 1)})
    cleared = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, "reset_dag_runs": True}
    answer = api.call("POST", "/dags/probe_clear/clearTaskInstances", cleared)
    assert [task["task_id"] for task in answer["task_instances"]] == ["refused"]
    assert finished(api, "probe_clear", run_id) == ("success", {"refused": ("success", 2)})


def test_kill_9_of_the_task_leaves_no_process_and_the_next_try_succeeds(api):
    run_id = start(api, "probe_kill")
    task = parent(wait_for(lambda: jvm_of(run_id)))
    before = set(processes(run_id))
    os.kill(task, signal.SIGKILL)
    wait_for(lambda: not before & set(processes(run_id)), 10)
    assert finished(api, "probe_kill", run_id) == ("success", {"asleep": ("success", 2)})


def test_kill_9_of_the_supervisor_of_a_task_leaves_no_process(api):
    run_id = start(api, "probe_stop")
    task = parent(wait_for(lambda: jvm_of(run_id)))
    before = set(processes(run_id))
    os.kill(parent(task), signal.SIGKILL)
    wait_for(lambda: not before & set(processes(run_id)), 30)
    assert before, "there were processes to end"
    api.call("PATCH", f"/dags/probe_stop/dagRuns/{run_id}", {"state": "failed"})


def test_marking_a_task_failed_in_the_page_ends_its_processes(api):
    run_id = start(api, "probe_stop")
    wait_for(lambda: jvm_of(run_id))
    api.call("PATCH", f"/dags/probe_stop/dagRuns/{run_id}/taskInstances/asleep", {"new_state": "failed"})
    wait_for(lambda: not processes(run_id), 60)
    assert finished(api, "probe_stop", run_id)[0] == "failed"


def test_the_asset_of_the_day_starts_one_training_and_the_same_days_none(api, settings):
    # Switching on starts a scheduled run for yesterday: nothing has arrived yet, so it is skipped.
    for dag in ("access_log_daily", "retrain_access_log_volume"):
        api.unpause(dag)
        (run,) = wait_for(lambda dag=dag: api.runs(dag), 60)
        state, tasks = finished(api, dag, run["dag_run_id"])
        assert (run["run_type"], state) == ("scheduled", "success")
        assert {state for state, _ in tasks.values()} == {"skipped"}
    days = {"first_day": "2026-11-01", "last_day": "2026-11-02"}
    known = {run["dag_run_id"] for run in api.runs("retrain_access_log_volume")}

    def announced():
        assert finished(api, "access_log_daily", api.trigger("access_log_daily", days))[0] == "success"
        return wait_for(
            lambda: [run for run in api.runs("retrain_access_log_volume") if run["dag_run_id"] not in known]
        )

    (first,) = announced()
    assert first["run_type"] == "asset_triggered"
    state, tasks = finished(api, "retrain_access_log_volume", first["dag_run_id"])
    assert state == "success"
    # The pipeline fits on the platform's own cluster.
    assert {name for name, (state, _) in tasks.items() if state != "success"} == {"fit_on_hpc"}
    assert tasks["fit_on_hpc"][0] == "skipped"
    assert len(tasks) == 10
    window = window_of(settings, "retrain_access_log_volume", first["dag_run_id"])
    assert window == {"first_day": "2026-10-06", "last_day": "2026-11-02", "decided_by": "asset"}

    known.add(first["dag_run_id"])
    (second,) = announced()
    state, tasks = finished(api, "retrain_access_log_volume", second["dag_run_id"])
    assert state == "success"
    assert {name for name, (state, _) in tasks.items() if state == "success"} == {"resolve_window", "should_retrain"}
    assert {state for name, (state, _) in tasks.items() if name not in ("resolve_window", "should_retrain")} == {
        "skipped"
    }


def window_of(settings, dag, run_id):
    folder = RunContext(dag_id=dag, run_id=run_id, task_id="any").run_folder(settings.runs)
    return json.loads((folder / "window.json").read_text(encoding="utf-8"))


def test_a_backfill_makes_one_run_for_each_of_its_days(api, settings):
    # Days before the first arrival would be skipped.
    (settings.lake / "silver" / "access_log" / "arrived_on=2026-11-10").mkdir(parents=True)
    first = datetime(2026, 11, 10, tzinfo=UTC)
    body = {
        "dag_id": "access_log_daily", "from_date": first.isoformat(),
        "to_date": (first + timedelta(days=2)).isoformat(),
        "max_active_runs": 1, "run_backwards": False, "dag_run_conf": {}, "reprocess_behavior": "none",
    }  # fmt: skip
    api.call("POST", "/backfills", body)

    def backfilled():
        runs = [run for run in api.runs("access_log_daily", 50) if run["run_type"] == "backfill"]
        return runs if len(runs) == 3 and all(run["state"] in ("success", "failed") for run in runs) else None

    runs = wait_for(backfilled, 300)
    assert {run["state"] for run in runs} == {"success"}
    windows = sorted(window_of(settings, "access_log_daily", run["dag_run_id"])["first_day"] for run in runs)
    assert windows == ["2026-11-10", "2026-11-11", "2026-11-12"]
    assert all(
        window_of(settings, "access_log_daily", run["dag_run_id"])["decided_by"] == "data_interval" for run in runs
    )
