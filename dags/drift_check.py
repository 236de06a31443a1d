"""
### Drift: {name}

{about}

**Produces** a comparison of new rows of `{dataset}` with the snapshot that the champion was trained on, a report, and
what the pipeline's file asks for when they differ (`{action}`): an alert, a question to a person, or the asset
`drift/{name}`, on which `retrain_{name}` starts.

**For** everyone who relies on the champion. Data that look broken are a question, whatever the file asks for.

**When it fails:** `validate` red with exit code 3 means bad input: nothing is compared. Skipped `check_drift` means too
few rows that the champion does not know, or no champion yet. Green `what_follows` with everything after it skipped
means that there is nothing to do. `ask` waits for a person, {patience_days} days at most, and later checks wait with
it. Every step can be cleared safely. Runbook: `docs/runbooks/drift_check.md`.
"""

from math import ceil
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, CronTriggerTimetable

from contracts.pipelines import PipelineSpec, load_readable
from contracts.pipelines.drift import DriftPolicy
from dags.operators import drift
from dags.operators.approvals import PATIENCE, RUN_LIMIT, ask
from dags.operators.house import house
from dags.operators.runs import run_file
from dags.operators.spark import spark_app
from dags.operators.versions import resolve_version
from dags.operators.windows import resolve_window, window_params


def drift_check(spec: PipelineSpec, policy: DriftPolicy) -> DAG:
    """The DAG ``drift_check_<pipeline>``: over days where the dataset grows by the day, else over the whole table."""
    reach_days = ceil(policy.window_days)
    known = {"name": spec.name, "about": spec.about, "dataset": spec.dataset}
    page = (__doc__ or "").format(**known, action=policy.action, patience_days=PATIENCE.days)
    with DAG(
        dag_id=f"drift_check_{spec.name}",
        **_by_days(policy, reach_days) if spec.is_daily else _whole(policy),
        **house(page, workload=spec.dataset.partition(".")[2], tier=2, run_limit=RUN_LIMIT),
    ) as dag:
        rows = ("--window", run_file("window.json")) if spec.is_daily else ("--at", run_file("version.json"))
        first = resolve_window(spec.dataset, reach_days) if spec.is_daily else resolve_version(spec.dataset)
        judged = [spark_app("validate", "--dataset", spec.dataset, *rows)]
        if spec.beside:
            judged.append(spark_app("validate", "--dataset", spec.beside, task_id="validate_beside"))
        check = spark_app("check_drift", "--pipeline", spec.name, *rows)
        branch, announced = drift.what_follows(spec.name), drift.announce_drift(spec.name)

        first >> judged >> check >> branch >> [drift.alert(spec.name), announced]
        branch >> ask(asked_by="what_follows") >> announced
    return dag


def _by_days(policy: DriftPolicy, reach_days: int) -> dict[str, Any]:
    no_days = f"the {reach_days} days up to the last one that the schedule names; by hand, up to today."
    timetable = CronDataIntervalTimetable(policy.cron, timezone=policy.timezone)
    return {"schedule": timetable, "params": window_params(no_days)}


def _whole(policy: DriftPolicy) -> dict[str, Any]:
    return {"schedule": CronTriggerTimetable(policy.cron, timezone=policy.timezone)}


# A spec that cannot be read costs its own DAG and no other; pipeline_specs.py makes Airflow show what is wrong.
for pipeline in load_readable()[0].values():
    if pipeline.drift:
        drift_check(pipeline, pipeline.drift)
