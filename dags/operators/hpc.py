"""Where a model is fitted: on the platform's own cluster, or on an HPC partition if its profile or the form says so."""

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException

from contracts.pipelines import PipelineSpec
from contracts.profiles import HPC_PROFILES, HpcProfile
from contracts.settings import REPOSITORY, load_settings
from dags.operators.runs import run_file
from dags.operators.slurm.connections import open_cluster, settings_of
from dags.operators.slurm.operator import SlurmSparkSubmitOperator
from dags.operators.slurm.settings import ClusterSettings
from dags.operators.slurm.staging import Input
from dags.operators.slurm.sweeping import sweep

CONNECTION = "hpc"
#: Folder of the run that the cluster's results are brought to, and the fitted model in it, which `train` registers.
RESULTS = run_file("hpc")
FITTED = f"{RESULTS}/fitted"

_AS_THE_PIPELINE_SAYS, _CLUSTER, _HPC = "as the pipeline says", "cluster", "hpc"
#: Of this repository, what the application needs.
_CODE = ("contracts", "expectations", "pipelines", "spark_apps")
#: For staging and for bringing the results back.
_TRANSFERS = timedelta(minutes=30)
#: Rendered also where the task is then skipped: a result without a hash is no error of its.
_SNAPSHOT_HASH = "{{ ti.xcom_pull(task_ids='build_features').get('hashes', {}).get('snapshot', '') }}"


def backend_param(spec: PipelineSpec) -> dict[str, Param]:
    """The field of the trigger form that says where this one run fits its model."""
    usual = _HPC if spec.compute_profile in HPC_PROFILES else _CLUSTER
    about = f"Where the model is fitted: the platform's own cluster, or the HPC partition behind the connection hpc. \
This pipeline says {usual}."
    choices = [_AS_THE_PIPELINE_SAYS, _CLUSTER, _HPC]
    param = Param(default=_AS_THE_PIPELINE_SAYS, type="string", enum=choices, title="Backend", description=about)
    return {"backend": param}


def fit_on_hpc(spec: PipelineSpec, snapshot: str) -> SlurmSparkSubmitOperator:
    """The task that fits on the partition what ``train`` then registers; skipped where the run fits on the cluster.

    The validated snapshot goes there by its content hash, so that it is sent once, and the code by its own.
    """
    size = _size(spec)
    rows = f"{load_settings().snapshots}/{spec.snapshot_name}/{_SNAPSHOT_HASH}"
    return SlurmSparkSubmitOperator(
        task_id="fit_on_hpc",
        ssh_conn_id=CONNECTION,
        application="spark_apps/fit.py",
        application_args=[
            "--pipeline", spec.name, "--snapshot", "@inputs@/snapshot.json", "--rows", "@inputs@/rows",
            "--out", "@outputs@",
        ],
        inputs=[
            Input(str(REPOSITORY), None, "code", _CODE),
            Input(rows, _SNAPSHOT_HASH, "rows"),
            Input(snapshot, None, "snapshot.json"),
        ],
        outputs=RESULTS,
        sbatch={
            "memory_mib": size.memory_mib, "cpus_per_task": size.cores, "nodes": size.nodes,
            "time_limit_min": size.time_limit_minutes,
        },
        limits={"max_queue_s": 60 * size.queue_limit_minutes},
        execution_timeout=timedelta(minutes=size.queue_limit_minutes + size.time_limit_minutes) + _TRANSFERS,
        pre_execute=_skipped_elsewhere(spec),
    )  # fmt: skip


def keep_param() -> dict[str, Param]:
    """The field that says how long what jobs leave on the cluster is kept."""
    about = "Jobs that are over, and staged files that no job used, are removed after so many days."
    return {"keep_days": Param(default=30, type="integer", minimum=1, maximum=3650, title="Keep", description=about)}


@task
def sweep_cluster(params: dict[str, Any] | None = None) -> dict[str, Any]:
    """What was removed and kept; skipped where there is no cluster."""
    try:
        settings = settings_of(CONNECTION)
    except AirflowNotFoundException:
        raise AirflowSkipException(f"there is no connection {CONNECTION}: no cluster to sweep") from None
    return asyncio.run(_sweep(settings, int((params or {})["keep_days"])))


async def _sweep(settings: ClusterSettings, days: int) -> dict[str, Any]:
    cluster = open_cluster(settings, "slurm")
    try:
        return asdict(await sweep(cluster, settings, days=days))
    finally:
        await cluster.close()


def _size(spec: PipelineSpec) -> HpcProfile:
    return HPC_PROFILES.get(spec.compute_profile, HPC_PROFILES[_HPC])


def _skipped_elsewhere(spec: PipelineSpec) -> Any:  # noqa: ANN401 - Airflow's hook takes its context
    is_usual = spec.compute_profile in HPC_PROFILES

    def look(context: Any) -> None:  # noqa: ANN401
        backend = context["params"]["backend"]
        if backend == _CLUSTER or (backend == _AS_THE_PIPELINE_SAYS and not is_usual):
            raise AirflowSkipException("this run fits on the platform's own cluster")

    return look
