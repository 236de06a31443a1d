"""One broker for all fault suites, and a lab for each test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from streaming import topics
from tests.faults.lab import Lab
from tests.kafka_broker import Broker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Started once; a test that kills it starts it again."""
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def new_lab(shared_broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """Make a lab with a topic of its own; its drivers end with the test."""
    labs: list[Lab] = []

    def make(state: Path | None = None, **options: object) -> Lab:
        name = hashlib.sha256(f"{request.node.nodeid}{len(labs)}{tmp_path}".encode()).hexdigest()[:12]
        folder = tmp_path / f"lab{len(labs)}"
        folder.mkdir()
        lab = Lab(shared_broker, f"faults.{name}", folder, state or folder / "state", **options)  # type: ignore[arg-type]
        topics.ensure(shared_broker.bootstrap, lab.topic, 2)
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def lab(new_lab: Callable[..., Lab]) -> Lab:
    return new_lab()


@pytest.fixture
def local_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab whose broker is never started."""
    alone = Lab(Broker(tmp_path / "no_kafka"), "none", tmp_path, tmp_path / "state")
    yield alone
    alone.close()
