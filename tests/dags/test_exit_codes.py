"""What the end of a real process does to its task: done, skipped, retried or failed at once."""

import json
import os
import stat
import sys
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.timeout import timeout

from contracts.results import RunResult
from dags.operators.runs import run_context
from dags.operators.spark import judge, spark_app
from tests.dags.rendering import RUN_ID, context

# Stands where Spark's own spark-submit stands on PATH: leaves the prepared result, then ends in the prepared way.
SUBMIT = f"""\
#!{sys.executable}
import os, signal, sys, time
if os.environ.get("ENDS_RESULT"):
    path, _, text = os.environ["ENDS_RESULT"].partition("\\n")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(text)
print("arguments:", sys.argv[1:])
print("the reason is in the log")
print("AIRFLOW" in " ".join(os.environ) and "sees Airflow's keys" or "sees no Airflow key")
sys.stdout.flush()
ends = os.environ["ENDS"]
if ends == "sleeps":
    time.sleep(60)
elif ends.startswith("signal"):
    os.kill(os.getpid(), int(ends.split()[1]))
sys.exit(int(ends))
"""


@pytest.fixture
def submit(tmp_path, monkeypatch, runs):
    """Run a Spark task whose process ends in the given way."""
    binary = tmp_path / "bin" / "spark-submit"
    binary.parent.mkdir()
    binary.write_text(SUBMIT, encoding="utf-8")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("MILLRACE_SPARK_MASTER", "spark://spark-master:7077")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "not-for-spark")
    with DAG("d", user_defined_macros={"run_folder": lambda dag, run: runs / dag / run}) as dag:
        task = spark_app("validate", "--window", "window.json")

    def ending(ends, result=None, *, try_number=1, limit_s=None):
        ending.task = ready = task.prepare_for_execution()
        ending.scene = scene = context(dag, ready, try_number=try_number)
        ready.render_template_fields(scene)
        monkeypatch.setenv("ENDS", str(ends))
        monkeypatch.delenv("ENDS_RESULT", raising=False)
        if result is not None:
            run, now = run_context(scene), datetime.now(UTC)
            full = RunResult(context=run, application="validate", started_at=now, finished_at=now, **result)
            monkeypatch.setenv("ENDS_RESULT", f"{run.result_path(runs)}\n{full.model_dump_json()}")
        with timeout(limit_s or 60):
            return ready.execute(scene)

    return ending


def failed(code):
    return {"status": "failed", "exit_code": code, "message": f"what went wrong, {code}"}


def test_success_returns_a_summary_of_the_run_result(submit):
    result = {"status": "done", "rows": {"silver": 5}, "hashes": {"silver.access_log": "ab"}, "facts": {"verdicts": {}}}
    assert submit(0, result) == {"metrics": {}, "message": "", **result}


@pytest.mark.parametrize("code", [2, 3, 4])
def test_a_broken_contract_failed_expectations_and_a_refusal_fail_at_once_with_their_message(submit, code):
    with pytest.raises(AirflowFailException, match=f"exit code {code}.*not retried. what went wrong, {code}"):
        submit(code, failed(code))


@pytest.mark.parametrize("code", [5, 6])
def test_an_unavailable_service_and_a_held_lock_are_retried(submit, code):
    with pytest.raises(AirflowException, match=f"exit code {code}.*worth a retry. what went wrong") as raised:
        submit(code, failed(code))
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("ends", ["signal 9", "signal 15", "137", "143"])
def test_a_killed_process_is_retried(submit, ends):
    with pytest.raises(AirflowException, match="it was killed") as raised:
        submit(ends)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_process_that_ends_badly_before_its_result_is_lost_and_retried(submit):
    with pytest.raises(AirflowException, match=r"it was lost before its end(?s:.*)the reason is in the log") as raised:
        submit(1)
    assert not isinstance(raised.value, AirflowFailException)


def test_an_error_that_is_not_deliberate_fails_at_once(submit):
    with pytest.raises(AirflowFailException, match="see the traceback in this log"):
        submit(1, failed(1))


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_cannot_be_started_fails_at_once(submit, code):
    with pytest.raises(AirflowFailException, match="could not be started"):
        submit(code)


def test_ending_well_without_a_result_is_a_failure(submit):
    with pytest.raises(AirflowFailException, match="left no run result"):
        submit(0)


@pytest.mark.parametrize("status", ["not_enough_data", "skipped"])
def test_nothing_to_do_shows_the_task_as_skipped_with_its_reason_and_keeps_the_summary(submit, status):
    with pytest.raises(AirflowSkipException, match=f"{status}: 3 rows, 240 are needed"):
        submit(0, {"status": status, "message": "3 rows, 240 are needed", "rows": {"snapshot": 3}})
    assert submit.scene["ti"].pushed["return_value"]["rows"] == {"snapshot": 3}


def test_a_result_of_another_try_is_never_read(submit, runs):
    assert submit(0, {"status": "done"})
    with pytest.raises(AirflowFailException, match="left no run result"):
        submit(0, try_number=2)


def test_a_result_that_an_earlier_life_of_this_run_left_is_never_read(submit, runs):
    assert submit(0, {"status": "done"})
    with pytest.raises(AirflowFailException, match="left no run result"):
        submit(0, try_number=1)


def test_the_time_limit_ends_the_process_and_fails_at_once(submit):
    submit_time = datetime.now(UTC)
    with pytest.raises(AirflowFailException, match="was stopped at its time limit"):
        submit("sleeps", limit_s=1)
    assert datetime.now(UTC) - submit_time < timedelta(seconds=20)
    assert submit.task._hook._submit_sp.wait(10) == -9


def test_the_application_gets_its_arguments_and_no_key_of_airflow(submit, caplog):
    caplog.set_level("INFO")
    with pytest.raises(AirflowException) as raised:
        submit(1)
    said = str(raised.value)
    assert "sees no Airflow key" in said
    assert f"'--run-id', '{RUN_ID}'" in said


def test_a_missing_connection_is_refused_instead_of_asking_yarn(submit, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_CLUSTER", json.dumps({"conn_type": "yarn", "host": "yarn"}))
    with pytest.raises(AirflowFailException, match="required a connection spark_cluster"):
        submit(0)


def test_every_exit_code_has_one_meaning():
    decisions = {code: judge(code, None)[0] for code in (0, 1, 2, 3, 4, 5, 6, 127, 143, -9, 99)}
    assert decisions == {
        0: "fail", 1: "retry", 2: "fail", 3: "fail", 4: "fail", 5: "retry", 6: "retry", 127: "fail", 143: "retry",
        -9: "retry", 99: "retry",
    }  # fmt: skip
