"""Three jobs on the cluster at once, for the tests that kill what watches over them."""

from datetime import timedelta

from airflow.sdk import DAG

from contracts.settings import REPOSITORY
from dags.operators.house import house
from dags.operators.slurm.operator import SlurmSparkSubmitOperator
from dags.operators.slurm.staging import Input

with DAG("probe_hpc", schedule=None, **house("A probe.", workload="access_log", tier=3, run_limit=timedelta(hours=1))):
    SlurmSparkSubmitOperator.partial(
        task_id="fit", ssh_conn_id="probe_cluster", application="spark_apps/fit.py",
        inputs=[Input(str(REPOSITORY / "fit"), None, "code", ("spark_apps",))],
        sbatch={"memory_mib": 256, "time_limit_min": 5, "cpus_per_task": 1, "partition": "compute"},
        limits={"pending_poll_s": 1, "running_poll_s": 1},
        # A try that was killed is no failure of the work: as many as a busy evening brings.
        retries=20, retry_delay=timedelta(seconds=1), execution_timeout=timedelta(minutes=10),
    ).expand(item=["first", "second", "third"])  # fmt: skip
