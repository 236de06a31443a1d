"""How work is submitted: the only place that knows about spark-submit, sizes, retries and run results."""

import ctypes
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from contracts.errors import ExitCode
from contracts.profiles import profile as named_profile
from contracts.results import RunResult
from contracts.settings import REPOSITORY, Settings, load_settings
from contracts.spark_conf import short_application_java_options
from dags.operators.runs import run_context

CONNECTION = "spark_cluster"
POOL = "spark_small"
#: Finds spark-submit on PATH and dies with the Airflow task.
SPARK_SUBMIT = REPOSITORY / "bin" / "spark-submit-guarded"

_RUN = (
    "--dag-id", "{{ dag.dag_id }}", "--run-id", "{{ run_id }}", "--task-id", "{{ task.task_id }}",
    "--map-index", "{{ ti.map_index }}", "--try-number", "{{ ti.try_number }}",
)  # fmt: skip
_WORKER_PATIENCE_S = 60
_WORTH_A_RETRY = (ExitCode.UNAVAILABLE, ExitCode.LOCK_HELD)
#: Shells say "not executable" and "not found" by these: the environment is broken, and a retry finds it as it was.
_CANNOT_START = (126, 127)

#: From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1

Decision = Literal["done", "retry", "fail"]


def spark_app(app: str, *args: str, profile: str = "small", **options: Any) -> "SparkApplication":  # noqa: ANN401 - Airflow's own arguments
    """The task that submits ``spark_apps/<app>.py`` with ``args`` (templates) to the cluster.

    ``profile`` names the compute profile. ``options`` are an operator's own arguments; the task id is the application's
    name unless they say otherwise. The return value in XCom is a summary of the run result.
    """
    size = named_profile(profile)
    settings = load_settings()
    return SparkApplication(
        **{"task_id": app} | options,
        profile=profile,
        application=str(REPOSITORY / "spark_apps" / f"{app}.py"),
        application_args=[*args, *_RUN],
        name="{{ dag.dag_id }}.{{ task.task_id }}",
        conn_id=CONNECTION,
        spark_binary=str(SPARK_SUBMIT),
        deploy_mode="client",
        # Holds the cluster's shared secret, which must not be in an argument list.
        properties_file=str(settings.state / "conf" / "spark-defaults.conf"),
        driver_memory=f"{size.driver_memory_mib}m",
        executor_memory=f"{size.executor_memory_mib}m",
        total_executor_cores=size.cores,
        conf=_java_options(settings) if size.short_lived else {},
        execution_timeout=timedelta(minutes=size.time_limit_minutes),
        pool=POOL,
        # There is no driver on the cluster that a retry could find again: client mode.
        durable=False,
    )


class SparkApplication(SparkSubmitOperator):
    """SparkSubmitOperator that knows our exit codes and run results; see ``docs/decisions/0005``.

    Exit codes 5 and 6, a killed and a lost process raise AirflowException, which Airflow retries. Everything else
    raises AirflowFailException. An application that had nothing to do is shown as skipped, with its reason.
    """

    def __init__(self, *, profile: str, **options: Any) -> None:  # noqa: ANN401 - as in spark_app
        super().__init__(**options)
        self.profile = profile

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ANN401 - Airflow's context
        settings = load_settings()
        path = run_context(context).result_path(settings.runs)
        # Left by an earlier life of this run id (a new Airflow database): not the result of this try.
        path.unlink(missing_ok=True)
        self._hook = hook = self._get_hook()
        require_cluster(settings, hook._connection["master"])  # noqa: SLF001 - the hook has no public way to its master
        error = ""
        try:
            # In a session of its own, so that on_kill reaches the JVM and the Python driver together.
            with _dying_with_parent():
                hook.submit(self.application, start_new_session=True)
        except AirflowTaskTimeout:
            self.on_kill()
            raise AirflowFailException(
                f"{self.task_id} was stopped at its time limit of {self.execution_timeout}: a retry would meet it too. "
                f"{_cluster_state(settings)} Find out what it waited for, or give it a larger compute profile."
            ) from None
        except AirflowException as failure:
            error = str(failure)
        code = hook._submit_sp.returncode  # noqa: SLF001 - pinned by tests/dags/test_exit_codes.py
        result = RunResult.read(path) if path.exists() else None
        return self._conclude(context, code, result, error)

    def on_kill(self) -> None:
        """End the JVM and the Python driver; both would also die with this process."""
        process = self._hook._submit_sp if self._hook else None  # noqa: SLF001 - as above
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _conclude(self, context: Any, code: int, result: RunResult | None, error: str) -> dict[str, Any]:  # noqa: ANN401
        decision, why = judge(code, result)
        said = result.message if result and result.message else error
        if decision == "retry":
            raise AirflowException(f"{self.task_id}: {why}; worth a retry. {said}")
        if decision == "fail":
            raise AirflowFailException(f"{self.task_id}: {why}; not retried. {said}")
        summary = result.model_dump(mode="json", include={"status", "rows", "metrics", "hashes", "facts", "message"})
        self.log.info("status=%s rows=%s metrics=%s", result.status, result.rows, result.metrics)
        if result.status != "done":
            context["ti"].xcom_push(key="return_value", value=summary)
            raise AirflowSkipException(f"{result.status}: {result.message}")
        return summary


def judge(code: int, result: RunResult | None) -> tuple[Decision, str]:
    """What the end of a process means: ``code`` as Popen gives it, and the run result of exactly this try, if any."""
    decision: Decision = "fail"
    # Popen says -9, a shell or a JVM that passes it on says 137.
    if code < 0 or code > 128:
        decision, why = "retry", f"it was killed (signal {-code if code < 0 else code - 128})"
    elif code == ExitCode.DONE:
        decision, why = ("done", result.status) if result else ("fail", "it ended well but left no run result")
    elif code in list(ExitCode):
        decision = "retry" if code in _WORTH_A_RETRY else "fail"
        why = f"exit code {code}, {ExitCode(code).name}"
    elif code in _CANNOT_START:
        why = f"exit code {code}: the command could not be started"
    elif result is None:
        decision, why = "retry", f"exit code {code} and no run result: it was lost before its end"
    else:
        why = f"exit code {code}: an error that is not deliberate, see the traceback in this log"
    return decision, why


@contextmanager
def _dying_with_parent() -> Iterator[None]:
    """End this process when its parent dies, as the guard does for the processes below it.

    Airflow's supervisor of a task is its parent. Killed alone it leaves the task running, which nobody sees any more:
    Airflow starts a new try when the heartbeat has been missing for five minutes.
    """
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        yield
    finally:
        prctl(_PR_SET_PDEATHSIG, 0)


def _java_options(settings: Settings) -> dict[str, str]:
    options = short_application_java_options(settings.toolchain)
    return {"spark.driver.extraJavaOptions": options, "spark.executor.extraJavaOptions": options}


def require_cluster(settings: Settings, master: str, *, patience_s: float = _WORKER_PATIENCE_S) -> None:
    """Refuse before spark-submit starts: without a worker it waits for ever, without the connection it asks YARN."""
    if not master.startswith("spark://"):
        raise AirflowFailException(
            f"Submitting to {master}: required a connection {CONNECTION} with a spark:// master. Nothing was started. "
            "Set AIRFLOW_CONN_SPARK_CLUSTER."
        )
    if settings.spark_master:
        # A cluster that is not the local stack's: its web page may be anywhere.
        return
    deadline = time.monotonic() + patience_s
    while found := _why_no_worker(settings):
        if time.monotonic() >= deadline:
            raise AirflowException(
                f"Submitting to {master}: found {found} for {patience_s:.0f} s; required at least one worker. "
                "Nothing was started. Run: bin/millrace status"
            )
        time.sleep(min(2.0, patience_s))


def _why_no_worker(settings: Settings) -> str:
    """Empty when a worker is alive."""
    try:
        return "" if _master(settings)["aliveworkers"] else "no worker that is alive"
    except (OSError, ValueError, KeyError) as error:
        return f"no answer from the master's page ({error})"


def _cluster_state(settings: Settings) -> str:
    """One sentence about the cluster, for a person who asks why an application got nowhere."""
    if settings.spark_master:
        return ""
    try:
        state = _master(settings)
        waiting = [app["name"] for app in state["activeapps"] if app["state"] == "WAITING"]
    except (OSError, ValueError, KeyError) as error:
        return f"The Spark master does not answer ({error})."
    return (
        f"The cluster has {state['aliveworkers']} workers alive and {state['coresused']} of {state['cores']} slots in "
        f"use; waiting for slots: {', '.join(waiting) or 'nobody'}."
    )


def _master(settings: Settings) -> dict[str, Any]:
    # Never through a proxy: the master is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{settings.ports.spark_master_ui}/json/", timeout=5) as answer:
        state: dict[str, Any] = json.load(answer)
    return state
