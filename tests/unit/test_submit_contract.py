"""What a DAG sends is what the application accepts: every golden command is parsed by the application's own parser."""

from importlib import import_module
from pathlib import Path

import pytest

GOLDEN = sorted((Path(__file__).resolve().parent.parent / "golden" / "spark_submit").glob("*.txt"))


def application_and_arguments(path):
    words = path.read_text(encoding="utf-8").splitlines()
    app = next(index for index, word in enumerate(words) if word.endswith(".py"))
    return import_module(f"spark_apps.{Path(words[app]).stem}"), words[app + 1 :]


def test_there_are_commands_to_check():
    assert len(GOLDEN) >= 9


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_submitted_command_parses(path):
    application, arguments = application_and_arguments(path)
    args = application.parse_args(arguments)
    dag_id, task_id = path.stem.split(".")
    assert (args.dag_id, args.task_id, args.map_index, args.try_number) == (dag_id, task_id, -1, 1)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_argument_that_is_cut_short_is_refused(path, capsys):
    # argparse takes any unambiguous beginning of an option unless it is told not to, and hides a misspelt DAG that way.
    application, arguments = application_and_arguments(path)
    longest = max((word for word in arguments if word.startswith("--")), key=len)
    with pytest.raises(SystemExit, match="2"):
        application.parse_args([longest[:-1] if word == longest else word for word in arguments])
    assert "unrecognized arguments" in capsys.readouterr().err
