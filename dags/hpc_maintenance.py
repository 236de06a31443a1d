"""
### Maintenance of the HPC partition

**Produces** room on the cluster behind the connection `hpc`: the folders of jobs that are over, and staged code and
snapshots that no job used, go once nobody has touched them for `keep_days` days (a parameter, 30). What a run result
said is in Airflow and the registry long before. A job that is waiting or running keeps its folder and all staged files.

**For** everybody who shares the quota of that account.

**When it fails:** `sweep_cluster` is red when the cluster cannot be reached or its queue does not answer; nothing is
removed then, and the next week will do. Skipped: there is no such connection.
Runbook: `docs/runbooks/hpc_maintenance.md`.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from dags.operators.house import house
from dags.operators.hpc import keep_param, sweep_cluster

with DAG(
    dag_id="hpc_maintenance",
    schedule=CronTriggerTimetable("0 2 * * 0", timezone="UTC"),
    params=keep_param(),
    **house(__doc__, workload="platform", tier=3, run_limit=timedelta(minutes=30)),
):
    sweep_cluster()
