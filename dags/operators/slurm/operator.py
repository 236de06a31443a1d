"""Spark applications on a cluster behind SSH, as Airflow tasks."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from contracts.errors import DependencyUnavailableError, PlatformError
from contracts.settings import load_settings
from dags.operators.runs import run_context
from dags.operators.slurm import work
from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.connections import open_cluster, settings_of
from dags.operators.slurm.keys import WorkKey, item_of
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.settings import ClusterSettings
from dags.operators.slurm.spec import Escalation, Limits, QueueName, SbatchSpec
from dags.operators.slurm.staging import Input
from dags.operators.slurm.trigger import ClusterJobTrigger
from dags.operators.slurm.waiting import Ending, retrying_kill, wait

_RUN = (
    "--dag-id", "{{ dag.dag_id }}", "--run-id", "{{ run_id }}", "--task-id", "{{ task.task_id }}",
    "--map-index", "{{ ti.map_index }}", "--try-number", "{{ ti.try_number }}",
)  # fmt: skip
_KILL_PATIENCE_S = 30


class SlurmSparkSubmitOperator(BaseOperator):
    """Stage, submit once, wait without a worker slot, judge the end, bring the results back with checksums.

    ``application`` is a path below the input called ``code``. ``inputs`` are ``Input`` tuples (local path, content
    hash or None, name on the cluster). In ``application_args`` the job replaces ``@inputs@``, ``@outputs@`` and
    ``@job@`` by its own folders; the run's arguments follow them unless ``run_arguments`` is false. ``outputs`` is the
    folder of this machine that the artefacts of the run result replace, with ``result.json`` beside them.

    ``sbatch`` are the fields of SbatchSpec, on top of the connection's defaults. ``item`` says what a mapped task works
    on. ``limits`` and ``escalate`` are fields of Limits and Escalation.

    Returned to XCom: the run result's summary, with ``job`` and ``usage``. AirflowException is worth a retry: lost
    nodes, preemptions, lost jobs, an unreachable cluster, escalation. Everything else is AirflowFailException.
    """

    template_fields: Sequence[str] = (
        "application", "application_args", "inputs", "outputs", "item", "sbatch", "env", "ssh_conn_id",
    )  # fmt: skip
    queue_name: ClassVar[QueueName] = "slurm"

    def __init__(  # noqa: PLR0913 - an operator's arguments are its interface
        self, *, application: str, inputs: Sequence[Input | tuple[Any, ...]], sbatch: dict[str, Any],
        ssh_conn_id: str = "hpc", application_args: Sequence[str] = (), code: str = "code", outputs: str | None = None,
        site: str | None = None, env: dict[str, str] | None = None, item: str | None = None,
        limits: dict[str, Any] | None = None, escalate: dict[str, float] | None = None, run_arguments: bool = True,
        deferrable: bool = True, **options: Any,  # noqa: ANN401 - Airflow's own arguments
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self.application, self.code, self.outputs, self.site = application, code, outputs, site
        self.application_args = [*application_args, *(_RUN if run_arguments else ())]
        self.n_own_args = len(application_args)
        self.inputs: list[Any] = [Input(*each) for each in inputs]
        self.sbatch, self.env, self.item = sbatch, env or {}, item
        self.ssh_conn_id, self.deferrable = ssh_conn_id, deferrable
        # Checked where the DAG is parsed; with templates, or defaults of the connection, when those are known.
        self.limits = Limits(**limits or {})
        self.escalate = Escalation(**escalate or {})
        if {"memory_mib", "time_limit_min"} <= set(sbatch) and "{{" not in str(sbatch):
            work.checked(SbatchSpec, sbatch)

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ANN401 - Airflow's context
        with _translated():
            settings = self._settings()
            job = _run(self._submit(settings, context))
        _note(context, {"cluster": self.ssh_conn_id, **asdict(job)})
        if self.deferrable:
            self.defer(
                trigger=ClusterJobTrigger(
                    ssh_conn_id=self.ssh_conn_id, queue=self.queue_name, job=asdict(job),
                    limits=self.limits.model_dump(), since=time.time(), reader=self._reader(context),
                ),
                method_name="execute_complete",
            )  # fmt: skip
        with _translated():
            ending: Ending = _run(self._wait(settings, job, context))
        return self.execute_complete(context, {"job": asdict(job), "ending": ending.as_dict()})

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
        """After the wait: a worker again, for as long as the results take to arrive."""
        job, ending = Job(**event["job"]), Ending.from_dict(event["ending"])
        with _translated():
            settings = self._settings()
            outcome: work.Outcome = _run(self._conclude(settings, job, ending, context))
        if outcome.decision == "retry":
            raise AirflowException(outcome.message)
        if outcome.decision == "fail":
            raise AirflowFailException(outcome.message)
        self.log.info("%s", outcome.message)
        if outcome.status != "done":
            context["ti"].xcom_push(key="return_value", value=outcome.summary)
            raise AirflowSkipException(f"{outcome.status}: {outcome.summary.get('message', '')}")
        return outcome.summary

    def on_kill(self) -> None:
        """While a worker holds the task: between submission and deferral, or with deferrable=False."""
        job: Job | None = getattr(self, "_job", None)
        if job is None:
            return
        settings = self._settings()

        def kill() -> None:
            asyncio.run(self._kill(settings, job))

        # The loop of this thread is in the middle of something; the kill has one of its own.
        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        thread.join(_KILL_PATIENCE_S)

    async def _submit(self, settings: ClusterSettings, context: Any) -> Job:  # noqa: ANN401
        cluster = open_cluster(settings, self.queue_name)
        try:
            self._job = await work.submit(cluster, settings, self._request(settings, context), say=self.log.info)
        finally:
            await cluster.close()
        return self._job

    async def _wait(self, settings: ClusterSettings, job: Job, context: Any) -> Ending:  # noqa: ANN401
        cluster = open_cluster(settings, self.queue_name)
        try:
            return await wait(
                cluster, job, self.limits, say=self.log.info, since=time.time(), reader=self._reader(context)
            )  # fmt: skip
        finally:
            await cluster.close()

    async def _conclude(self, settings: ClusterSettings, job: Job, ending: Ending, context: Any) -> work.Outcome:  # noqa: ANN401
        cluster: Cluster = open_cluster(settings, self.queue_name)
        try:
            return await work.conclude(
                cluster, job, ending, self._request(settings, context), run_context(context), load_settings().runs,
                say=self.log.info,
            )  # fmt: skip
        finally:
            await cluster.close()

    async def _kill(self, settings: ClusterSettings, job: Job) -> None:
        cluster = open_cluster(settings, self.queue_name)
        try:
            await retrying_kill(cluster, job, self.log.info)
        finally:
            await cluster.close()

    def _settings(self) -> ClusterSettings:
        settings = settings_of(self.ssh_conn_id)
        return settings.model_copy(update={"site": self.site}) if self.site else settings

    def _request(self, settings: ClusterSettings, context: Any) -> work.Request:  # noqa: ANN401
        ti = context["ti"]
        own = [str(arg) for arg in self.application_args[: self.n_own_args]]
        fields = {**settings.defaults, **self.sbatch}
        fields["env"] = {**settings.env, **fields.get("env", {}), **self.env}
        return work.Request(
            key=WorkKey(ti.dag_id, ti.task_id, ti.run_id, item_of(self.item, ti.map_index, [self.application, *own])),
            spec=work.checked(SbatchSpec, fields), application=self.application, code=self.code,
            args=tuple(str(arg) for arg in self.application_args), inputs=tuple(Input(*each) for each in self.inputs),
            escalation=self.escalate, outputs=Path(self.outputs) if self.outputs else None,
            # Clearing a task gives it more tries; a retry does not.
            claim=f"until-try-{ti.max_tries}",
        )  # fmt: skip

    @staticmethod
    def _reader(context: Any) -> str:  # noqa: ANN401
        return f"try-{context['ti'].try_number}"


class SparkOverSSHOperator(SlurmSparkSubmitOperator):
    """The same without a queue: the application runs detached on the host itself, and outlives the connection.

    For a single machine with Spark. ``sbatch`` names memory, CPUs and the time limit; a node is what the host is.
    """

    queue_name: ClassVar[QueueName] = "detached"


class _translated:  # noqa: N801 - reads as a word where it is used
    """Our errors as Airflow's: what is worth a retry, and what is not."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DependencyUnavailableError):
            raise AirflowException(str(error)) from error
        if isinstance(error, PlatformError):
            raise AirflowFailException(str(error)) from error


def _run(coroutine: "Coroutine[Any, Any, Any]") -> Any:  # noqa: ANN401 - whatever the coroutine returns
    return asyncio.run(coroutine)


def _note(context: Any, job: dict[str, Any]) -> None:  # noqa: ANN401
    """For people: Airflow's page and API show it. The ledger on the cluster is what counts."""
    store = context.get("task_state_store")
    if store is not None:
        store.set("cluster_job", job)
