"""A check passes only for a service that does its work: real sockets, real HTTP."""

import json
import socketserver
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.local import health
from infra.local.health import NotHealthyError


@contextmanager
def answering(paths: dict):
    """An HTTP server on loopback: JSON by path, or a status where the answer is a number."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = paths.get(self.path, 404)
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            if not isinstance(answer, int):
                self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def speaking(reply: bytes):
    """A TCP server that answers whatever it is sent with ``reply``."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(100)
            self.request.sendall(reply)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_broker_that_answers_is_healthy():
    with speaking(bytes.fromhex("0000000a00000001000000000000")) as port:
        health.kafka(port)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes.fromhex("0000000a000000010023")])
def test_something_else_on_the_broker_s_port_is_not_healthy(reply):
    with speaking(reply) as port, pytest.raises(NotHealthyError, match="as a Kafka broker"):
        health.kafka(port)


def test_nobody_on_a_port_is_not_healthy():
    with answering({}) as port:
        pass
    with pytest.raises(NotHealthyError, match="refused"):
        health.kafka(port)
    with pytest.raises(NotHealthyError, match="refused"):
        health.mlflow(port)


def test_a_worker_is_healthy_only_when_the_master_lists_it_as_alive():
    workers = [
        {"webuiaddress": "http://127.0.0.1:18082", "state": "DEAD"},
        {"webuiaddress": "http://127.0.0.1:18083", "state": "ALIVE"},
    ]
    with answering({"/json/": {"status": "ALIVE", "workers": workers}}) as port:
        health.spark_master(port)
        health.spark_worker(port, 18083)
        for unlisted in (18082, 18084):
            with pytest.raises(NotHealthyError, match="does not list this worker"):
                health.spark_worker(port, unlisted)


def test_a_heartbeat_of_an_earlier_process_does_not_count():
    beat = datetime.now(UTC).isoformat()
    report = {"scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat}, "triggerer": {"status": None}}
    with answering({"/api/v2/monitor/health": report}) as port:
        health.airflow_part(port, "scheduler", since=time.time() - 60)
        with pytest.raises(NotHealthyError, match="no heartbeat since it was started"):
            health.airflow_part(port, "scheduler", since=time.time() + 1)
        with pytest.raises(NotHealthyError, match="absent"):
            health.airflow_part(port, "triggerer", since=0)


def test_a_failed_stream_says_why():
    failed = {"state": "failed", "error": "the checkpoint is damaged"}
    with (
        answering({"/status": failed}) as port,
        pytest.raises(NotHealthyError, match="failed: the checkpoint is damag"),
    ):
        health.stream(port)
    with answering({"/status": {"state": "running", "error": None}}) as port:
        health.stream(port)


def test_an_error_page_is_not_healthy():
    with answering({"/health": 500}) as port, pytest.raises(NotHealthyError, match="answers 500"):
        health.page(port)
