"""The bytes of a log as pieces of whole lines, in bounded memory however long a line is."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from streaming.positions import hexdigest
from streaming.sources import READ_BYTES, Begun, Read

#: A longer line is sent cut to this many bytes, with its length and digest.
MAX_LINE_BYTES = 1024 * 1024


class CutLine(NamedTuple):
    """What a record says of a line that it holds only the beginning of: bytes without line end, SHA-256 of them."""

    length: int
    sha256: str


class Piece(NamedTuple):
    """Consecutive whole lines, bytes [start, end) of the log; ``digest`` is that of everything before ``end``.

    ``data`` is those bytes; only at the end of a log may the line end be missing. A piece with ``cut`` is one line
    longer than MAX_LINE_BYTES and ``data`` its beginning.
    """

    start: int
    end: int
    data: bytes
    digest: str
    cut: CutLine | None = None


def pieces(read: Read, start: int, hasher: "hashlib._Hash", *, one_by_one: bool = False) -> Iterator[Piece]:
    """Everything from byte ``start`` on, where ``read`` stands; ``hasher`` has seen all bytes before it.

    The first line of a log is a piece of its own, and every line is where ``one_by_one`` is asked for. When ``read``
    raises, all whole lines before that were given out.
    """
    at, rest = start, b""
    while chunk := read(READ_BYTES):
        rest += chunk
        newline = rest.find(b"\n")
        if (newline if newline >= 0 else len(rest)) > MAX_LINE_BYTES:
            piece, rest = _cut(read, rest, at, hasher)
            at = piece.end
            yield piece
        whole = rest.rfind(b"\n") + 1
        for data in _split(rest[:whole], single=one_by_one, first=at == 0):
            yield (piece := _piece(data, at, hasher))
            at = piece.end
        rest = rest[whole:]
    if rest:
        yield _piece(rest, at, hasher)


def _piece(data: bytes, at: int, hasher: "hashlib._Hash") -> Piece:
    hasher.update(data)
    return Piece(at, at + len(data), data, hexdigest(hasher))


def _split(data: bytes, *, single: bool, first: bool) -> Iterator[bytes]:
    if single:
        yield from (line + b"\n" for line in data.split(b"\n")[:-1])
        return
    if first and data:
        end = data.index(b"\n") + 1
        yield data[:end]
        data = data[end:]
    if data:
        yield data


def _cut(read: Read, data: bytes, at: int, hasher: "hashlib._Hash") -> tuple[Piece, bytes]:
    """Read a long line to its end; returns it and the bytes behind it. ``data`` begins with more of it than fits."""
    value, digest, length, ended = data[:MAX_LINE_BYTES], hashlib.sha256(), 0, 0
    while data:
        newline = data.find(b"\n")
        line = data if newline < 0 else data[:newline]
        digest.update(line)
        hasher.update(line)
        length += len(line)
        if newline >= 0:
            hasher.update(b"\n")
            data, ended = data[newline + 1 :], 1
            break
        data = read(READ_BYTES)
    cut = CutLine(length, digest.hexdigest())
    return Piece(at, at + length + ended, value, hexdigest(hasher), cut), data


def after_line_end(read: Read, last: bytes, hasher: "hashlib._Hash") -> tuple[int, Read, bool]:
    """Where ``read`` goes on behind a last line that had no line end when it was sent, and may have got one since.

    Returns how many bytes were passed over (1 for that line end), the way to read on, and whether the line itself
    has grown, so that its rest will be a line of its own.
    """
    if last in (b"", b"\n") or not (more := read(1)):
        return 0, read, False
    if more == b"\n":
        hasher.update(more)
        return 1, read, False
    return 0, Begun(more, read).read, True
