"""Where a run fits its model: what the pipeline's profile and the trigger form say, and what the DAG makes of it."""

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException

from contracts import pipelines
from contracts.errors import ConfigurationError
from contracts.pipelines import PipelineSpec
from contracts.profiles import HPC_PROFILES, PROFILES, profile
from dags.operators import hpc

SPEC = pipelines.load("higgs")
ON_HPC = PipelineSpec.model_validate(SPEC.model_dump() | {"compute_profile": "hpc"})
USUAL = "as the pipeline says"


def is_skipped(spec: PipelineSpec, backend: str) -> bool:
    try:
        hpc._skipped_elsewhere(spec)({"params": {"backend": backend}})
    except AirflowSkipException:
        return True
    return False


@pytest.mark.parametrize(
    ("spec", "backend", "skipped"),
    [
        (SPEC, USUAL, True), (SPEC, "cluster", True), (SPEC, "hpc", False),
        (ON_HPC, USUAL, False), (ON_HPC, "cluster", True), (ON_HPC, "hpc", False),
    ],
)  # fmt: skip
def test_the_form_decides_for_one_run_and_else_the_profile(spec, backend, skipped):
    assert is_skipped(spec, backend) is skipped


def test_the_form_says_where_the_pipeline_fits(dag_bag):
    [param] = hpc.backend_param(ON_HPC).values()
    assert param.description.endswith("This pipeline says hpc.")
    for name, spec in pipelines.load_all().items():
        said = dag_bag.dags[f"retrain_{name}"].params.get_param("backend")
        assert (said.value, said.schema["enum"]) == (USUAL, [USUAL, "cluster", "hpc"])
        assert said.description == hpc.backend_param(spec)["backend"].description


def test_a_training_runs_after_the_fit_elsewhere_or_without_it(dag_bag):
    for name in pipelines.load_all():
        dag = dag_bag.dags[f"retrain_{name}"]
        train, fit = dag.get_task("train"), dag.get_task("fit_on_hpc")
        assert fit.upstream_task_ids == {"validate_features"}
        assert train.upstream_task_ids == {"validate_features", "fit_on_hpc"}
        assert train.trigger_rule == "none_failed_min_one_success"
        folder = train.application_args[train.application_args.index("--fitted") + 1]
        assert folder == f"{fit.outputs}/fitted"


def test_the_job_asks_for_what_the_profile_says(dag_bag):
    fit, size = dag_bag.dags["retrain_higgs"].get_task("fit_on_hpc"), HPC_PROFILES["hpc"]
    assert fit.sbatch == {"memory_mib": size.memory_mib, "cpus_per_task": 2, "nodes": 1, "time_limit_min": 60}
    assert fit.limits.max_queue_s == 60 * size.queue_limit_minutes


def test_what_stays_on_the_cluster_has_a_size_of_the_cluster():
    assert profile("hpc") == PROFILES["large"]
    with pytest.raises(ConfigurationError, match="small, large, hpc"):
        profile("huge")


def test_maintenance_is_skipped_where_there_is_no_cluster(dag_bag, monkeypatch):
    def missing(conn_id):
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(hpc, "settings_of", missing)
    task = dag_bag.dags["hpc_maintenance"].get_task("sweep_cluster")
    with pytest.raises(AirflowSkipException, match="no connection hpc"):
        task.python_callable(params={"keep_days": 30})
