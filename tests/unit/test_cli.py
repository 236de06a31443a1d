"""The command people type: what it refuses, what it hands on, and that every answer says what to do next."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.settings import REPOSITORY, Settings
from infra.local import applications, cli
from infra.local.places import Places

MILLRACE = REPOSITORY / "bin" / "millrace"
#: Nothing listens near there.
BASE = "1500"


@pytest.fixture
def typed(tmp_path):
    """Type a command with a state of its own, from a folder that is not the repository."""

    def run(*words: str) -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_")}
        environment |= {"MILLRACE_STATE": str(tmp_path / "state"), "MILLRACE_PORTS__BASE": BASE}
        command = [str(MILLRACE), *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def test_help_names_every_command(typed):
    said = typed("--help").stdout
    for word in (
        "setup", "up", "down", "status", "logs", "doctor", "demo", "trigger", "runs", "submit",
        *applications.MODULES, *applications.SHORTCUTS,
    ):  # fmt: skip
        assert word in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statu"], "Did you mean `millrace status`?"),
        (["status", "--js"], "unrecognized arguments: --js"),
        (["stream", "restart"], "Did you mean `millrace stream recover`?"),
        (["xyzzy"], "required one of demo, doctor, down, drain, drift, erase-host"),
        (["trigger", "x", "--conf", "[1]"], "is not a JSON object"),
        (["trigger", "x", "--conf", "{"], "not JSON"),
        (["logs", "kafka", "-n", "0"], "not a whole number of 1 or more"),
        (["up", "--timeout", "-1"], "not a number above 0"),
        (["up", "kafak"], "required names among kafka"),
        (["logs", "kafka"], "Run: bin/millrace up"),
        (["submit"], "usage: millrace submit"),
        (["submit", "no_such_app"], "found no "),
        (["submit", "--cores", "2", "validate"], "found --cores before its name"),
        (["submit", "--profile", "huge", "validate"], "required one of small, large"),
    ],
)
def test_what_cannot_be_understood_ends_with_2_and_says_what_could(typed, words, said):
    run = typed(*words)
    assert run.returncode == 2
    assert said in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit", "validate"], "add --local"),
        (["train"], "Run bin/millrace up"),
        (["trigger", "access_log_daily"], "Run: bin/millrace up"),
        (["runs", "access_log_daily"], "Run: bin/millrace up"),
        (["restart", "kafka"], "Run: bin/millrace up"),
    ],
)
def test_what_needs_the_stack_ends_with_5_and_says_how_to_start_it(typed, words, said):
    run = typed(*words)
    assert run.returncode == 5
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_status_of_a_stack_that_is_down_ends_with_1_and_is_still_an_answer(typed, tmp_path):
    run = typed("status", "--json")
    assert run.returncode == 1
    found = json.loads(run.stdout)
    assert (found["state"], found["memory_mib"], found["state_folder"]) == ("down", 0, str(tmp_path / "state"))
    assert {service["health"] for service in found["services"]} == {"down"}
    assert {service["name"]: service["ports"] for service in found["services"]}["mlflow"] == {"server": 1550}


def test_down_of_a_stack_that_is_down_is_done(typed):
    run = typed("down")
    assert (run.returncode, run.stdout) == (0, "nothing of this stack runs\n")


def test_a_wrong_setting_is_named_before_anything_happens(typed, monkeypatch):
    monkeypatch.setenv("MILLRACE_PORTS__BASE", "80")
    run = subprocess.run([str(MILLRACE), "status"], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 2
    assert "MILLRACE_PORTS__BASE: found '80'" in run.stderr


def test_a_program_of_the_platform_gets_its_arguments_and_gives_its_exit_code(typed):
    assert "--speed" in typed("replay", "--help").stdout
    run = typed("replay", "no such file.log")
    assert run.returncode == 2
    assert "no such file.log" in run.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    with subprocess.Popen([str(MILLRACE), "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("typed_words", "options", "app", "rest"),
    [
        (["train", "--pipeline", "x"], {}, "train", ["--pipeline", "x"]),
        (["--profile", "large", "train", "--pipeline", "x"], {"--profile": "large"}, "train", ["--pipeline", "x"]),
        (["train", "--profile=large", "--pipeline", "x"], {"--profile": "large"}, "train", ["--pipeline", "x"]),
        (["train", "--local"], {"--local": ""}, "train", []),
        (["train", "--help"], {}, "train", ["--help"]),
        (["--help"], {"--help": ""}, None, []),
        (["train", "--", "--local"], {}, "train", ["--local"]),
    ],
)
def test_submit_tells_its_own_options_from_the_application_s(typed_words, options, app, rest):
    assert applications._split(typed_words) == (options, app, rest)


def test_submitting_hands_no_secret_on_and_names_the_profile_s_sizes(tmp_path, monkeypatch):
    replaced = []
    monkeypatch.setattr(applications, "_replace", lambda command, *_: replaced.append(command) or 0)
    monkeypatch.setattr(applications, "_require_cluster", lambda _: None)
    places = Places(Settings(state=tmp_path))
    assert applications.submit(places, ["--profile", "large", "train", "--pipeline", "x"]) == 0
    (command,) = replaced
    assert command[-3:] == [str(REPOSITORY / "spark_apps" / "train.py"), "--pipeline", "x"]
    assert command[command.index("--properties-file") + 1] == str(tmp_path / "conf" / "spark-defaults.conf")
    assert command[command.index("--executor-memory") + 1] == "1536m"
    assert "secret" not in " ".join(command)


def test_roots_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.places_of(Settings(state=Path("here"))).state == tmp_path / "here"


def test_an_unknown_application_lists_those_there_are(tmp_path):
    with pytest.raises(ConfigurationError, match=r"required one of .*validate"):
        applications.submit(Places(Settings(state=tmp_path)), ["nothing"])
