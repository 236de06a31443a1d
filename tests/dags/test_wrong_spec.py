"""A pipeline spec that cannot be read: what it takes down, and how people learn of it."""

from tests.dags.home import REPOSITORY


def test_an_unknown_algorithm_costs_the_dags_of_its_pipeline_and_is_shown_as_an_import_error(dag_bag, spec_files):
    from airflow.dag_processing.dagbag import DagBag

    wrong = spec_files / "higgs.yaml"
    wrong.write_text(wrong.read_text().replace("name: random_forest", "name: deep_thought"))
    bag = DagBag(REPOSITORY / "dags")
    assert set(bag.dags) == set(dag_bag.dags) - {"retrain_higgs", "drift_check_higgs"}
    [(path, said)] = bag.import_errors.items()
    assert path.endswith("pipeline_specs.py")
    assert "Reading pipelines/higgs.yaml, field algorithms.1.name: found 'deep_thought'; required one of" in said
