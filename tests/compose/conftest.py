"""The platform in containers, brought up once for the tests that ask for it, and taken away after them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from contracts.settings import REPOSITORY
from infra.images import build, secret_files
from tests.compose.platform import Platform

ENGINE = REPOSITORY / "infra" / "images" / "engine.sh"
#: Where `make compose-test` keeps an engine of its own, on machines that have none.
ENGINE_FOLDER = REPOSITORY / ".millrace" / "engine"


@pytest.fixture(scope="session")
def engine():
    """Variables of a container engine that answers: this machine's, or our own from Debian's packages."""
    if _answers(dict(os.environ)):
        yield dict(os.environ)
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("no container engine answers, and only root on Debian can start one from packages")
    started = subprocess.run(
        [str(ENGINE), "start", str(ENGINE_FOLDER)], capture_output=True, text=True, check=False, timeout=900
    )
    if started.returncode != 0:
        pytest.skip(f"no container engine can run here: {started.stderr.strip()[-500:]}")
    exports = started.stdout.strip().splitlines()[-1].removeprefix("export ").split()
    found = dict(export.split("=", 1) for export in exports)
    found["PATH"] = found["PATH"].replace("$PATH", os.environ["PATH"])
    try:
        yield dict(os.environ) | found
    finally:
        subprocess.run([str(ENGINE), "stop", str(ENGINE_FOLDER)], check=True, timeout=120)


@pytest.fixture(scope="session")
def images(engine):
    """The variables that images were built with, all of them from this checkout, and the megabytes of each."""
    known = build.environment(engine)
    for image in build.IMAGES:
        build.build(image, known)
    return known, {image: build.size_mb(image, known) for image in build.IMAGES}


@pytest.fixture(scope="session")
def platform(images, tmp_path_factory):
    """Every service healthy, under names and ports of its own; nothing is left of it afterwards."""
    known, _ = images
    secrets: Path = tmp_path_factory.mktemp("secrets")
    secret_files.ensure(secrets)
    found = Platform.on_free_ports(known, secrets)
    try:
        found.up()
        yield found
    finally:
        found.down()


def _answers(environment: dict[str, str]) -> bool:
    if shutil.which("docker", path=environment.get("PATH")) is None:
        return False
    for command in (["docker", "info"], ["docker", "compose", "version"], ["docker", "buildx", "version"]):
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0:
            return False
    return True
