"""The real page as a process of its own, for tests of any environment. Standard library only."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
START_S = 20.0


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=20) as answer:  # noqa: S310 - our own server
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def rss_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self, timeout_s: float = 10.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextlib.contextmanager
def serving(python: Path, state: Path, port: int | None = None, stream_port: int | None = None) -> Iterator[Server]:
    """``python -m serving.app`` on a free port, ready to answer; killed at the end if it still runs.

    The settings derive every port from one base: ``stream_port`` chooses the base, the page's own port is an argument.
    """
    chosen = port or free_port()
    state.mkdir(parents=True, exist_ok=True)
    log = state / "page.log"
    base = (stream_port or free_port()) - 20
    environment = {**os.environ, "MILLRACE_STATE": str(state), "MILLRACE_PORTS__BASE": str(base)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [python, "-m", "serving.app", "--port", str(chosen)],
            cwd=REPOSITORY, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    server = Server(process, chosen, log)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the page did not start:\n{server.log.read_text()}")
