"""Rules that hold for every DAG (docs/decisions/0005)."""

import re
from datetime import timedelta
from itertools import pairwise

import pytest

from contracts.datasets import DATASETS
from contracts.landed_files import LANDED
from contracts.pipelines import load_all
from contracts.profiles import PROFILES
from dags.operators.alerts import FailureAlert
from dags.operators.spark import POOL, SparkApplication
from tests.dags.home import REPOSITORY

SPECS = load_all()
EXPECTED = {
    "access_log_daily", "hpc_maintenance", "stream_watchdog", *(f"retrain_{name}" for name in SPECS),
    *(f"drift_check_{name}" for name, spec in SPECS.items() if spec.drift),
    *(f"promote_{name}" for name, spec in SPECS.items() if spec.promotion == "ask"),
}  # fmt: skip


def test_every_file_parses(dag_bag):
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == EXPECTED


@pytest.fixture(params=sorted(EXPECTED))
def dag(request, dag_bag):
    return dag_bag.dags[request.param]


def family(dag):
    """Name of its file, which a family of DAGs shares."""
    return re.sub(r".*/(\w+)\.py$", r"\1", dag.fileloc)


def test_an_id_is_the_file_name_and_for_a_family_the_pipeline_too(dag):
    assert dag.dag_id == family(dag) or dag.dag_id in {f"{family(dag)}_{name}" for name in SPECS}


def test_the_page_says_what_it_produces_for_whom_and_when_it_fails(dag):
    for part in ("**Produces**", "**For**", "**When it fails:**"):
        assert part in dag.doc_md


def test_tags_name_one_workload_and_one_tier(dag):
    tiers = {tag for tag in dag.tags if re.fullmatch(r"tier_[123]", tag)}
    assert len(tiers) == 1
    assert dag.tags - tiers <= {"access_log", "platform", *LANDED}
    assert len(dag.tags - tiers) == 1


def test_the_runbook_exists_and_the_page_names_it(dag):
    # Trainings differ by what they are about; what ends a check or a promotion is the same for every pipeline.
    path = f"docs/runbooks/{dag.dag_id if family(dag) == 'retrain' else family(dag)}.md"
    assert path in dag.doc_md
    assert (REPOSITORY / path).is_file()


def test_one_run_at_a_time_and_no_catching_up(dag):
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.dagrun_timeout is not None


def test_the_timetable_is_explicit(dag):
    assert type(dag.timetable).__name__ in {"CronDataIntervalTimetable", "CronTriggerTimetable", "AssetOrTimeSchedule"}
    assert dag.timetable.can_be_scheduled


def test_every_task_has_a_time_limit_within_that_of_the_run_and_tells_about_failure(dag):
    for task in dag.tasks:
        assert timedelta(0) < task.execution_timeout <= dag.dagrun_timeout
        if dag.dag_id != "stream_watchdog":
            assert task.retries == 2
            callbacks = task.on_failure_callback
            callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
            assert [type(callback) for callback in callbacks] == [FailureAlert]


def test_spark_tasks_use_a_profile_the_pool_and_an_application_that_exists(dag):
    limits = {timedelta(minutes=size.time_limit_minutes) for size in PROFILES.values()}
    for task in dag.tasks:
        if isinstance(task, SparkApplication):
            assert task.pool == POOL
            assert task.execution_timeout in limits
            assert task.application.startswith(str(REPOSITORY / "spark_apps"))
            assert (REPOSITORY / "spark_apps" / task.application.rpartition("/")[2]).is_file()


def test_datasets_that_tasks_name_exist_and_have_a_suite(dag):
    for task in dag.tasks:
        words = getattr(task, "application_args", None) or []
        for flag, name in pairwise(words):
            if flag == "--dataset":
                assert name in {dataset.name for dataset in DATASETS.values()}
                assert (REPOSITORY / "expectations" / f"{name}.yaml").is_file()


def test_assets_are_datasets_drift_and_candidates(dag):
    names = {outlet.name for task in dag.tasks for outlet in task.outlets}
    of_pipelines = {f"{kind}/{name}" for kind in ("drift", "candidate") for name in SPECS}
    assert names <= {dataset.name for dataset in DATASETS.values()} | of_pipelines


def test_no_template_asks_for_a_date(dag):
    for task in dag.tasks:
        for field in task.template_fields:
            assert not re.search(r"\bds\b|ds_nodash|data_interval|logical_date", str(getattr(task, field)))


def test_what_a_run_is_about_is_resolved_first(dag):
    if dag.dag_id in ("stream_watchdog", "hpc_maintenance"):
        return
    pipeline = dag.dag_id.removeprefix(f"{family(dag)}_")
    first = "resolve_version" if pipeline in SPECS and not SPECS[pipeline].is_daily else "resolve_window"
    assert [task.task_id for task in dag.roots] == [first]


def test_a_table_that_features_are_made_of_besides_is_judged_before_they_are_built(dag_bag):
    dag = dag_bag.dags["retrain_movielens_tastes"]
    assert dag.get_task("build_features").upstream_task_ids == {"validate", "validate_beside"}
    assert dag.get_task("validate_beside").upstream_task_ids == {"should_retrain"}
    assert not dag_bag.dags["retrain_movielens"].has_task("validate_beside")


def test_two_applications_of_any_size_and_the_stream_fit_the_workers():
    # Two workers of 3 GiB; the stream's executor takes 1.5 GiB of one of them.
    assert all(size.executor_memory_mib <= 1536 and size.cores == 2 for size in PROFILES.values())
