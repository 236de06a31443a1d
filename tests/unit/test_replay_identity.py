"""Which source a log is: rotated, renamed, compressed, copied, grown, cut short, or another one."""

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.positions import Checkpoint, KnownSource
from streaming.replay_identity import EVIDENCE_BYTES, HEAD_BYTES, compare, fingerprint, identify
from streaming.replay_lines import pieces
from streaming.sources import LogInput, StandardInput

TOPIC, TOPIC_ID = "web.access-log", "id"


def log_lines(count: int, tag: str = "a") -> bytes:
    return b"".join(b'host%d - - [09/Jul/1995] "GET /%s" 200 1\n' % (n, tag.encode()) for n in range(count))


LONG = log_lines(5000)
SHORT = log_lines(30)
assert len(SHORT) < HEAD_BYTES < len(LONG)


def replayed(log: LogInput, known: list[KnownSource], upto: int | None = None) -> KnownSource:
    """Stand in for a replay of ``log``, up to the first line end at or behind byte ``upto``."""
    source, _ = identify(log, known)
    with log.reading() as opened:
        for piece in pieces(opened.read, 0, hashlib.sha256()):
            source.advance(TOPIC, TOPIC_ID, Checkpoint(piece.end, piece.digest, 0))
            if upto is not None and piece.end >= upto:
                break
    known[:] = [each for each in known if each.source != source.source] + [source]
    return source


def write(path: Path, content: bytes) -> LogInput:
    path.write_bytes(content)
    return LogInput(path)


def position(log: LogInput, known: list[KnownSource]) -> tuple[str, int]:
    source, _ = identify(log, known)
    return source.source, source.position(TOPIC, TOPIC_ID)


def test_the_source_id_is_the_fingerprint_of_the_first_4_kib_and_the_generation(tmp_path):
    source, note = identify(write(tmp_path / "a.log", LONG), [])
    assert source.source == hashlib.sha256(LONG[:4096]).hexdigest()[:24] + "-g0"
    assert (source.generation, source.head_bytes, note) == (0, 4096, "")


@pytest.mark.parametrize("content", [LONG, SHORT, b"one line\n", b"\n"], ids=["long", "short", "a line", "empty line"])
def test_a_log_that_was_sent_has_nothing_new(tmp_path, content):
    known: list[KnownSource] = []
    log = write(tmp_path / "a.log", content)
    source = replayed(log, known)
    assert position(log, known) == (source.source, len(content))


@pytest.mark.parametrize("content", [LONG, SHORT, b"one line\n"], ids=["long", "short", "a line"])
def test_a_log_that_grew_goes_on_at_its_old_end(tmp_path, content):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", content), known)
    grown = write(tmp_path / "a.log", content + log_lines(500, "new"))
    assert position(grown, known) == (source.source, len(content))
    replayed(grown, known)
    assert position(grown, known) == (source.source, len(content) + len(log_lines(500, "new")))


@pytest.mark.parametrize("content", [LONG, SHORT, b"one line\n"], ids=["long", "short", "a line"])
def test_a_rotated_log_goes_on_and_the_new_one_in_its_place_is_another(tmp_path, content):
    known: list[KnownSource] = []
    path = tmp_path / "access.log"
    source = replayed(write(path, content), known)
    path.rename(tmp_path / "access.log.1")
    with (tmp_path / "access.log.1").open("ab") as file:
        file.write(b"written while it was rotated\n")
    fresh = write(path, log_lines(200, "fresh"))
    moved, note = identify(LogInput(tmp_path / "access.log.1"), known)
    assert (moved.source, moved.position(TOPIC, TOPIC_ID)) == (source.source, len(content))
    assert str(path) in note
    assert position(fresh, known)[1] == 0
    assert position(fresh, known)[0] != source.source


@pytest.mark.parametrize("content", [LONG, SHORT, b"one line\n"], ids=["long", "short", "a line"])
@pytest.mark.parametrize("members", [1, 3])
def test_a_compressed_copy_of_a_sent_log_has_nothing_new(tmp_path, content, members):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", content), known)
    size = len(content) // members + 1
    packed = b"".join(gzip.compress(content[at : at + size]) for at in range(0, len(content), size))
    assert position(write(tmp_path / "a.log.gz", packed), known) == (source.source, len(content))
    (tmp_path / "a.log").unlink()
    assert position(LogInput(tmp_path / "a.log.gz"), known) == (source.source, len(content))


def test_a_copy_that_grew_goes_on_at_the_old_end_and_says_whose_copy_it_is(tmp_path):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", LONG), known)
    copy, note = identify(write(tmp_path / "copy.log", LONG + b"more\n"), known)
    assert (copy.source, copy.position(TOPIC, TOPIC_ID)) == (source.source, len(LONG))
    assert note == f"the same log as {tmp_path / 'a.log'}"


def test_a_log_of_which_only_a_part_was_sent_goes_on_there(tmp_path):
    known: list[KnownSource] = []
    log = write(tmp_path / "a.log", LONG)
    source = replayed(log, known, upto=100_000)
    assert 100_000 <= source.known_bytes < len(LONG)
    assert position(log, known) == (source.source, source.known_bytes)


@pytest.mark.parametrize("size", [100_000, 4096, 3000, 70])
def test_a_log_cut_short_in_place_is_another_log(tmp_path, size):
    known: list[KnownSource] = []
    log = write(tmp_path / "a.log", LONG)
    source = replayed(log, known)
    os.truncate(tmp_path / "a.log", size)
    found, start = position(log, known)
    assert start == 0
    assert found != source.source
    if size >= HEAD_BYTES:
        assert found == f"{source.base}-g1"


def test_a_log_cut_short_in_place_is_another_log_even_where_a_digest_is_kept(tmp_path):
    known: list[KnownSource] = []
    log = write(tmp_path / "a.log", LONG)
    source = replayed(log, known)
    os.truncate(tmp_path / "a.log", source.marks[1][0])
    assert position(log, known) == (f"{source.base}-g1", 0)


def test_a_log_cut_short_and_written_on_is_another_log_and_then_stays_that(tmp_path):
    known: list[KnownSource] = []
    log = write(tmp_path / "a.log", LONG)
    first = replayed(log, known)
    for generation in (1, 2, 3):
        write(tmp_path / "a.log", LONG[:50_000] + log_lines(10, f"life {generation}"))
        second = replayed(log, known)
        assert second.source == f"{first.base}-g{generation}"
        assert position(log, known) == (second.source, second.known_bytes)


def test_a_log_that_differs_in_one_byte_before_the_position_is_another_log(tmp_path):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", LONG), known)
    other = LONG[:5000] + b"!" + LONG[5001:]
    found, note = identify(write(tmp_path / "b.log", other), known)
    assert (found.source, found.position(TOPIC, TOPIC_ID)) == (f"{source.base}-g1", 0)
    assert "differs from" in note


@settings(deadline=None)
@given(at=st.integers(0, len(LONG) - 1), byte=st.integers(0, 255), grown=st.booleans())
def test_no_changed_byte_before_the_position_goes_unnoticed(tmp_path_factory, at, byte, grown):
    if LONG[at] == byte:
        return
    folder = tmp_path_factory.mktemp("one-byte")
    known: list[KnownSource] = []
    source = replayed(write(folder / "a.log", LONG), known)
    changed = LONG[:at] + bytes([byte]) + LONG[at + 1 :] + (b"more\n" if grown else b"")
    found, start = position(write(folder / "a.log", changed), known)
    assert (found != source.source, start) == (True, 0)


@settings(deadline=None)
@given(size=st.integers(EVIDENCE_BYTES, len(LONG) - 1), in_place=st.booleans())
def test_a_beginning_of_a_sent_log_has_nothing_new_unless_it_is_that_very_file(tmp_path_factory, size, in_place):
    folder = tmp_path_factory.mktemp("beginning")
    known: list[KnownSource] = []
    source = replayed(write(folder / "a.log", LONG), known)
    if in_place:
        os.truncate(folder / "a.log", size)
        assert position(LogInput(folder / "a.log"), known)[0] != source.source
    else:
        found, start = position(write(folder / "part.log", LONG[:size]), known)
        assert found == source.source
        assert start >= size


def test_a_beginning_that_cannot_be_proved_is_sent_rather_than_dropped(tmp_path):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", LONG), known)
    (tmp_path / "a.log").unlink()
    found, start = position(write(tmp_path / "part.log", LONG[:100_000]), known)
    assert (found, start) == (f"{source.base}-g1", 0)


def test_a_beginning_that_ends_at_a_kept_digest_is_proved_without_the_original(tmp_path):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", LONG), known)
    (tmp_path / "a.log").unlink()
    end = source.marks[1][0]
    assert position(write(tmp_path / "part.log", LONG[:end]), known)[0] == source.source


def test_the_original_proves_nothing_once_it_has_changed(tmp_path):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", LONG), known)
    write(tmp_path / "a.log", LONG[:100_000] + b"!" * (len(LONG) - 100_000))
    assert position(write(tmp_path / "part.log", LONG[:99_000]), known)[0] != source.source


def test_two_short_logs_that_begin_alike_in_two_places_are_two_logs(tmp_path):
    known: list[KnownSource] = []
    first = replayed(write(tmp_path / "a.log", b"\n"), known)
    found, start = position(write(tmp_path / "b.log", b"\n\xff\xfe\n"), known)
    assert (found != first.source, start) == (True, 0)
    replayed(LogInput(tmp_path / "b.log"), known)
    # And the other way round: the short one is no beginning of the long one.
    found, start = position(write(tmp_path / "c.log", b"\n\xff"), known)
    assert start == 0


def test_a_short_log_keeps_its_id_while_it_grows_beyond_4_kib(tmp_path):
    known: list[KnownSource] = []
    log = write(tmp_path / "a.log", SHORT)
    source = replayed(log, known)
    assert source.base == fingerprint(SHORT)
    for count in (40, 400, 4000):
        write(tmp_path / "a.log", log_lines(count))
        assert replayed(log, known).source == source.source
    shutil.copy(tmp_path / "a.log", tmp_path / "copy.log")
    assert position(LogInput(tmp_path / "copy.log"), known) == (source.source, len(log_lines(4000)))


def test_after_a_crash_before_the_first_position_the_same_log_gets_the_same_id(tmp_path):
    log = write(tmp_path / "a.log", SHORT)
    claimed, _ = identify(log, [])
    write(tmp_path / "a.log", SHORT + LONG)
    assert position(log, [claimed]) == (claimed.source, 0)


def test_of_several_generations_the_one_that_matches_furthest_is_continued(tmp_path):
    known: list[KnownSource] = []
    replayed(write(tmp_path / "a.log", LONG[:50_000] + b"first life\n"), known)
    second = replayed(write(tmp_path / "b.log", LONG), known)
    third = KnownSource(base=second.base, head_bytes=HEAD_BYTES, generation=7)
    assert position(write(tmp_path / "b.log", LONG + b"more\n"), [*known, third])[0] == second.source


def test_a_torn_gzip_file_goes_on_when_it_is_whole_again(tmp_path):
    known: list[KnownSource] = []
    packed = gzip.compress(LONG)
    source = replayed(write(tmp_path / "plain.log", LONG), known, upto=50_000)
    torn = write(tmp_path / "a.gz", packed[: len(packed) - 10])
    assert position(torn, known)[0] == source.source
    assert position(write(tmp_path / "a.gz", packed), known) == (source.source, source.known_bytes)


def test_the_july_sample_is_a_beginning_of_the_fragments_in_either_order(samples):
    short = LogInput(samples / "nasa_http" / "NASA_short.log")
    sample = LogInput(samples / "nasa_http" / "NASA_access_log_Jul95_sample.log")
    known: list[KnownSource] = []
    source = replayed(sample, known)
    assert position(short, known) == (source.source, 108_278)
    known = []
    source = replayed(short, known)
    found, start = position(sample, known)
    assert found == source.source
    assert start >= 108_278


def test_a_name_stands_for_the_content(tmp_path):
    known: list[KnownSource] = []
    log = LogInput(write(tmp_path / "a.log", LONG).origin, "web-1")
    assert replayed(log, known).source == "web-1-g0"
    assert position(log, known) == ("web-1-g0", len(LONG))
    assert position(LogInput(tmp_path / "a.log"), known)[0] == f"{fingerprint(LONG[:4096])}-g0"
    write(tmp_path / "a.log", LONG[:-5] + b"other\n")
    assert position(log, known) == ("web-1-g1", 0)


def test_a_pipe_that_begins_differently_is_recognised_by_its_first_line(tmp_path):
    known: list[KnownSource] = []
    replayed(LogInput(write(tmp_path / "a.log", LONG).origin, "web-1"), known)
    out, into = os.pipe()

    def idle():
        pytest.fail("waits for more although the first line tells")

    log = LogInput(StandardInput(descriptor=out, idle=idle), "web-1")
    os.write(into, b"another host" * 10 + b"\n")
    assert position(log, known) == ("web-1-g1", 0)
    os.close(into)
    os.close(out)


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_nothing_is_skipped_that_was_not_sent_byte_for_byte(tmp_path_factory, first, second):
    if not first or not second:
        return
    folder = tmp_path_factory.mktemp("two")
    known: list[KnownSource] = []
    replayed(write(folder / "a.log", b"\0" + first), known)
    log = write(folder / "b.log", b"\0" + second)
    source, _ = identify(log, known)
    start = source.position(TOPIC, TOPIC_ID)
    sent = b"\0" + first
    assert sent[:start].startswith((b"\0" + second)[:start])


def test_comparing_reads_no_further_than_it_must(tmp_path):
    known: list[KnownSource] = []
    source = replayed(write(tmp_path / "a.log", LONG), known)
    out, into = os.pipe()
    os.write(into, b"!" + LONG[1:1000])
    os.close(into)
    log = LogInput(StandardInput(descriptor=out))
    assert compare(log, source) == "different"
    assert len(os.read(out, 10_000)) > 800
    os.close(out)
