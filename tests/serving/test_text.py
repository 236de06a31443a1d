"""What a stranger's bytes look like on the page."""

import pytest

from serving.text import printable, printable_text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"GET /a\"b'c HTTP/1.0", "GET /a\"b'c HTTP/1.0"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"\x16\x03\x01\x00", "\\x16\\x03\\x01\\x00"),
        (b"tab\there\r", "tab\\x09here\\x0D"),
        (b"caf\xe9", "caf\\xE9"),
        ("café שלום".encode(), "café שלום"),
        ("right\u202eleft".encode(), "right\\xE2\\x80\\xAEleft"),
        ("zero\u200bwidth".encode(), "zero\\xE2\\x80\\x8Bwidth"),
        (b"", ""),
    ],
    ids=["quotes", "markup", "tls", "control", "latin-1", "letters", "direction", "invisible", "empty"],
)
def test_printable_utf8_stays_and_every_other_byte_is_shown_by_its_number(raw: bytes, shown: str) -> None:
    assert printable(raw) == shown


def test_a_limit_never_cuts_an_escape_or_a_letter_in_two() -> None:
    assert printable(b"ab\xff\xff", limit=7) == "ab\\xFF"
    assert printable("ééé".encode(), limit=2) == "éé"
    assert printable(b"x" * 1_000_000, limit=10) == "x" * 10


def test_a_missing_text_stays_missing() -> None:
    assert printable_text(None) is None
    assert printable_text("a\x00b") == "a\\x00b"
