"""
### Retraining: {name}

{about}

**Produces** a feature snapshot with its own verdict, a candidate trained on exactly that snapshot, a decision against
the champion on one holdout{approval}{forecasts}.

**For** {readers}. It starts {starts}.

**When it fails:** `validate` or `validate_features` red with exit code 3 means bad input: nothing is trained on it.
Green `should_retrain` with everything after it skipped means that no training was due; its log says why. Skipped
`train` means too few rows, skipped `{last}` that the champion stays. A run that is not over after {deadline_min}
minutes is announced as late. Every step can be cleared safely. Runbook: `docs/runbooks/retrain_{name}.md`.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronDataIntervalTimetable, CronTriggerTimetable, TriggerRule

from contracts.pipelines import PipelineSpec, load_readable
from dags.operators.announcements import asset, drift_asset
from dags.operators.deadlines import late_after
from dags.operators.house import house
from dags.operators.hpc import FITTED, backend_param, fit_on_hpc
from dags.operators.promotion import DECISION as DECISION_FILE
from dags.operators.promotion import announce_candidate
from dags.operators.retraining import force_param, should_retrain
from dags.operators.runs import run_file
from dags.operators.spark import spark_app
from dags.operators.versions import resolve_version
from dags.operators.windows import resolve_window, window_params

WINDOW, VERSION, SNAPSHOT = run_file("window.json"), run_file("version.json"), run_file("snapshot.json")
CANDIDATE, DECISION = run_file("candidate.json"), run_file(DECISION_FILE)


def retrain(spec: PipelineSpec) -> DAG:
    """The DAG ``retrain_<pipeline>``: over days where the dataset grows by the day, else over the whole table."""
    plan = spec.schedule
    with DAG(
        dag_id=f"retrain_{spec.name}",
        deadline=late_after(timedelta(minutes=plan.deadline_min)),
        **_by_days(spec) if spec.is_daily else _whole(spec),
        **house(_page(spec), workload=spec.dataset.partition(".")[2], tier=2, run_limit=timedelta(hours=6)),
    ) as dag:
        named = ("--pipeline", spec.name)
        rows = ("--window", WINDOW) if spec.is_daily else ("--at", VERSION)
        first = resolve_window(spec.dataset, plan.window_days) if spec.is_daily else resolve_version(spec.dataset)
        due = should_retrain(spec)
        validate = spark_app("validate", "--dataset", spec.dataset, *rows)
        features = spark_app("build_features", *named, *rows, "--snapshot", SNAPSHOT)
        validate_features = spark_app("validate", "--snapshot", SNAPSHOT, task_id="validate_features")
        fit = fit_on_hpc(spec, SNAPSHOT)
        train = spark_app(
            "train", *named, "--snapshot", SNAPSHOT, "--fitted", FITTED, "--candidate", CANDIDATE,
            profile=spec.compute_profile, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        )  # fmt: skip
        evaluate = spark_app("evaluate", *named, "--candidate", CANDIDATE, "--decision", DECISION)
        asks = spec.promotion == "ask"
        decided = announce_candidate(spec.name) if asks else spark_app("promote", *named, "--decision", DECISION)

        if spec.beside:
            due >> spark_app("validate", "--dataset", spec.beside, task_id="validate_beside") >> features
        first >> due >> validate >> features >> validate_features >> fit
        [validate_features, fit] >> train >> evaluate >> decided
        if spec.forecast:
            # On validated rows the champion forecasts also when nothing was trained or promoted.
            score = spark_app("score", *named, *rows, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
            [validate, decided] >> score
    return dag


def _by_days(spec: PipelineSpec) -> dict[str, Any]:
    plan = spec.schedule
    no_days = (
        f"the {plan.window_days} days up to the last one that the schedule or the asset names; by hand, up to today."
    )
    timetable = CronDataIntervalTimetable(plan.cron, timezone=plan.timezone)
    started_by = asset(spec.dataset) | drift_asset(spec.name) if spec.drift else [asset(spec.dataset)]
    schedule = AssetOrTimeSchedule(timetable=timetable, assets=started_by)
    return {"schedule": schedule, "params": window_params(no_days) | force_param() | backend_param(spec)}


def _whole(spec: PipelineSpec) -> dict[str, Any]:
    timetable = CronTriggerTimetable(spec.schedule.cron, timezone=spec.schedule.timezone)
    by_drift = AssetOrTimeSchedule(timetable=timetable, assets=[drift_asset(spec.name)]) if spec.drift else timetable
    return {"schedule": by_drift, "params": force_param() | backend_param(spec)}


def _page(spec: PipelineSpec) -> str:
    forecasts = f", and the forecast of whichever model is champion\nafterwards (`{spec.forecast}`)"
    by_days = f"on its schedule, and when `{spec.dataset}` is\nannounced good"
    whole = f"on its schedule, and trains when\n`{spec.dataset}` has a new version"
    drift = f"; also when `drift_check_{spec.name}` announces drift"
    asks, approval = spec.promotion == "ask", f", which a person must approve in `promote_{spec.name}`"
    return (__doc__ or "").format(
        name=spec.name,
        about=spec.about,
        deadline_min=spec.schedule.deadline_min,
        approval=approval if asks else "",
        forecasts=forecasts if spec.forecast else "",
        last="announce_candidate" if asks else "promote",
        readers="the live page and everyone who reads the forecast" if spec.forecast else "whoever uses the model",
        starts=(by_days if spec.is_daily else whole) + (drift if spec.drift else ""),
    )


# A spec that cannot be read costs its own DAG and no other; pipeline_specs.py makes Airflow show what is wrong.
for pipeline in load_readable()[0].values():
    retrain(pipeline)
