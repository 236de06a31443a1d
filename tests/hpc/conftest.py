"""Labs for the whole run; where Debian's packages are missing every test that asks for one is skipped and says so."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from contracts.settings import Ports
from infra.local import processes
from infra.slurm import packages
from infra.slurm.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def new_ports() -> Callable[[], Ports]:
    """Ports that nobody uses, and that other runs of these tests will hardly choose at the same time."""
    if lacking := packages.missing("dbd"):
        pytest.skip(f"needs Debian packages: {packages.install_line(lacking)}")
    bases = list(range(26_000, 30_000, 100))
    random.shuffle(bases)

    def find() -> Ports:
        while True:
            base = bases.pop()
            if not any(processes.is_port_taken(base + offset) for offset in range(100)):
                return Ports(base=base)

    return find


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, new_ports: Callable[[], Ports]) -> Iterator[Lab]:
    """A lab without ``sacct``: finished jobs are seen in ``squeue`` for five minutes, and in a file."""
    with Lab(tmp_path_factory.mktemp("lab"), new_ports()) as running:
        yield running


@pytest.fixture(scope="session")
def accounted_lab(tmp_path_factory: pytest.TempPathFactory, new_ports: Callable[[], Ports]) -> Iterator[Lab]:
    """A lab whose ``sacct`` answers."""
    with Lab(tmp_path_factory.mktemp("lab"), new_ports(), "dbd") as running:
        yield running
