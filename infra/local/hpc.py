"""The Slurm lab of a stack: beside its services, started by ``up --hpc`` only, ended by every ``down``."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from contracts.settings import Settings
from infra.slurm.access import CONNECTION
from infra.slurm.lab import Lab
from infra.slurm.packages import Accounting

Say = Callable[[str], None]


def lab(settings: Settings, accounting: Accounting | None = None) -> Lab:
    """The lab of this stack, with the accounting that it was started with unless said otherwise."""
    folder, ports = settings.state / "slurm", settings.ports
    return Lab(folder, ports, accounting or Lab(folder, ports).started_with or "filetxt")


def start(wanted: Lab, say: Say) -> None:
    """Start what does not run of the lab; returns when both nodes take jobs."""
    began = time.monotonic()
    was_whole = wanted.is_wanted and all(part.process for part in wanted.status())
    wanted.start()
    how = "already up" if was_whole else f"up after {time.monotonic() - began:.1f} s"
    say(f"  Slurm lab {how}: ssh -F {wanted.ssh_config} hpc")


def stop(settings: Settings, say: Say) -> int:
    """Cancel its jobs and end its processes; returns how many there were."""
    began = time.monotonic()
    ended = lab(settings).stop()
    if ended:
        say(f"  stopped the Slurm lab and its jobs ({time.monotonic() - began:.1f} s)")
    return ended


def forget_unless_alive(settings: Settings) -> None:
    """A lab whose processes a reboot ended is no longer wanted: nobody asked for it since."""
    found = lab(settings)
    if found.is_wanted and not found.processes():
        found.stop()


def airflow_variables(settings: Settings) -> dict[str, str]:
    """The connection ``hpc``, while the lab is wanted: jobs take the Spark that set-up installed for the platform."""
    found = lab(settings)
    if not found.is_wanted:
        return {}
    connection = json.loads(found.airflow_connection)
    connection["extra"] |= {
        "site": "lab", "base_dir": str(found.places.scratch / "millrace"),
        "venv": str(settings.toolchain / "env" / "spark"), "jars": str(settings.toolchain / "jars" / "spark"),
    }  # fmt: skip
    return {CONNECTION: json.dumps(connection)}


def logs(settings: Settings) -> dict[str, Path]:
    """The log of every daemon that has one."""
    return {name: path for name, path in lab(settings).logs().items() if path.exists()}
