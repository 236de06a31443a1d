"""The Debian packages that the lab needs: which are missing, how to install them without starting their services.

Standard library only: set-up asks before any environment exists.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from contracts.errors import DependencyUnavailableError
from infra.local import machine

#: ``filetxt``: finished jobs are lines in a file. ``dbd``: MariaDB and slurmdbd, so that ``sacct`` answers.
Accounting = Literal["filetxt", "dbd"]

#: Where Debian keeps programs; an ordinary user's PATH lacks the daemons.
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

#: Programs that are called, with the Debian package each comes from.
_PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
}
_ACCOUNTING_PROGRAMS = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core"}

_POLICY = Path("/usr/sbin/policy-rc.d")


def program(name: str) -> str:
    """Absolute path of a program; just its name where there is none (sshd wants the path: it starts itself anew)."""
    return _found(name) or name


def missing(accounting: Accounting) -> list[str]:
    """Debian packages whose programs are not on this machine, in the order in which they would be installed."""
    wanted = _PROGRAMS | (_ACCOUNTING_PROGRAMS if accounting == "dbd" else {})
    lacking = [package for name, package in wanted.items() if _found(name) is None]
    return [*lacking, "slurm-wlm-basic-plugins"] if "slurmctld" in lacking or "slurmd" in lacking else lacking


def postgres_programs() -> Path | None:
    """The folder of Postgres's own programs, for the kill suite; Debian keeps them off everybody's PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def missing_for_tests() -> list[str]:
    """Debian packages that tests of the lab lack: its own, and Postgres."""
    return [*missing("dbd"), *([] if postgres_programs() else ["postgresql"])]


def install_line(packages: list[str]) -> str:
    """What a person types to get ``packages``."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install --no-install-recommends {' '.join(packages)}"


def require(accounting: Accounting) -> None:
    """Raise DependencyUnavailableError with the line to type when a program of the lab is missing."""
    if lacking := missing(accounting):
        raise DependencyUnavailableError(
            "Starting the Slurm lab",
            found=f"not installed: {', '.join(lacking)}",
            required="these Debian packages",
            next_step=f"Run: {install_line(lacking)} (or, as root: bin/millrace setup --hpc)",
        )


def install(packages: list[str]) -> None:
    """Install ``packages`` without one of their services being started."""
    with _no_service_starts(_POLICY):
        machine.apt_install(packages)


@contextmanager
def _no_service_starts(policy: Path) -> Iterator[None]:
    """Debian asks this program before a package starts its service; one that is there already stays."""
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink(missing_ok=True)


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
