"""The lab as the program of a container: it gives its keys, is looked at, and ends with its daemons."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from contracts.settings import REPOSITORY
from infra.slurm.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from contracts.settings import Ports


@pytest.fixture
def served(tmp_path: Path, new_ports: Callable[[], Ports]) -> Iterator[tuple[subprocess.Popen[str], Lab]]:
    ports = new_ports()
    for name in ("given", "temporary"):
        (tmp_path / name).mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.slurm.serve", str(tmp_path / "lab"), "--give", str(tmp_path / "given")],
        cwd=REPOSITORY, env=_environment(ports, tmp_path / "temporary"), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    lab = Lab(tmp_path / "lab", ports)
    try:
        assert process.stdout
        assert "both nodes take jobs" in process.stdout.readline()
        yield process, lab
    finally:
        process.kill()
        process.wait()
        lab.stop()


def test_it_gives_its_keys_is_well_and_ends_when_it_is_told_to(
    served: tuple[subprocess.Popen[str], Lab], tmp_path: Path
) -> None:
    process, lab = served
    assert (tmp_path / "given" / "id_platform").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "given" / "known_hosts").read_text().startswith(f"[127.0.0.1]:{lab.ports.slurm_ssh} ssh-ed25519")
    check = [sys.executable, "-m", "infra.slurm.serve", str(tmp_path / "lab"), "--check"]
    environment = _environment(lab.ports, tmp_path / "temporary")
    well = subprocess.run(check, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (well.returncode, well.stdout.strip()) == (0, "")
    asked = ["ssh", "-F", str(lab.ssh_config), "hpc", "echo $TMPDIR"]
    jobs_use = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    assert jobs_use == str(tmp_path / "temporary")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert lab.processes() == []


def test_it_ends_with_1_when_a_daemon_ended_first(served: tuple[subprocess.Popen[str], Lab]) -> None:
    process, lab = served
    lab.kill("hpc2")
    assert process.wait(timeout=90) == 1
    assert process.stderr
    assert "ended by themselves: hpc2; read" in process.stderr.read()
    assert lab.processes() == []


def _environment(ports: Ports, temporary: Path) -> dict[str, str]:
    return os.environ | {"MILLRACE_PORTS__BASE": str(ports.base), "TMPDIR": str(temporary)}
