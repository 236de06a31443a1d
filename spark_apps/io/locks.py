"""Lock files held by the JVM: a Python lock would be gone while the JVM that it guards still writes."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from pyspark.sql import SparkSession

from contracts.errors import LockHeldError
from spark_apps.io import jvm

#: One JVM holds a file lock once, so the threads of this process take turns before they ask for it.
_TURNS: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
_DEPTH: defaultdict[str, int] = defaultdict(int)


@dataclass
class _Shared:
    """One file lock that several threads of this process hold together."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    holders: int = 0
    channel: Any = None


_SHARED: defaultdict[str, _Shared] = defaultdict(_Shared)


@contextmanager
def against_other_processes(spark: SparkSession, path: Path, attempted: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; threads of this process may hold it together.

    For what the JVM itself keeps apart. Waits up to ``wait_s`` seconds, then raises LockHeldError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shared = _SHARED[str(path.resolve())]
    if not shared.mutex.acquire(timeout=max(wait_s, 0.001)):
        raise _held(path, attempted)
    try:
        if shared.holders == 0:
            shared.channel = _lock(spark, path, attempted, wait_s)
        shared.holders += 1
    finally:
        shared.mutex.release()
    try:
        yield
    finally:
        with shared.mutex:
            shared.holders -= 1
            if shared.holders == 0:
                shared.channel.close()


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
    option = jvm.class_named(spark, "java.nio.file.StandardOpenOption")
    options = jvm.array_of(spark, jvm.class_named(spark, "java.nio.file.OpenOption"), option.CREATE, option.WRITE)
    no_more = jvm.array_of(spark, jvm.class_named(spark, "java.lang.String"))
    file = jvm.class_named(spark, "java.nio.file.Paths").get(str(path), no_more)
    channel = jvm.class_named(spark, "java.nio.channels.FileChannel").open(file, options)
    deadline = monotonic() + wait_s
    while channel.tryLock() is None:
        if monotonic() >= deadline:
            channel.close()
            raise _held(path, attempted)
        sleep(0.05)
    return channel


def _held(path: Path, attempted: str) -> LockHeldError:
    return LockHeldError(
        attempted,
        found=f"another process holds {path}",
        required="to be the only writer",
        next_step="Wait until the other one ends (bin/millrace status shows the stream), then try again.",
    )
