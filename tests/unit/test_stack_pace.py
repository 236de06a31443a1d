"""A service that keeps dying is started later and later; one that lived for a while at once."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local import paced


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "kafka.pace"


def _last(file: Path, *, short_lives: int, began_at: float) -> None:
    file.write_text(json.dumps({"short_lives": short_lives, "began_at": began_at}))


def test_the_first_start_does_not_wait(file):
    assert paced.plan(file, now=1000.0) == {"short_lives": 0, "began_at": 1000.0}


def test_the_first_restart_after_a_short_life_is_at_once(file):
    _last(file, short_lives=0, began_at=990.0)
    assert paced.plan(file, now=1000.0) == {"short_lives": 1, "began_at": 1000.0}


@pytest.mark.parametrize(("short_lives", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (60, 30)])
def test_every_further_short_life_doubles_the_wait_up_to_half_a_minute(file, short_lives, seconds):
    _last(file, short_lives=short_lives, began_at=990.0)
    assert paced.plan(file, now=1000.0)["began_at"] == 1000.0 + seconds


def test_a_life_of_a_minute_forgives_what_was_before(file):
    _last(file, short_lives=7, began_at=900.0)
    assert paced.plan(file, now=1000.0) == {"short_lives": 0, "began_at": 1000.0}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"short_lives": 3}', '{"short_lives": null, "began_at": 999}'])
def test_a_damaged_file_does_not_keep_a_service_from_starting(file, text):
    file.write_text(text)
    assert paced.plan(file, now=1000.0) == {"short_lives": 0, "began_at": 1000.0}


def test_the_program_replaces_the_launcher_and_keeps_its_process_id(file):
    command = [sys.executable, "-I", "-S", paced.__file__, str(file)]
    program = [
        sys.executable,
        "-c",
        "import os, sys; print(os.getpid(), *sys.argv[1:])",
        "--an",
        "argument with spaces",
    ]
    with subprocess.Popen([*command, *program], stdout=subprocess.PIPE, text=True) as process:
        said = process.communicate()[0]
    assert said == f"{process.pid} --an argument with spaces\n"


def test_a_second_short_life_really_waits(file):
    _last(file, short_lives=1, began_at=time.time() - 1)
    started = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", paced.__file__, str(file), "true"], check=True)
    assert time.monotonic() - started >= 1
