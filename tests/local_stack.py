"""A stack with a state and ports of its own, driven by the command that people type."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

from contracts.settings import REPOSITORY, Settings
from infra.local import processes
from infra.local.places import Places

if TYPE_CHECKING:
    from pathlib import Path


class Stack:
    """Calling it runs ``bin/millrace WORDS`` on this stack; ``code`` is the checkout, or a copy of it."""

    def __init__(self, state: Path, base: int, code: Path = REPOSITORY) -> None:
        self.base = base
        self._millrace = str(code / "bin" / "millrace")
        self.places = Places(Settings(state=state, ports={"base": base}))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_")}
        self.environment = environment | {"MILLRACE_STATE": str(state), "MILLRACE_PORTS__BASE": str(base)}

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._millrace, *words],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            # Grids of boosted trees on two busy cores.
            timeout=4000,
        )

    def service(self, name: str) -> dict[str, Any]:
        found = json.loads(self("status", "--json").stdout)
        return next(service for service in found["services"] if service["name"] == name)

    def wait(self, name: str, timeout_s: float = 60, **wanted: object) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.service(name)
            if all(found[key] == value for key, value in wanted.items()):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.5)


def free_base() -> int:
    """Below the ports that the system gives to outgoing connections; other stacks may run beside the tests."""
    for base in range(30_000, 32_000, 100):
        if not any(processes.is_port_taken(base + offset) for offset in range(100)):
            return base
    raise AssertionError("no hundred free ports from 30000 to 32000")
