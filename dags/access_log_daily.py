"""
### Access log, daily

**Produces** a verdict on one day of requests that the live query has already written (Great Expectations on
`silver.access_log` and `gold.access_log_1m`), proof that the streamed gold tables equal a batch recomputation at the
same silver version, and then the asset `silver.access_log`, whose event names the days, the silver version and the
verdict.

**For** everyone who trains on the log or reads its tables: `retrain_*` starts on the asset, so nothing is trained on a
day that did not pass.

**When it fails:** `validate` red with exit code 3 means bad input: its log names rule, column, count and table
version. `reconcile` red with exit code 4 means that the streamed tables are wrong: its log names the keys. Neither is
retried and nothing downstream runs. Every step can be cleared safely. Runbook: `docs/runbooks/access_log_daily.md`.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from dags.operators.announcements import announce
from dags.operators.house import house
from dags.operators.runs import run_file
from dags.operators.spark import spark_app
from dags.operators.windows import resolve_window, window_params

# A data interval timetable: the run of midnight is for the day that has just ended. A bare "@daily" has no interval.
DAILY = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
WINDOW = run_file("window.json")

with DAG(
    dag_id="access_log_daily",
    schedule=DAILY,
    params=window_params("the day of the run; for a run by hand that is today."),
    **house(__doc__, workload="access_log", tier=2, run_limit=timedelta(hours=2)),
):
    window = resolve_window("silver.access_log")
    judged = ("--dataset", "silver.access_log", "--dataset", "gold.access_log_1m")
    validate = spark_app("validate", *judged, "--window", WINDOW)
    reconcile = spark_app("reconcile", "--window", WINDOW)

    window >> validate >> reconcile >> announce("silver.access_log")
