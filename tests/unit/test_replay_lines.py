"""A log becomes pieces of whole lines: nothing is lost, moved or held in memory, whatever the bytes are."""

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import PlatformError
from streaming.positions import hexdigest
from streaming.replay_lines import MAX_LINE_BYTES, Piece, after_line_end, pieces
from streaming.sources import DamagedSourceError
from tests.replayed import Line, lines_of, sha256


def reader(data: bytes, sizes: Iterator[int] | None = None) -> Callable[[int], bytes]:
    """Reads ``data`` in bites of the given sizes, as a slow pipe or a gzip file would."""
    at = 0

    def read(size: int) -> bytes:
        nonlocal at
        bite = data[at : at + min(size, next(sizes, size) if sizes else size)]
        at += len(bite)
        return bite

    return read


def lines_in(found: list[Piece]) -> list[Line]:
    lines = []
    for piece in found:
        if piece.cut:
            lines.append(Line(piece.start, piece.end - piece.start, piece.data))
        else:
            lines += [Line(piece.start + line.offset, line.length, line.value) for line in lines_of(piece.data)]
    return lines


any_log = st.lists(st.sampled_from([b"\n", b"\r", b"\x00", b"a", b"GET / HTTP/1.0", b"\xff\xfe", b'"' * 50])).map(
    b"".join
)


@given(log=any_log, bites=st.lists(st.integers(1, 9), max_size=200), one_by_one=st.booleans())
def test_every_line_comes_out_once_with_its_place_however_the_log_is_read(log, bites, one_by_one):
    found = list(pieces(reader(log, iter(bites)), 0, hashlib.sha256(), one_by_one=one_by_one))
    assert lines_in(found) == lines_of(log)
    assert [piece.start for piece in found] == [0, *[piece.end for piece in found]][: len(found)]


@given(log=any_log, bites=st.lists(st.integers(1, 9), max_size=200))
def test_the_digest_of_a_piece_is_that_of_everything_before_its_end(log, bites):
    for piece in pieces(reader(log, iter(bites)), 0, hashlib.sha256()):
        assert piece.digest == sha256(log[: piece.end])[:32]


@given(log=any_log)
def test_paced_reading_gives_one_line_at_a_time(log):
    found = list(pieces(reader(log), 0, hashlib.sha256(), one_by_one=True))
    assert [piece.data for piece in found] == [log[line.offset :][: line.length] for line in lines_of(log)]


def test_the_first_line_is_a_piece_of_its_own_so_that_an_early_digest_is_known():
    found = list(pieces(reader(b"first\nsecond\nthird\n"), 0, hashlib.sha256()))
    assert [piece.data for piece in found] == [b"first\n", b"second\nthird\n"]


def test_reading_goes_on_in_the_middle_with_the_right_places():
    log = b"first\nsecond\nthird"
    hasher = hashlib.sha256(b"first\n")
    found = list(pieces(reader(log[6:]), 6, hasher))
    assert [(piece.start, piece.end) for piece in found] == [(6, 13), (13, 18)]
    assert found[-1].digest == sha256(log)[:32]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_of_exactly_one_mebibyte_is_whole(end):
    log = b"x" * MAX_LINE_BYTES + end
    assert [(piece.data, piece.cut) for piece in pieces(reader(log), 0, hashlib.sha256())] == [(log, None)]


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("extra", [1, 70_000, 3 * MAX_LINE_BYTES])
def test_a_longer_line_is_cut_and_says_how_long_it_was_and_what_its_digest_is(extra, end):
    line = bytes(range(1, 10)) * ((MAX_LINE_BYTES + extra) // 9 + 1)
    line = line[: MAX_LINE_BYTES + extra]
    log = b"before\n" + line + end + (b"behind\nlast" if end else b"")
    found = list(pieces(reader(log), 0, hashlib.sha256()))
    cut = next(piece for piece in found if piece.cut)
    assert cut.data == line[:MAX_LINE_BYTES]
    assert cut.cut == (len(line), sha256(line))
    assert (cut.start, cut.end) == (7, 7 + len(line + end))
    assert lines_in(found) == lines_of(log)
    assert found[-1].digest == sha256(log)[:32]


def test_two_long_lines_in_a_row_are_both_cut():
    log = (b"x" * (MAX_LINE_BYTES + 5) + b"\n") * 2
    found = list(pieces(reader(log), 0, hashlib.sha256()))
    assert [piece.cut.length for piece in found if piece.cut] == [MAX_LINE_BYTES + 5] * 2


def test_a_line_of_500_megabytes_needs_no_more_memory_than_two_short_ones():
    left = 500 * 1024 * 1024
    chunk = b"x" * 65536

    def read(size: int) -> bytes:
        nonlocal left
        left -= len(chunk)
        return chunk if left >= 0 else b""

    tracemalloc.start()
    try:
        (piece,) = list(pieces(read, 0, hashlib.sha256()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert piece.cut
    assert piece.cut.length == 500 * 1024 * 1024
    assert peak < 8 * 1024 * 1024


def test_all_whole_lines_before_a_damage_are_given_out_and_not_the_torn_one():
    bites = iter([b"one\ntwo\nthr"])

    def read(size: int) -> bytes:
        for bite in bites:
            return bite
        raise DamagedSourceError("a.gz", EOFError())

    found = pieces(read, 0, hashlib.sha256())
    assert (next(found).data, next(found).data) == (b"one\n", b"two\n")
    with pytest.raises(PlatformError):
        next(found)


@pytest.mark.parametrize(
    ("last", "behind", "passed", "grown", "rest"),
    [
        (b"\n", b"next\n", 0, False, b"next\n"),  # the line was whole
        (b"", b"next\n", 0, False, b"next\n"),  # nothing was sent yet
        (b"x", b"", 0, False, b""),  # still no line end
        (b"x", b"\n", 1, False, b""),  # only its line end has come
        (b"x", b"\nnext\n", 1, False, b"next\n"),  # its line end and more
        (b"x", b"yz\nnext\n", 0, True, b"yz\nnext\n"),  # the line itself has grown
    ],
)
def test_a_line_end_that_comes_later_is_no_empty_line(last, behind, passed, grown, rest):
    hasher = hashlib.sha256(b"sent")
    found_passed, read, found_grown = after_line_end(reader(behind), last, hasher)
    assert (found_passed, found_grown) == (passed, grown)
    found = b"".join(piece.data for piece in pieces(read, 4 + passed, hasher))
    assert found == rest
    assert hexdigest(hasher) == sha256(b"sent" + behind)[:32]
