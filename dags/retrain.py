"""
### Retraining: {name}

{about}

**Produces** a feature snapshot with its own verdict, a candidate trained on exactly that snapshot, a decision against
the champion on one holdout, and the forecast of whichever model is champion afterwards
(`{forecast}`).

**For** the live page and everyone who reads the forecast. It starts on its schedule, and when `{dataset}` is
announced good.

**When it fails:** `validate` or `validate_features` red with exit code 3 means bad input: nothing is trained on it.
Green `should_retrain` with everything after it skipped means that no training was due; its log says why. Skipped
`train` means too few rows, skipped `promote` that the champion stays: `score` runs with it in both cases. A run that is
not over after {deadline_min} minutes is announced as late. Every step can be cleared safely. Runbook:
`docs/runbooks/retrain_{name}.md`.
"""

from datetime import timedelta

from airflow.sdk import (
    DAG,
    AssetOrTimeSchedule,
    AsyncCallback,
    CronDataIntervalTimetable,
    DeadlineAlert,
    DeadlineReference,
    TriggerRule,
)

from contracts.pipelines import PipelineSpec, load_all
from dags.operators import alerts
from dags.operators.announcements import asset
from dags.operators.house import house
from dags.operators.retraining import force_param, should_retrain
from dags.operators.runs import run_file
from dags.operators.spark import spark_app
from dags.operators.windows import resolve_window, window_params

WINDOW, SNAPSHOT = run_file("window.json"), run_file("snapshot.json")
CANDIDATE, DECISION = run_file("candidate.json"), run_file("decision.json")


def retrain(spec: PipelineSpec) -> DAG:
    """The DAG ``retrain_<pipeline>``."""
    plan = spec.schedule
    no_days = (
        f"the {plan.window_days} days up to the last one that the schedule or the asset names; by hand, up to today."
    )
    with DAG(
        dag_id=f"retrain_{spec.name}",
        schedule=AssetOrTimeSchedule(
            timetable=CronDataIntervalTimetable(plan.cron, timezone=plan.timezone), assets=[asset(spec.dataset)]
        ),
        params=window_params(no_days) | force_param(),
        deadline=DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=plan.deadline_min),
            callback=AsyncCallback(alerts.late, {"deadline_min": plan.deadline_min}),
        ),
        **house(
            (__doc__ or "").format(**spec.model_dump(), deadline_min=plan.deadline_min),
            workload=spec.dataset.partition(".")[2],
            tier=2,
            run_limit=timedelta(hours=6),
        ),
    ) as dag:
        named = ("--pipeline", spec.name)
        window = resolve_window(spec.dataset, plan.window_days)
        due = should_retrain(spec)
        validate = spark_app("validate", "--dataset", spec.dataset, "--window", WINDOW)
        features = spark_app("build_features", *named, "--window", WINDOW, "--snapshot", SNAPSHOT)
        validate_features = spark_app("validate", "--snapshot", SNAPSHOT, task_id="validate_features")
        fitted = ("--snapshot", SNAPSHOT, "--candidate", CANDIDATE)
        train = spark_app("train", *named, *fitted, profile=spec.compute_profile)
        evaluate = spark_app("evaluate", *named, "--candidate", CANDIDATE, "--decision", DECISION)
        promote = spark_app("promote", *named, "--decision", DECISION)
        # On validated rows the champion forecasts also when nothing was trained or promoted.
        score = spark_app("score", *named, "--window", WINDOW, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)

        window >> due >> validate >> features >> validate_features >> train >> evaluate >> promote
        [validate, promote] >> score
    return dag


for pipeline in load_all().values():
    retrain(pipeline)
