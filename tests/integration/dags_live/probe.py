"""DAGs that end in every way a Spark task can end."""

from datetime import timedelta

from airflow.sdk import DAG

from dags.operators.deadlines import late_after
from dags.operators.house import house
from dags.operators.spark import spark_app

SOON = timedelta(seconds=1)
COMMON = house("A probe.", workload="access_log", tier=3, run_limit=timedelta(minutes=30))

with DAG(
    "probe_ends",
    schedule=None,
    deadline=late_after(SOON),
    **COMMON,
):
    for name, ends in {
        "refused": "3,0",
        "unavailable": "5,0",
        "killed": "killed,0",
        "lost": "lost,0",
        "nothing": "nothing",
    }.items():
        spark_app("probe", "--ends", ends, task_id=name, retry_delay=SOON)

with DAG("probe_clear", schedule=None, deadline=late_after(timedelta(hours=1)), **COMMON):
    spark_app("probe", "--ends", "3,0", task_id="refused", retry_delay=SOON)

with DAG("probe_kill", schedule=None, **COMMON):
    spark_app("probe", "--ends", "asleep,0", task_id="asleep", retry_delay=SOON)

with DAG("probe_stop", schedule=None, **COMMON):
    spark_app("probe", "--ends", "asleep,asleep,asleep", task_id="asleep", retry_delay=SOON)
