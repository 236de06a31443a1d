"""Which source a log is: recognising one that was seen before, under whatever name it comes now.

A source is recognised by its content, so a rotated, renamed or compressed copy continues where the original stopped:

1. A log of this head (fingerprint of its first 4 KiB, or fewer where it was shorter then) may be a known one.
2. It **is** that one when everything known of it is still the same, byte for byte (SHA-256 at line ends).
3. A log that ends before that point is an older copy, with nothing new, when it can be *proved* to be a beginning of
   the known one: by a digest at exactly its end, or by the original that still lies where it was. A file cut short in
   place is not a copy.
4. A few bytes prove little: where fewer than 256 are the same, only the file itself (same path or inode) or a copy
   that is identical to its end counts.
5. Anything else of the same head is another log: same fingerprint, next generation, sent from its first byte.

All byte offsets count the uncompressed log.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from streaming.positions import KnownSource, hexdigest
from streaming.sources import DamagedSourceError, LogInput, at_least, skip, until_damage

HEAD_BYTES = 4096
FINGERPRINT_HEX = 24
#: About three lines of an access log. Below that two logs may well begin alike and still be two logs.
EVIDENCE_BYTES = 256

Verdict = Literal["identical", "same", "shorter", "different"]


def head_of(log: LogInput) -> bytes:
    """The first 4 KiB, or what there is."""
    with log.reading() as opened:
        return at_least(until_damage(opened.read), HEAD_BYTES)[:HEAD_BYTES]


def identify(log: LogInput, known: Sequence[KnownSource]) -> tuple[KnownSource, str]:
    """The known source that this log continues, or a new one; with a sentence for the person where it is not obvious.

    Reads the log up to the last byte known of each candidate. The log must not be empty.
    """
    head = b"" if log.name else head_of(log)
    candidates = sorted(
        (each for each in known if _may_be(each, log, head)),
        key=lambda each: (each.known_bytes, each.generation), reverse=True,
    )  # fmt: skip
    verdicts = [(compare(log, each), each) for each in candidates]
    # The one of which most is known to be the same; a copy that merely has nothing new comes second.
    for verdict, each in verdicts:
        if verdict in ("identical", "same"):
            return each, _moved(log, each)
    for verdict, each in verdicts:
        if verdict == "shorter":
            return each, f"a beginning of what {each.source} already has"
    base = log.name or fingerprint(head)
    generations = [each.generation for each in known if each.base == base]
    fresh = KnownSource(
        base=base, head_bytes=len(head), generation=max(generations, default=-1) + 1,
        path=str(log.path.resolve()) if log.path else None, inode=log.inode,
    )  # fmt: skip
    return fresh, f"differs from {base}-g{max(generations)}, so it is another log" if generations else ""


def compare(log: LogInput, known: KnownSource) -> Verdict:
    """Whether the log begins with everything known of a source, provably ends before that, or is another one."""
    hasher, at = hashlib.sha256(), 0
    with log.reading() as opened:
        read = until_damage(opened.read)
        for end, digest in known.checkpoints:
            done, _ = skip(read, end - at, hasher)
            if at + done < end:
                return "shorter" if _is_older_copy(log, known, at + done, hexdigest(hasher)) else "different"
            if hexdigest(hasher) != digest:
                return "different"
            at = end
        if at >= EVIDENCE_BYTES or log.name or _lies_where_it_was(log, known):
            return "same"
        return "different" if read(1) else "identical"


def fingerprint(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:FINGERPRINT_HEX]


def _may_be(known: KnownSource, log: LogInput, head: bytes) -> bool:
    if log.name or not known.head_bytes:
        return known.base == log.name
    # A log shorter than the head can still prove to be a beginning of it.
    return len(head) < known.head_bytes or fingerprint(head[: known.head_bytes]) == known.base


def _is_older_copy(log: LogInput, known: KnownSource, size: int, digest: str) -> bool:
    if size < EVIDENCE_BYTES or _is_in_place(log, known):
        return False
    return (size, digest) in known.checkpoints or _original_has(known, size, digest)


def _original_has(known: KnownSource, size: int, digest: str) -> bool:
    """Whether the file that the source was read from still lies there, unchanged, and begins with these bytes."""
    if known.path is None:
        return False
    end, expected = next(each for each in known.checkpoints if each[0] >= size)
    hasher = hashlib.sha256()
    try:
        with LogInput(Path(known.path)).reading() as original:
            done, _ = skip(original.read, size, hasher)
            if done < size or hexdigest(hasher) != digest:
                return False
            done, _ = skip(original.read, end - size, hasher)
            return done == end - size and hexdigest(hasher) == expected
    except (OSError, DamagedSourceError):
        return False


def _is_in_place(log: LogInput, known: KnownSource) -> bool:
    return log.path is not None and known.path == str(log.path.resolve()) and known.inode == log.inode


def _lies_where_it_was(log: LogInput, known: KnownSource) -> bool:
    return log.path is not None and (known.path == str(log.path.resolve()) or known.inode == log.inode)


def _moved(log: LogInput, known: KnownSource) -> str:
    """Note where the source lies now; returns a remark when that is elsewhere."""
    if log.path is None:
        return ""
    before, known.path, known.inode = known.path, str(log.path.resolve()), log.inode
    return f"the same log as {before}" if before not in (None, known.path) else ""
