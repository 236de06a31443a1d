"""A pipeline spec that cannot be read: what it takes down, and how people learn of it."""

import shutil
from functools import partial

import pytest

from contracts import pipelines
from tests.dags.home import REPOSITORY


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the shipped specs, which the DAG files read instead of them."""
    copied = tmp_path / "pipelines"
    shutil.copytree(pipelines.PIPELINES, copied)
    for name in ("load_all", "load_readable", "names"):
        monkeypatch.setattr(pipelines, name, partial(getattr(pipelines, name), folder=copied))
    return copied


def test_an_unknown_algorithm_costs_its_own_dag_and_is_shown_as_an_import_error(folder):
    from airflow.dag_processing.dagbag import DagBag

    wrong = folder / "higgs.yaml"
    wrong.write_text(wrong.read_text().replace("name: random_forest", "name: deep_thought"))
    bag = DagBag(REPOSITORY / "dags")
    others = {f"retrain_{name}" for name in pipelines.names()} - {"retrain_higgs"}
    assert set(bag.dags) == {"access_log_daily", "stream_watchdog", *others}
    [(path, said)] = bag.import_errors.items()
    assert path.endswith("pipeline_specs.py")
    assert "Reading pipelines/higgs.yaml, field algorithms.1.name: found 'deep_thought'; required one of" in said
