"""What the streaming driver says of itself: JSON on ``/status``, Prometheus text on ``/metrics``."""

import json
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from spark_apps.io.stream_records import BatchCounts

#: Share of quarantined rows is taken over this many micro-batches.
_RECENT = 100


@dataclass
class StreamStatus:
    """Shared by the driver's threads; every field is replaced, never changed in place."""

    state: str = "starting"
    query_id: str | None = None
    last_batch: int = -1
    committed_offsets: dict[str, int] = field(default_factory=dict)
    end_offsets: dict[str, int] = field(default_factory=dict)
    rows: BatchCounts = field(default_factory=lambda: BatchCounts(0, 0, 0, 0))
    recent: tuple[BatchCounts, ...] = ()
    silver_version: int | None = None
    gold_version: int | None = None
    last_commit_at: datetime | None = None
    gold_committed_at: datetime | None = None
    error: str | None = None

    def add(self, batch_id: int, counts: BatchCounts) -> None:
        self.rows = BatchCounts(*[a + b for a, b in zip(astuple(self.rows), astuple(counts), strict=True)])
        self.recent = (*self.recent[-_RECENT + 1 :], counts)
        self.last_batch = batch_id
        self.last_commit_at = datetime.now(UTC)

    @property
    def lag_records(self) -> int:
        """Records in the topic that no micro-batch has written yet."""
        return sum(max(0, end - self.committed_offsets.get(p, 0)) for p, end in self.end_offsets.items())

    @property
    def quarantine_ratio(self) -> float:
        bronze = sum(counts.bronze for counts in self.recent)
        return sum(counts.quarantine for counts in self.recent) / bronze if bronze else 0.0

    @property
    def freshness_s(self) -> float | None:
        """Seconds since the last commit while records wait; 0 when all is written, None before the first commit."""
        if self.last_commit_at is None:
            return None
        return (datetime.now(UTC) - self.last_commit_at).total_seconds() if self.lag_records else 0.0

    def as_json(self) -> dict[str, Any]:
        plain = {key: value for key, value in asdict(self).items() if key != "recent"}
        for key, value in plain.items():
            plain[key] = value.isoformat() if isinstance(value, datetime) else value
        return plain | {
            "lag_records": self.lag_records,
            "quarantine_ratio": self.quarantine_ratio,
            "freshness_s": self.freshness_s,
        }


def astuple(counts: BatchCounts) -> tuple[int, int, int, int]:
    return counts.bronze, counts.silver, counts.quarantine, counts.duplicates


def serve(status: StreamStatus, port: int, address: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Answer on ``address``:``port`` until ``shutdown()``; in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/status":
                body, kind = json.dumps(status.as_json()).encode(), "application/json"
            elif self.path == "/metrics":
                body, kind = _prometheus(status), "text/plain; version=0.0.4"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the library's signature
            """Say nothing: the page asks every second."""

    server = ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server


def _prometheus(status: StreamStatus) -> bytes:
    registry = CollectorRegistry()

    def gauge(name: str, about: str, value: float | None) -> None:
        if value is not None:
            Gauge(f"millrace_stream_{name}", about, registry=registry).set(value)

    gauge("running", "1 while the query runs", float(status.state == "running"))
    gauge("last_batch", "last micro-batch in every table", status.last_batch)
    gauge("lag_records", "records not written yet", status.lag_records)
    gauge("freshness_seconds", "age of the last commit while records wait", status.freshness_s)
    gauge("quarantine_ratio", "quarantined share of the last micro-batches", status.quarantine_ratio)
    gauge("silver_version", "version of silver", status.silver_version)
    gauge("gold_silver_version", "version of silver that gold covers", status.gold_version)
    rows = Gauge("millrace_stream_rows_total", "rows written", ["layer"], registry=registry)
    for layer, count in asdict(status.rows).items():
        rows.labels(layer).set(count)
    text: bytes = generate_latest(registry)
    return text
