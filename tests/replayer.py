"""The replayer as people run it: a process of its own, against a real broker, with the state of one test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from kafka.admin import KafkaAdminClient

from streaming import topics
from tests.kafka_broker import REPOSITORY, Broker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Replayer:
    """``replayer(FILE)`` runs the command to its end; ``start`` leaves it running."""

    def __init__(self, broker: Broker, topic: str, state: Path) -> None:
        self.broker, self.topic, self.state = broker, topic, state
        self.environment = os.environ | {
            "MILLRACE_STATE": str(state), "MILLRACE_KAFKA_BOOTSTRAP": broker.bootstrap, "PYTHONPATH": str(REPOSITORY),
        }  # fmt: skip

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "streaming.replay", "--topic", self.topic, *map(str, arguments)]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY, **options
        )

    def __call__(self, *arguments: object, stdin: bytes | None = None) -> tuple[int, dict[str, Any], str]:
        """Run to the end; returns the exit code, the JSON object, and what was written to standard error."""
        process = self.start(*arguments, "--json", stdin=subprocess.PIPE if stdin is not None else None)
        out, err = process.communicate(stdin, timeout=120)
        found = json.loads(out.decode().splitlines()[-1]) if out else {}
        return process.returncode, found, err.decode()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def recreate(broker: Broker, topic: str) -> None:
    """Delete the topic and make it anew under its name, as an operator might."""
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.delete_topics([topic])
    finally:
        admin.close()
    wait_until(lambda: not topics.exists(broker.bootstrap, topic))
    topics.ensure(broker.bootstrap, topic, 2)
