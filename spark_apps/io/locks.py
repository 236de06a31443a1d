"""Exclusive locks held by the JVM: a Python lock would be gone while the JVM that it guards still writes."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from pyspark.sql import SparkSession

from contracts.errors import LockHeldError

#: One JVM holds a file lock once, so the threads of this process take turns before they ask for it.
_TURNS: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
_DEPTH: defaultdict[str, int] = defaultdict(int)


@contextmanager
def exclusive(spark: SparkSession, path: Path, attempted: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; the operating system frees it when the JVM dies.

    Waits up to ``wait_s`` seconds, then raises LockHeldError. Re-entrant within one thread.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = str(path.resolve())
    turn = _TURNS[name]
    if not turn.acquire(timeout=max(wait_s, 0.001)):
        raise _held(path, attempted)
    try:
        if _DEPTH[name]:
            _DEPTH[name] += 1
            try:
                yield
            finally:
                _DEPTH[name] -= 1
            return
        channel = _lock(spark, path, attempted, wait_s)
        _DEPTH[name] = 1
        try:
            yield
        finally:
            _DEPTH[name] = 0
            channel.close()
    finally:
        turn.release()


def _lock(spark: SparkSession, path: Path, attempted: str, wait_s: float) -> Any:  # noqa: ANN401 - a Java object
    jvm: Any = spark.sparkContext._jvm  # noqa: SLF001 - pyspark has no public way to the JVM
    options = spark.sparkContext._gateway.new_array(jvm.java.nio.file.OpenOption, 2)  # type: ignore[union-attr]  # noqa: SLF001
    options[0] = jvm.java.nio.file.StandardOpenOption.CREATE
    options[1] = jvm.java.nio.file.StandardOpenOption.WRITE
    channel = jvm.java.nio.channels.FileChannel.open(jvm.java.nio.file.Paths.get(str(path), _no_more(spark)), options)
    deadline = monotonic() + wait_s
    while channel.tryLock() is None:
        if monotonic() >= deadline:
            channel.close()
            raise _held(path, attempted)
        sleep(0.05)
    return channel


def _no_more(spark: SparkSession) -> Any:  # noqa: ANN401 - a Java array
    gateway: Any = spark.sparkContext._gateway  # noqa: SLF001
    return gateway.new_array(gateway.jvm.java.lang.String, 0)


def _held(path: Path, attempted: str) -> LockHeldError:
    return LockHeldError(
        attempted,
        found=f"another process holds {path}",
        required="to be the only writer",
        next_step="Wait until the other one ends (bin/millrace status shows the stream), then try again.",
    )
