"""A new pipeline's files can be read by everything that reads such files."""

import subprocess
import sys

import pytest

from contracts import pipelines
from contracts.datasets import dataset
from contracts.errors import ConfigurationError
from expectations import rules
from infra import scaffold

JOBS = dataset("bronze.jobs")


@pytest.mark.parametrize(("label", "task"), [("average_salary", "regression"), ("skill_1", "classification")])
def test_what_is_written_is_a_pipeline_with_rules_a_runbook_and_a_test(tmp_path, label, task):
    written = scaffold.scaffold("jobs_x", JOBS, label, task, tmp_path)
    assert all(path.is_file() for path in written)
    spec = pipelines.load("jobs_x", tmp_path / "pipelines")
    assert (spec.task, spec.label, spec.is_daily) == (task, label, False)
    assert label not in spec.features.columns
    assert {"job_title", "years_experience"} < set(spec.features.columns)
    assert spec.drift
    assert (spec.drift.cron, spec.drift.action) == ("30 4 * * 1", "retrain")
    ruleset = rules.load("features.jobs_x", tmp_path / "expectations")
    assert {f"{label}_is_set", "line_is_stored_once", "enough_rows"} <= {rule.id for rule in ruleset.rules}
    assert "docs/runbooks/retrain_jobs_x.md" in {str(path.relative_to(tmp_path)) for path in written}
    compile((tmp_path / "tests" / "unit" / "test_pipeline_jobs_x.py").read_text(), "test", "exec")


def test_nothing_is_written_over_and_nothing_half(tmp_path):
    scaffold.scaffold("jobs_x", JOBS, "skill_1", "regression", tmp_path)
    (tmp_path / "pipelines" / "jobs_x.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"features\.jobs_x\.yaml.* already there"):
        scaffold.scaffold("jobs_x", JOBS, "skill_1", "regression", tmp_path)
    assert not (tmp_path / "pipelines" / "jobs_x.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--dataset", "bronze.jobs", "--label", "salary"], "found label 'salary'; required one of job_title"),
        (["x", "--dataset", "bronze.job", "--label", "salary"], "found 'bronze.job'; required one of"),
        (["x", "--dataset", "silver.access_log", "--label", "host"], "required a table of landed files"),
        (["x", "--dataset", "bronze.jobs", "--label", "job_title"], "found label job_title, a text"),
        (["café", "--dataset", "bronze.jobs", "--label", "skill_1"], "argument name"),
        (["X y", "--dataset", "bronze.jobs", "--label", "skill_1"], "argument name"),
    ],
)
def test_arguments_that_do_not_fit_end_with_exit_code_2(arguments, said):
    done = subprocess.run(
        [sys.executable, "-m", "infra.scaffold", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
