"""A broker, a topic of the test's own, and a replayer that sends to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming import topics
from tests.kafka_broker import Broker
from tests.replayed import sha256
from tests.replayer import Replayer


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    """A topic of this test's own."""
    name = "t." + sha256(request.node.nodeid.encode())[:12]
    topics.ensure(broker.bootstrap, name, 2)
    return name


@pytest.fixture
def replay(broker: Broker, topic: str, tmp_path: Path) -> Replayer:
    return Replayer(broker, topic, tmp_path / "state")
