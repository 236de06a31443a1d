"""The exact command line of every Spark task. Read the diff, then rebuild with ``make golden``."""

import os

import pytest

from dags.operators.spark import SparkApplication
from tests.dags.home import REPOSITORY
from tests.dags.rendering import command

GOLDEN = REPOSITORY / "tests" / "golden" / "spark_submit"


@pytest.fixture(scope="module")
def commands(dag_bag):
    return {
        f"{dag.dag_id}.{task.task_id}.txt": command(dag, task)
        for dag in dag_bag.dags.values()
        for task in dag.tasks
        if isinstance(task, SparkApplication)
    }


def test_every_command_is_the_one_that_was_agreed(commands):
    if os.environ.get("REBUILD_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for stale in {path.name for path in GOLDEN.glob("*.txt")} - set(commands):
            (GOLDEN / stale).unlink()
        for name, text in commands.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
    agreed = {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.txt")}
    assert commands == agreed


def test_no_command_holds_a_secret_or_a_size_that_is_not_a_profile(commands):
    from contracts.profiles import PROFILES

    memories = {f"{size.driver_memory_mib}m" for size in PROFILES.values()}
    assert commands
    for text in commands.values():
        words = text.splitlines()
        assert "secret" not in text
        assert words[words.index("--driver-memory") + 1] in memories
        assert words[words.index("--total-executor-cores") + 1] == "2"
