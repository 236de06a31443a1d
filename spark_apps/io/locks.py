"""Lock files, held by whoever does the writing: the JVM, or this process where no JVM takes part.

Both take the same record lock of the operating system (fcntl), so that one waits for the other.
"""

import fcntl
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from pyspark.sql import SparkSession

from contracts.errors import LockHeldError
from spark_apps.io import jvm

#: A process holds a file lock once, so the threads of this process take turns before they ask for it.
_TURNS: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
_DEPTH: defaultdict[str, int] = defaultdict(int)


@dataclass(frozen=True)
class _File:
    """A lock file that is open: asking for its lock, and letting go of it."""

    take: Callable[[], bool]
    close: Callable[[], None]


@dataclass
class _Shared:
    """One file lock that several threads of this process hold together."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    holders: int = 0
    file: _File | None = None


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
            shared.file = _lock(spark, path, attempted, wait_s)
        shared.holders += 1
    finally:
        shared.mutex.release()
    try:
        yield
    finally:
        with shared.mutex:
            shared.holders -= 1
            if shared.holders == 0 and shared.file:
                shared.file.close()


@contextmanager
def exclusive(spark: SparkSession | None, path: Path, attempted: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; the operating system frees it when its holder dies.

    That is the JVM of ``spark``: a lock of Python's would be gone while the JVM still writes. Without a session it is
    this process. Waits up to ``wait_s`` seconds, then raises LockHeldError. Re-entrant within one thread.
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
        file = _lock(spark, path, attempted, wait_s)
        _DEPTH[name] = 1
        try:
            yield
        finally:
            _DEPTH[name] = 0
            file.close()
    finally:
        turn.release()


def _lock(spark: SparkSession | None, path: Path, attempted: str, wait_s: float) -> _File:
    file = _opened_here(path) if spark is None else _opened_by_the_jvm(spark, path)
    deadline = monotonic() + wait_s
    while not file.take():
        if monotonic() >= deadline:
            file.close()
            raise _held(path, attempted)
        sleep(0.05)
    return file


def _opened_by_the_jvm(spark: SparkSession, path: Path) -> _File:
    option = jvm.class_named(spark, "java.nio.file.StandardOpenOption")
    options = jvm.array_of(spark, jvm.class_named(spark, "java.nio.file.OpenOption"), option.CREATE, option.WRITE)
    no_more = jvm.array_of(spark, jvm.class_named(spark, "java.lang.String"))
    file = jvm.class_named(spark, "java.nio.file.Paths").get(str(path), no_more)
    channel: Any = jvm.class_named(spark, "java.nio.channels.FileChannel").open(file, options)
    return _File(take=lambda: channel.tryLock() is not None, close=channel.close)


def _opened_here(path: Path) -> _File:
    handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)

    def take() -> bool:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX lets a system say either
            return False
        return True

    return _File(take=take, close=lambda: os.close(handle))


def _held(path: Path, attempted: str) -> LockHeldError:
    return LockHeldError(
        attempted,
        found=f"another process holds {path}",
        required="to be the only writer",
        next_step="Wait until the other one ends (bin/millrace status shows the stream), then try again.",
    )
