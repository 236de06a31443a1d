"""Is a service doing its work? One function per kind of service; silence means yes."""

import json
import socket
import struct
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

# Never through a proxy: everything here is on loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotHealthyError(Exception):
    """A service does not answer, or says that it is not well; the message says what it said."""


def fetch(url: str, timeout_s: float = 5.0) -> bytes:
    """Body of a loopback address; anything but an answer with status 2xx is a NotHealthyError."""
    try:
        with _OPENER.open(url, timeout=timeout_s) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise NotHealthyError(f"{url} answers {error.code}") from error
    except (OSError, ValueError) as error:
        raise NotHealthyError(f"{url} does not answer ({_reason(error)})") from error


def fetch_json(url: str, timeout_s: float = 5.0) -> Any:  # noqa: ANN401 - JSON is any type until its reader looks
    body = fetch(url, timeout_s)
    try:
        return json.loads(body)
    except ValueError as error:
        raise NotHealthyError(f"{url} does not answer with JSON") from error


def kafka(port: int) -> None:
    """The broker answers ApiVersions, which it does only once it is registered and unfenced."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                head = answer.read(10)
    except OSError as error:
        raise NotHealthyError(f"127.0.0.1:{port} does not answer ({_reason(error)})") from error
    if len(head) < 10 or struct.unpack(">iih", head)[1:] != (1, 0):
        raise NotHealthyError(f"127.0.0.1:{port} does not answer as a Kafka broker")


def spark_master(ui_port: int) -> None:
    status = fetch_json(f"http://127.0.0.1:{ui_port}/json/").get("status")
    if status != "ALIVE":
        raise NotHealthyError(f"the master says {status}")


def spark_worker(master_ui_port: int, ui_port: int) -> None:
    """The master lists the worker with this page as alive."""
    workers = fetch_json(f"http://127.0.0.1:{master_ui_port}/json/").get("workers", [])
    mine = [worker for worker in workers if str(worker.get("webuiaddress", "")).endswith(f":{ui_port}")]
    if not any(worker["state"] == "ALIVE" for worker in mine):
        raise NotHealthyError("the master does not list this worker as alive")


def mlflow(port: int) -> None:
    fetch(f"http://127.0.0.1:{port}/health")


def airflow_api(port: int) -> None:
    fetch(f"http://127.0.0.1:{port}/api/v2/version")


def airflow_part(port: int, part: str, since: float) -> None:
    """``part`` (scheduler, dag_processor, triggerer) had a heartbeat after ``since`` (seconds since the epoch).

    Airflow itself calls a heartbeat of an earlier process healthy for half a minute after that process is gone.
    """
    report = fetch_json(f"http://127.0.0.1:{port}/api/v2/monitor/health").get(part) or {}
    if report.get("status") != "healthy":
        raise NotHealthyError(f"Airflow calls it {report.get('status') or 'absent'}")
    beat = report.get(f"latest_{part}_heartbeat")
    if beat is None or datetime.fromisoformat(beat).timestamp() < since:
        raise NotHealthyError("no heartbeat since it was started")


def stream(port: int) -> None:
    report = fetch_json(f"http://127.0.0.1:{port}/status")
    if report.get("state") != "running":
        raise NotHealthyError(f"state {report.get('state')}" + (f": {report['error']}" if report.get("error") else ""))


def page(port: int) -> None:
    fetch(f"http://127.0.0.1:{port}/health")


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
