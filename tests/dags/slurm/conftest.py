"""A fake cluster for each test."""

from pathlib import Path

import pytest

from tests.dags.slurm import fakes


@pytest.fixture
def fake(tmp_path: Path) -> fakes.FakeCluster:
    return fakes.install(tmp_path)
