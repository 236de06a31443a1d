"""What set-up asks of the machine itself: Java, venv, make, a browser. Standard library only."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from contracts.errors import DependencyUnavailableError

#: Spark 4.0 needs 17; from 24 on Java lacks what Spark's Hadoop client calls (Subject.getSubject).
JAVA_VERSIONS = range(17, 24)
JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def java() -> str:
    """The Java that everything here starts: JAVA_HOME goes before PATH, as in Spark's own scripts."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def missing_packages(python: Path) -> list[str]:
    """Debian packages that this machine lacks; for Java the one that the machine's release has."""
    wanted = []
    if java_version() not in JAVA_VERSIONS:
        wanted.append(_available(JAVA_PACKAGES))
    if subprocess.run([str(python), "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode != 0:
        wanted.append(
            "python3-venv"
            if str(python).startswith("/usr/bin/")
            else f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        )
    if shutil.which("make") is None:
        wanted.append("make")
    return wanted


def java_version_text() -> str:
    """What ``java -version`` says; empty where there is no Java."""
    try:
        return subprocess.run([java(), "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return ""


def java_version() -> int | None:
    """Major version of Java; None where there is none."""
    match = re.search(r'version "(\d+)', java_version_text())
    return int(match[1]) if match else None


def apt_install(packages: list[str]) -> None:
    """Install Debian packages; the list of packages is fetched when it is too old to find them."""
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0:
        run(["apt-get", "update"], "fetching Debian's list of packages")
        run(command, f"installing {', '.join(packages)}")


def may_install() -> bool:
    """Debian packages can be installed here: we are root, and there is apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def require_root(wanted: list[str]) -> None:
    """Only root may install packages: anybody else is told what to type."""
    if not may_install():
        raise DependencyUnavailableError(
            "Looking for what the system must provide", found=f"not installed: {', '.join(wanted)}",
            required="these Debian packages", next_step=f"Run: sudo apt-get install {' '.join(wanted)}",
        )  # fmt: skip


def require_nothing_missing(python: Path) -> None:
    """After an installation: what is still missing is an error."""
    if still := missing_packages(python):
        raise DependencyUnavailableError(
            "Installing Debian packages", found=f"still missing: {', '.join(still)}", required="a usable installation",
            next_step="Is an older Java in JAVA_HOME, or first on PATH?", changed="Packages were installed.",
        )  # fmt: skip


def browser() -> None:
    """Debian's chromium; without it, and without the right to install it, the browser tests say so and are skipped."""
    if shutil.which("chromium") is None:
        if may_install():
            apt_install(["chromium"])
        else:
            print("  no chromium: the browser tests are skipped. For them: sudo apt-get install chromium", flush=True)


def run(command: list[str], doing: str) -> None:
    """Run a command that may download; its output is part of the error when it fails."""
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    if Path(_CERTIFICATES).exists():
        environment.setdefault("SSL_CERT_FILE", _CERTIFICATES)
        environment.setdefault("PIP_CERT", environment["SSL_CERT_FILE"])
    if "PIP_INDEX_URL" in environment:
        # uv does not read pip's variable; a machine that sets it reaches no other index.
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        said = (run.stdout + run.stderr).strip()[-3000:]
        raise DependencyUnavailableError(
            doing[0].upper() + doing[1:],
            found=f"exit status {run.returncode} of {command[0]}: {said}",
            required="success",
            next_step="Check the network and the disk, then run set-up again.",
            changed="What was finished before stays.",
        )


def _available(packages: tuple[str, ...]) -> str:
    for name in packages:
        found = (
            shutil.which("apt-cache")
            and subprocess.run(["apt-cache", "policy", name], capture_output=True, text=True, check=False).stdout
        )
        if found and "Candidate: (none)" not in found:
            return name
    return packages[0]
