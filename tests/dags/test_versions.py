"""Which version of a landed table a run is about."""

import pytest

from contracts.datasets import dataset
from contracts.windows import TableVersion
from dags.operators.retraining import about
from dags.operators.versions import newest_version


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "_delta_log"
    folder.mkdir()
    return folder


def test_the_newest_version_is_the_last_commit_whatever_else_lies_in_the_log(tmp_path, log):
    for name in (f"{0:020d}.json", f"{9:020d}.json", f"{10:020d}.json", f"{11:020d}.crc", "_last_checkpoint.json"):
        (log / name).touch()
    assert newest_version(tmp_path) == 10


def test_a_table_that_was_only_made_has_nothing_to_train_on(tmp_path, log):
    assert newest_version(tmp_path / "nowhere") is None
    (log / f"{0:020d}.json").touch()
    assert newest_version(tmp_path) is None


def test_a_landed_run_is_about_its_version_and_not_about_days(tmp_path):
    TableVersion(dataset="bronze.higgs", table_version=4).write(tmp_path / "version.json")
    assert about(tmp_path) == "version 4 of bronze.higgs"
    assert "arrived_on" not in dataset("bronze.higgs").column_names
