"""Bytes and text of strangers made fit to look at. Nothing here is HTML: the page inserts every value as text."""


def printable(raw: bytes, limit: int | None = None) -> str:
    r"""``raw`` as text: printable UTF-8 as it is, every other byte as ``\xNN``, at most ``limit`` characters.

    Control, format and direction-changing characters count as not printable, so a log line can neither hide a part of
    itself nor reorder what stands beside it.
    """
    shown: list[str] = []
    size = 0
    # A character of the result comes from at most four bytes, so the rest of a long line is not even decoded.
    head = raw if limit is None else raw[: 4 * limit]
    for character in head.decode("utf-8", errors="surrogateescape"):
        piece = character if character.isprintable() else _escaped(character)
        size += len(piece)
        if limit is not None and size > limit:
            break
        shown.append(piece)
    return "".join(shown)


def printable_text(text: str | None, limit: int | None = None) -> str | None:
    """The same for a value that already is text; None stays None."""
    return None if text is None else printable(text.encode("utf-8", errors="surrogateescape"), limit)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02X}" for byte in character.encode("utf-8", errors="surrogateescape"))
