"""Let the streaming queries consume everything that waits, then print table totals and what this call drained.

While the streaming driver runs, wait for it; otherwise start it in its backfill mode (availableNow). The last line of
``--json`` is one JSON object: ``tables`` (total rows), ``quarantine_reasons``, ``duplicates``, ``drained`` (records of
this call).
"""

import json
import logging
import sys
import time
import urllib.request
from argparse import ArgumentParser, Namespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from contracts.arguments import positive
from contracts.datasets import BRONZE_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.errors import DependencyUnavailableError, ExitCode, LockHeldError, PlatformError
from contracts.schema import Dataset
from contracts.settings import Settings, load_settings
from streaming import topics

_POLL_S = 0.5
#: A driver that died is started again by the supervisor within half a minute, and answers half a minute later.
_SILENCE_S = 120.0


def parse_args(argv: list[str]) -> Namespace:
    parser = ArgumentParser(prog="millrace drain", description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument(
        "--timeout-s", type=positive, default=900.0, help="give up waiting for the driver after this long"
    )
    return parser.parse_args(argv)


def drain(settings: Settings, timeout_s: float) -> int:
    """Records that were waiting when this was called; returns when bronze to gold hold them."""
    waiting = topics.end_offsets(settings.kafka, settings.stream.topic, settings.kafka_login)
    status = driver_status(settings)
    if status is None:
        return _drain_here(settings)
    already = {int(p): n for p, n in status["committed_offsets"].items()}
    _wait_for_driver(settings, waiting, timeout_s)
    return sum(max(0, end - already.get(partition, 0)) for partition, end in waiting.items())


def driver_status(settings: Settings) -> dict[str, Any] | None:
    """What the running driver says; None where none answers."""
    try:
        with urllib.request.urlopen(settings.stream_status, timeout=5) as answer:  # noqa: S310 - an address of our settings
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return None
    return found


def table_totals(settings: Settings) -> dict[str, Any]:
    """Rows per layer, quarantine reasons and duplicates, read from the tables without a JVM."""
    reasons = _column(QUARANTINE_ACCESS_LOG, "reason", settings)
    duplicates = _column(BRONZE_ACCESS_LOG, "is_duplicate", settings)
    silver = _column(SILVER_ACCESS_LOG, "kafka_offset", settings)
    counted = pc.value_counts(reasons).to_pylist() if len(reasons) else []
    return {
        "tables": {"bronze": len(duplicates), "silver": len(silver), "quarantine": len(reasons)},
        "quarantine_reasons": {row["values"]: row["counts"] for row in counted},
        "duplicates": pc.sum(duplicates).as_py() or 0 if len(duplicates) else 0,
    }


def _column(dataset: Dataset, name: str, settings: Settings) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """One column of the newest version, file by file.

    Not by ``DeltaTable.to_pyarrow_table``: its reader's threads may call into Python while that is ending, and the
    process dies of SIGABRT with its answer already printed (seen with 840,000 rows on a busy machine).
    """
    path = dataset.path(settings.lake)
    if not DeltaTable.is_deltatable(str(path)):
        return []
    files = DeltaTable(str(path)).file_uris()
    parts = [pq.ParquetFile(file).read(columns=[name], use_threads=False).column(name) for file in files]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks]) if parts else []


def _drain_here(settings: Settings) -> int:
    from streaming import access_log

    before = table_totals(settings)["tables"]["bronze"]
    access_log.run(settings, drain=True)
    return int(table_totals(settings)["tables"]["bronze"]) - int(before)


def _wait_for_driver(settings: Settings, waiting: dict[int, int], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    answered_at = time.monotonic()
    silver_version: int | None = None
    while time.monotonic() < deadline:
        status = driver_status(settings)
        if status is not None:
            answered_at = time.monotonic()
        elif time.monotonic() - answered_at > _SILENCE_S:
            raise _failed(f"no answer from it for {_SILENCE_S:.0f} s")
        if status is not None and status["state"] == "failed":
            raise _failed(str(status["error"]))
        if status is not None and _has_reached(status, waiting):
            if silver_version is None:
                silver_version = DeltaTable(str(SILVER_ACCESS_LOG.path(settings.lake))).version()
            if status["gold_version"] is not None and status["gold_version"] >= silver_version:
                return
        time.sleep(_POLL_S)
    raise DependencyUnavailableError(
        "Draining the stream",
        found=f"the driver has not consumed offsets {waiting} within {timeout_s:.0f} s",
        required="a streaming driver that keeps up",
        next_step="See `bin/millrace status` and `bin/millrace logs stream`, then drain again.",
    )


def _has_reached(status: dict[str, Any], waiting: dict[int, int]) -> bool:
    committed = {int(p): n for p, n in status["committed_offsets"].items()}
    return all(committed.get(partition, 0) >= end for partition, end in waiting.items())


def _failed(error: str) -> DependencyUnavailableError:
    return DependencyUnavailableError(
        "Draining the stream", found=f"the streaming driver failed: {error[:500]}", required="a running driver",
        next_step="See `bin/millrace logs stream`.",
    )  # fmt: skip


def _lines(found: dict[str, Any]) -> list[str]:
    return [
        *(f"{layer:<12}{rows:>12,} rows" for layer, rows in found["tables"].items()),
        *(f"{'':<12}{rows:>12,} {reason}" for reason, rows in sorted(found["quarantine_reasons"].items())),
        f"{'duplicates':<12}{found['duplicates']:>12,} rows of bronze",
        f"{'drained':<12}{found['drained']:>12,} records in this call",
    ]


def main() -> int:
    """Exit code 0 when everything is drained."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("py4j", "kafka"):
        # A broker that is away is said by our own error, once.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    args = parse_args(sys.argv[1:])
    try:
        settings = load_settings()
        try:
            drained = drain(settings, args.timeout_s)
        except LockHeldError:
            # The driver is up but did not answer yet: it is starting.
            time.sleep(10)
            drained = drain(settings, args.timeout_s)
        found = table_totals(settings) | {"drained": drained}
    except PlatformError as error:
        print(f"drain: {error} ({type(error).__name__}, exit {int(error.exit_code)})", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    if args.json:
        print(json.dumps(found, sort_keys=True))  # noqa: T201
    else:
        print("\n".join(_lines(found)))  # noqa: T201
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
