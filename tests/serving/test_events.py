"""The real server as a process: commits reach those who listen, and it stops when told."""

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.serving.lake_builder import LakeBuilder
from tests.serving.server import Server, free_port, serving

PYTHON = Path(sys.executable)
PROMISED_S = 5.0


class Listener:
    """An event stream, read line by line as a browser does."""

    def __init__(self, server: Server) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
        self.connection.request("GET", "/api/events")
        self.answer = self.connection.getresponse()

    def next(self, name: str) -> Any:
        """Data of the next event of that name; others on the way are passed over."""
        event = None
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event == name:
                return json.loads(line.removeprefix("data: "))


@pytest.fixture
def server(builder: LakeBuilder) -> Iterator[Server]:
    with serving(PYTHON, builder.lake.parent) as running:
        yield running


def test_a_listener_is_told_the_state_at_once_and_each_commit_within_five_seconds(
    server: Server, builder: LakeBuilder, morning_lines: list[bytes]
) -> None:
    listeners = [Listener(server) for _ in range(12)]
    assert listeners[0].answer.getheader("Content-Type", "").startswith("text/event-stream")
    for listener in listeners:
        assert set(listener.next("tables")["versions"].values()) == {None}
    builder.add(morning_lines[:100])
    committed = time.monotonic()
    for listener in listeners:
        while not listener.next("tables")["versions"]["gold.sessions"]:
            pass
    assert time.monotonic() - committed < PROMISED_S
    assert server.get("/api/summary")[1]["totals"]["requests"] == 100
    assert server.get("/health")[1]["listeners"] == 12


def test_a_listener_hears_a_beat_while_nothing_happens(server: Server) -> None:
    listener = Listener(server)
    began = time.monotonic()
    assert listener.next("beat") == {}
    assert time.monotonic() - began < 10


def test_the_server_stops_within_seconds_although_pages_listen(server: Server) -> None:
    listeners = [Listener(server) for _ in range(3)]
    for listener in listeners:
        listener.next("tables")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in server.log.read_text()


def test_a_listener_that_went_away_is_forgotten(server: Server) -> None:
    listener = Listener(server)
    listener.next("tables")
    assert server.get("/health")[1]["listeners"] == 1
    listener.answer.close()
    listener.connection.close()
    deadline = time.monotonic() + 12
    while server.get("/health")[1]["listeners"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert server.get("/health")[1]["listeners"] == 0


def test_the_streams_lag_is_passed_on_and_its_end_is_noticed(builder: LakeBuilder) -> None:
    said = {"state": "running", "lag_records": 7, "committed_offsets": {"0": 5}, "error": None}

    class Driver(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    port = free_port()
    driver = HTTPServer(("127.0.0.1", port), Driver)
    thread = threading.Thread(target=driver.serve_forever)
    thread.start()
    try:
        with serving(PYTHON, builder.lake.parent, stream_port=port) as server:
            listener = Listener(server)
            heard = listener.next("stream")
            assert (heard["running"], heard["state"], heard["lag_records"]) == (True, "running", 7)
            assert "committed_offsets" not in heard
            said["lag_records"] = 3
            assert listener.next("stream")["lag_records"] == 3
            driver.shutdown()
            driver.server_close()
            gone = listener.next("stream")
            assert gone["running"] is False
            assert "not running" in gone["message"]
    finally:
        driver.shutdown()
        driver.server_close()
        thread.join()


def test_the_server_stays_small(server: Server, builder: LakeBuilder, morning_lines: list[bytes]) -> None:
    paths = ["summary", "traffic", "resources", "hosts", "heatmap", "sessions", "oddities", "quarantine", "freshness"]
    for n in range(0, 5000, 500):
        builder.add(morning_lines[n : n + 500])
        for path in paths:
            status, answer = server.get(f"/api/{path}")
            assert (status, answer["available"]) == (200, True)
    assert server.rss_mib() < 350


def test_a_wrong_setting_stops_the_server_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="MILLRACE_PORTS__BASE"), serving(PYTHON, tmp_path, stream_port=30):
        pass
