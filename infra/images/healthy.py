"""Health checks of the containers: ``healthy.py KIND [ARGUMENT]``; silence and 0 mean well, a line and 1 mean not.

Standard library and one socket: each check is a process of its own, every few seconds, in every container.
"""

import json
import socket
import struct
import sys
from typing import Any


def fetch(host: str, port: int, path: str) -> bytes:
    """Body of an answer with status 2xx; anything else is an OSError."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, port), timeout=4) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode(errors="replace")
    if " 2" not in status[:11]:
        raise OSError(f"http://{host}:{port}{path} answers {status!r}")
    return body


def http(port: str, path: str) -> str:
    fetch("127.0.0.1", int(port), path)
    return ""


def kafka(port: str) -> str:
    """The broker answers ApiVersions, which it does before any login, and only once it is registered and unfenced."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    with socket.create_connection(("127.0.0.1", int(port)), timeout=4) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answer:
            head = answer.read(10)
    return "" if len(head) == 10 and struct.unpack(">iih", head)[1:] == (1, 0) else "no answer of a Kafka broker"


def spark_master(host: str) -> str:
    status = _json(host, 8080, "/json/").get("status")
    return "" if status == "ALIVE" else f"the master says {status}"


def spark_worker(master: str) -> str:
    """The master lists the worker of this container as alive."""
    mine = socket.gethostbyname(socket.gethostname())
    workers = _json(master, 8080, "/json/").get("workers", [])
    alive = any(worker["host"] == mine and worker["state"] == "ALIVE" for worker in workers)
    return "" if alive else f"the master does not list {mine} as alive"


def stream(port: str) -> str:
    report = _json("127.0.0.1", int(port), "/status")
    return "" if report.get("state") == "running" else f"state {report.get('state')}: {report.get('error')}"


def airflow(part: str) -> str:
    """What the API server says of ``scheduler``, ``dag_processor`` or ``triggerer``."""
    report = _json("airflow-api-server", 8080, "/api/v2/monitor/health").get(part) or {}
    return "" if report.get("status") == "healthy" else f"Airflow calls it {report.get('status')}"


CHECKS = {
    "http": http, "kafka": kafka, "spark-master": spark_master, "spark-worker": spark_worker, "stream": stream,
    "airflow": airflow,
}  # fmt: skip


def _json(host: str, port: int, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fetch(host, port, path))
    return found


def main(argv: list[str]) -> int:
    try:
        complaint = CHECKS[argv[0]](*argv[1:])
    except (OSError, ValueError) as error:
        complaint = str(error)
    if complaint:
        print(complaint)
    return 1 if complaint else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
