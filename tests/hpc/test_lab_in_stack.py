"""``bin/millrace up --hpc``: the lab beside the stack, shown by status and doctor, ended by down."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import ExitCode
from infra.local import hpc, processes
from infra.slurm.parts import parts
from tests.local_stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contracts.settings import Ports

pytestmark = pytest.mark.stack


@pytest.fixture
def stack(tmp_path: Path, new_ports: Callable[[], Ports]) -> Iterator[Stack]:
    found = Stack(tmp_path / "state", new_ports().base)
    yield found
    assert found("down").returncode == 0


def _airflow_connection(stack: Stack) -> str | None:
    """What the supervisor's file gives the Airflow services as their connection ``hpc``."""
    parser = configparser.RawConfigParser()
    parser.read(stack.places.conf / "supervisord.conf")
    values = [parser[f"program:airflow-{name}"]["environment"] for name in ("scheduler", "triggerer", "api-server")]
    found = [re.search(r"AIRFLOW_CONN_HPC='(.*?)'", value) for value in values]
    connections = {match and match[1] for match in found}
    assert len(connections) == 1
    return connections.pop()


def test_the_lab_comes_with_the_flag_only_and_goes_with_the_stack(stack: Stack):
    lab = hpc.lab(stack.places.settings)
    daemons = set(parts(lab.places))
    assert not {row["name"] for row in json.loads(stack("status", "--json").stdout)["services"]} & daemons

    done = stack("up", "page")
    assert done.returncode == 0, done.stderr
    assert lab.processes() == []
    assert _airflow_connection(stack) is None

    done = stack("up", "--hpc", "page")
    assert done.returncode == 0, done.stderr
    status = json.loads(stack("status", "--json").stdout)
    assert status["state"] == "healthy"
    assert {row["name"]: row["health"] for row in status["services"] if row["name"] in daemons} == dict.fromkeys(
        daemons, "healthy"
    )
    known, its_own = json.loads(_airflow_connection(stack) or "{}"), json.loads(lab.airflow_connection)
    jobs_take = {name: known["extra"].pop(name) for name in ("site", "base_dir", "venv", "jars")}
    assert known == its_own
    assert jobs_take["site"] == "lab"
    assert (Path(jobs_take["venv"]) / "bin" / "spark-submit").exists()
    asked = subprocess.run(["ssh", "-F", lab.ssh_config, "hpc", "sinfo"], capture_output=True, text=True, check=False)
    assert "hpc[1-2]" in asked.stdout
    before = lab.status()
    assert "Slurm lab already up" in stack("up", "--hpc", "page").stdout
    assert lab.status() == before

    lab.kill("hpc2")
    status = json.loads(stack("status", "--json").stdout)
    assert status["state"] == "degraded"
    assert "PROBLEM  hpc2: exited, down. Read: bin/millrace logs hpc2" in stack("doctor").stdout
    assert "slurmd version" in stack("logs", "hpc2").stdout
    assert stack("up", "--hpc", "page").returncode == 0

    job = lab.run("sbatch", "--parsable", "--wrap", "sleep 4323").stdout.strip()
    assert job
    done = stack("down")
    assert "stopped the Slurm lab and its jobs" in done.stdout
    assert lab.processes() == []
    ports = [port for part in lab.status() for port in part.ports.values()]
    assert [port for port in ports if processes.is_port_taken(port)] == []
    assert "nothing of this stack runs" in stack("down").stdout
    assert not lab.is_wanted


def test_down_ends_a_lab_whose_stack_is_gone_and_another_up_forgets_one_that_a_reboot_ended(stack: Stack):
    lab = hpc.lab(stack.places.settings, "dbd")
    lab.start()
    assert "OK       hpc1: healthy" in stack("doctor").stdout
    done = stack("down")
    assert (done.returncode, "down: every process ended" in done.stdout) == (ExitCode.DONE, True)
    assert lab.processes() == []

    lab.start()
    for part in lab.status():
        lab.kill(part.name)
    assert lab.is_wanted
    assert stack("up", "page").returncode == 0
    assert not lab.is_wanted
    assert _airflow_connection(stack) is None
