"""
### Stream watchdog

**Produces** a look at the streaming driver every five minutes: does it run, how old is its last commit while records
wait, how many records wait in Kafka, which share of the last lines went to quarantine. It restarts nothing: the
supervisor does that.

**For** whoever keeps the live path running: the grid shows since when it is wrong, and one message goes to the log and
to the webhook when the trouble begins, changes, or ends (and every six hours in between).

**When it fails:** `check_stream` is red with the figures and the limits in its message. Limits are parameters: trigger
it by hand with others to look once, which tells nobody. Runbook: `docs/runbooks/stream_watchdog.md`.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from dags.operators.house import house
from dags.operators.stream import check_stream, limit_params

with DAG(
    dag_id="stream_watchdog",
    # A trigger timetable: it looks at now, there is no interval to cover.
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC"),
    params=limit_params(),
    **house(__doc__, workload="access_log", tier=1, run_limit=timedelta(minutes=4)),
):
    check_stream()
