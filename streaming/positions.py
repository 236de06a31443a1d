"""How far every log file was replayed: one small JSON file per source, and the lock that keeps replayers apart.

A source is the *content* of a log, wherever the file lies and whatever it is called. Its file in
``state/positions/`` says how its content is recognised (fingerprint of the head, digests at line ends) and up to
which byte each topic has acknowledged it. See ``streaming.sources`` for how the two are compared.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import ConfigurationError, LockHeldError
from contracts.files import read_json, write_atomically

#: Digests are SHA-256, cut to 128 bits: they tell files apart, they guard no secret.
DIGEST_HEX = 32
#: Digests are kept this far apart at first, and twice as far whenever there are more than MAX_MARKS of them.
MARK_SPACING = 64 * 1024
MAX_MARKS = 512
#: A position is written at most this often while lines flow.
SAVE_EVERY_S = 0.5


def hexdigest(hasher: "hashlib._Hash") -> str:
    return hasher.hexdigest()[:DIGEST_HEX]


class Checkpoint(NamedTuple):
    """The end of a line: its byte, the digest of all bytes before it, lines sent so far in this run."""

    end: int
    digest: str
    lines: int


class Delivered(BaseModel):
    """Up to which byte a topic has everything. A recreated topic has another id and has nothing."""

    model_config = ConfigDict(extra="forbid")

    topic_id: str
    position: int = Field(ge=0)


class KnownSource(BaseModel):
    """What is known of one source.

    ``base`` is the fingerprint of its first ``head_bytes`` bytes, or a name a person gave (``head_bytes`` 0). The
    first ``known_bytes`` bytes have ``digest``; ``marks`` are (byte, digest) at earlier line ends. ``path`` and
    ``inode`` say where it was seen last.
    """

    model_config = ConfigDict(extra="forbid")

    base: str
    head_bytes: int = Field(ge=0)
    generation: int = Field(ge=0)
    path: str | None = None
    inode: int | None = None
    known_bytes: int = Field(default=0, ge=0)
    digest: str = ""
    marks: list[tuple[int, str]] = []
    mark_spacing: int = MARK_SPACING
    delivered: dict[str, Delivered] = {}

    @property
    def source(self) -> str:
        """The source id: key and header of every record."""
        return f"{self.base}-g{self.generation}"

    @property
    def checkpoints(self) -> list[tuple[int, str]]:
        """Every byte at which the digest of all bytes before it is known, in order; the last is ``known_bytes``."""
        return [*self.marks, (self.known_bytes, self.digest)] if self.known_bytes else []

    def position(self, topic: str, topic_id: str) -> int:
        """The first byte that this very topic has not acknowledged."""
        found = self.delivered.get(topic)
        return found.position if found and found.topic_id == topic_id else 0

    def advance(self, topic: str, topic_id: str, reached: Checkpoint) -> None:
        """Note that the topic has everything before ``reached``. A position never moves back within one topic."""
        position = max(self.position(topic, topic_id), reached.end)
        self.delivered[topic] = Delivered(topic_id=topic_id, position=position)
        if reached.end > self.known_bytes:
            self._mark(self.known_bytes, self.digest)
            self.known_bytes, self.digest = reached.end, reached.digest

    def _mark(self, end: int, digest: str) -> None:
        if end == 0 or (self.marks and end - self.marks[-1][0] < self.mark_spacing):
            return
        self.marks.append((end, digest))
        if len(self.marks) > MAX_MARKS:
            self.marks, self.mark_spacing = self.marks[::2], self.mark_spacing * 2


def load_all(folder: Path) -> list[KnownSource]:
    """Every known source; a damaged file is a ConfigurationError that names it."""
    return [_load(path) for path in sorted(folder.glob("*.json"))]


def load(folder: Path, source: str) -> KnownSource | None:
    path = _file(folder, source)
    return _load(path) if path.exists() else None


def save(folder: Path, known: KnownSource) -> None:
    write_atomically(_file(folder, known.source), known.model_dump_json())


@contextmanager
def exclusive(locks: Path, source: str) -> Iterator[None]:
    """Hold the lock of one source while the block runs; a second replayer gets a LockHeldError.

    The operating system frees the lock when the process dies, so a lock file that lies around means nothing.
    """
    path = locks / "replay" / f"{source}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise LockHeldError(
                f"Replaying source {source}", found=f"process {file.read().strip() or '?'} is replaying it",
                required="one replayer per source", next_step="Wait until it ends, then run this again.",
            ) from error  # fmt: skip
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@dataclass
class Ledger:
    """Keeps the position file of one source current while its lines are sent to one topic."""

    folder: Path
    known: KnownSource
    topic: str
    topic_id: str
    clock: Callable[[], float] = monotonic
    saved_at: float = 0.0
    is_changed: bool = False

    def note(self, reached: Checkpoint) -> None:
        """Lines up to ``reached`` are acknowledged. Written to the file when the last time was long enough ago."""
        self.known.advance(self.topic, self.topic_id, reached)
        self.is_changed = True
        self.save_when_due()

    def save_when_due(self) -> None:
        if self.is_changed and self.clock() - self.saved_at >= SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write the file. Also before the first line leaves: after a crash the same bytes get the same source id."""
        save(self.folder, self.known)
        self.saved_at, self.is_changed = self.clock(), False


def _file(folder: Path, source: str) -> Path:
    return folder / f"{source}.json"


def _load(path: Path) -> KnownSource:
    try:
        return KnownSource.model_validate(read_json(path, "a position file"))
    except ValidationError as error:
        raise ConfigurationError(
            "Reading a position file", found=f"{path}: {error.errors()[0]['msg']}", required="a file of this program",
            next_step="Move the file away. Its log is then sent again from the start, and where it has 4 KiB or more "
            "the stream recognises what it already has.",
        ) from error  # fmt: skip
