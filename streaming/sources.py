"""Log files as inputs: checked, opened, uncompressed and read. All byte offsets count the uncompressed log."""

import gzip
import hashlib
import os
import re
import select
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from contracts.errors import ConfigurationError, PlatformError

READ_BYTES = 64 * 1024
GZIP_MAGIC = b"\x1f\x8b"
#: How often somebody who waits for standard input looks up.
IDLE_S = 0.25

Read = Callable[[int], bytes]


class DamagedSourceError(PlatformError):
    """A compressed log is torn or corrupt. What comes before a tear is good; corrupt bytes may yield wrong lines."""

    def __init__(self, label: str, error: Exception) -> None:
        # The gzip module says EOFError for a tear, and "Not a gzipped file" for rubbish behind a whole one.
        self.is_torn = isinstance(error, EOFError) or "Not a gzipped file" in str(error)
        super().__init__(
            f"Uncompressing {label}", found=str(error), required="a whole gzip file",
            changed="Every whole line before the damage is sent." if self.is_torn else "Nothing of it is sent.",
            next_step="Get the file again and replay it: it goes on where this one broke off.",
        )  # fmt: skip


@dataclass
class StandardInput:
    """A pipe that can be read again from its first byte until ``forget``; ``idle`` is called while nothing comes."""

    idle: Callable[[], None] = lambda: None
    descriptor: int = 0
    _remembers: bool = True
    _spool: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(max_size=8 * 1024 * 1024))  # noqa: SIM115 - lives as long as the pipe

    def read(self, size: int = READ_BYTES) -> bytes:
        """Up to ``size`` bytes as soon as there are any; empty at the end."""
        if remembered := self._spool.read(size):
            return remembered
        while not select.select([self.descriptor], [], [], IDLE_S)[0]:
            self.idle()
        data = os.read(self.descriptor, size)
        if self._remembers:
            self._spool.write(data)
        return data

    def rewind(self) -> None:
        self._spool.seek(0)

    def forget(self) -> None:
        """Keep nothing that is read from now on; what is kept already is still read first."""
        self._remembers = False


class Opened(NamedTuple):
    """``read(n)`` gives up to n bytes of the uncompressed log, none at its end; ``consumed()`` counts bytes on disk."""

    read: Read
    consumed: Callable[[], int]
    is_compressed: bool


@dataclass(frozen=True)
class LogInput:
    """A log to replay: a file or standard input. ``name`` is an identity that a person gave."""

    origin: Path | StandardInput
    name: str | None = None

    @property
    def path(self) -> Path | None:
        return self.origin if isinstance(self.origin, Path) else None

    @property
    def label(self) -> str:
        return str(self.path) if self.path else "standard input"

    @property
    def inode(self) -> int | None:
        return self.path.stat().st_ino if self.path else None

    @contextmanager
    def reading(self) -> Iterator[Opened]:
        """Open the log at its first byte. Reading a damaged compressed one raises DamagedSourceError."""
        if isinstance(self.origin, StandardInput):
            self.origin.rewind()
            yield self._opened(self.origin, lambda: 0)
        else:
            with self.origin.open("rb", buffering=0) as file:
                yield self._opened(file, file.tell)

    def _opened(self, file: Any, consumed: Callable[[], int]) -> Opened:  # noqa: ANN401 - anything that has read(n)
        first = at_least(file.read, len(GZIP_MAGIC))
        begun = Begun(first, file.read)
        if not first.startswith(GZIP_MAGIC):
            return Opened(begun.read, consumed, is_compressed=False)
        # The gzip module reads concatenated members and zero padding; read1 never holds back what it has when the
        # next byte turns out to be damaged.
        stream = gzip.GzipFile(fileobj=begun, mode="rb")  # type: ignore[call-overload]  # only read() is used

        def read(size: int) -> bytes:
            try:
                return bytes(stream.read1(size))
            except (EOFError, OSError, zlib.error) as error:
                raise DamagedSourceError(self.label, error) from error

        return Opened(read, consumed, is_compressed=True)


def check(argument: str, name: str | None) -> LogInput:
    """The input that an argument of the command line names; a ConfigurationError where it cannot be read."""
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ConfigurationError(
            "Checking --source", found=repr(name), required="letters, digits, dot, dash, underscore; at most 100",
            next_step="Choose another name.",
        )  # fmt: skip
    if argument == "-":
        if name is None:
            raise ConfigurationError(
                "Replaying standard input", found="no --source", required="a name for the stream",
                next_step="Add --source NAME: the same name goes on where it stopped.",
            )  # fmt: skip
        return LogInput(StandardInput(), name)
    path = Path(argument)
    problem = _why_unreadable(path)
    if problem:
        raise ConfigurationError(
            f"Replaying {argument or repr(argument)}", found=problem, required="a readable file",
            next_step="Correct the path and try again.",
        )  # fmt: skip
    return LogInput(path, name)


def refuse_corrupt(log: LogInput) -> None:
    """Read a compressed file to its end once, so that no wrong line leaves before its checksum is known to be wrong."""
    with log.reading() as opened:
        try:
            while log.path and opened.is_compressed and opened.read(READ_BYTES):
                pass
        except DamagedSourceError as error:
            if not error.is_torn:
                raise


def _why_unreadable(path: Path) -> str | None:
    try:
        if path.is_dir():
            return "a directory (name the files in it)"
        if not path.is_file() and path.exists():
            return "neither a file nor a directory (pipe it in: - --source NAME)"
        with path.open("rb"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def skip(read: Read, count: int, hasher: "hashlib._Hash") -> tuple[int, bytes]:
    """Read up to ``count`` bytes into the digest; returns how many there were, and the last of them."""
    done, last = 0, b""
    while done < count and (data := read(min(READ_BYTES, count - done))):
        hasher.update(data)
        done, last = done + len(data), data[-1:]
    return done, last


def until_damage(read: Read) -> Read:
    """The same bytes, but a damaged log simply ends where the damage begins."""

    def forgiving(size: int) -> bytes:
        try:
            return read(size)
        except DamagedSourceError:
            return b""

    return forgiving


def at_least(read: Read, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := read(size - len(data))):
        data += more
    return data


@dataclass
class Begun:
    """A stream of which the first bytes were read already."""

    first: bytes
    rest: Read

    def read(self, size: int = READ_BYTES) -> bytes:
        if self.first:
            data, self.first = self.first[:size], self.first[size:]
            return data
        return self.rest(size)
