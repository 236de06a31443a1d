"""Opening logs: plain or gzip by their first bytes, files or pipes, and clear refusals."""

import gzip
import hashlib
import os
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError
from streaming.sources import (
    DamagedSourceError,
    LogInput,
    StandardInput,
    at_least,
    check,
    refuse_corrupt,
    skip,
    until_damage,
)


def read_all(read) -> bytes:
    return b"".join(iter(lambda: read(1000), b""))


def content_of(log: LogInput) -> bytes:
    with log.reading() as opened:
        return read_all(opened.read)


LOG = b"".join(b"line %d of a log\n" % number for number in range(20_000))


def test_plain_and_compressed_are_told_apart_by_their_bytes_not_by_their_names(tmp_path):
    (tmp_path / "plain.gz").write_bytes(LOG)
    (tmp_path / "packed.log").write_bytes(gzip.compress(LOG))
    assert content_of(LogInput(tmp_path / "plain.gz")) == LOG
    assert content_of(LogInput(tmp_path / "packed.log")) == LOG


def test_concatenated_gzip_files_are_one_log(tmp_path):
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(LOG[:1000]) + gzip.compress(LOG[1000:]) + b"\0" * 100)
    assert content_of(LogInput(path)) == LOG


@pytest.mark.parametrize("content", [b"", b"\x1f", b"\x1f\x8b"[:1] + b"x", b"\n"])
def test_tiny_files_are_read_as_they_are(tmp_path, content):
    (tmp_path / "tiny.log").write_bytes(content)
    assert content_of(LogInput(tmp_path / "tiny.log")) == content


PACKED = gzip.compress(LOG)
MIDDLE = len(PACKED) // 2


@pytest.mark.parametrize(
    ("damaged", "least"),
    [
        (PACKED[:MIDDLE], len(LOG) // 3),
        (PACKED[:-5], len(LOG)),
        (PACKED + b"trailing rubbish", len(LOG)),
        (PACKED[:3], 0),
    ],
    ids=["torn in half", "torn in its checksum", "rubbish behind it", "torn in its header"],
)
def test_what_a_torn_gzip_file_has_is_read_before_it_says_so(tmp_path, damaged, least):
    (tmp_path / "torn.gz").write_bytes(damaged)
    log, found = LogInput(tmp_path / "torn.gz"), bytearray()
    with log.reading() as opened, pytest.raises(DamagedSourceError, match=r"torn\.gz") as caught:
        skip(lambda size: found.extend(more := opened.read(size)) or more, 2 * len(LOG), hashlib.sha256())
    assert caught.value.is_torn
    assert LOG.startswith(found)
    assert len(found) >= least
    refuse_corrupt(log)


@pytest.mark.parametrize(
    "corrupt",
    [PACKED[:-8] + b"\0" * 8, PACKED[:MIDDLE] + b"\xff" * 500 + PACKED[MIDDLE + 500 :]],
    ids=["wrong checksum", "rubbish inside"],
)
def test_a_corrupt_gzip_file_is_refused_before_a_line_of_it_is_used(tmp_path, corrupt):
    (tmp_path / "corrupt.gz").write_bytes(corrupt)
    with pytest.raises(DamagedSourceError, match="Nothing of it is sent"):
        refuse_corrupt(LogInput(tmp_path / "corrupt.gz"))


@pytest.mark.parametrize("content", [LOG, PACKED, b""], ids=["plain", "compressed", "empty"])
def test_a_sound_file_is_not_refused(tmp_path, content):
    (tmp_path / "sound.log").write_bytes(content)
    refuse_corrupt(LogInput(tmp_path / "sound.log"))


@given(cut=st.integers(0, 400))
def test_a_torn_gzip_file_never_gives_bytes_that_were_not_in_it(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("torn") / "log.gz"
    whole = LOG[:3000]
    packed = gzip.compress(whole)
    path.write_bytes(packed[:cut])
    with LogInput(path).reading() as opened:
        found = read_all(until_damage(opened.read))
    assert whole.startswith(found) or packed.startswith(found)  # one byte of a header is no gzip file yet


def test_skipping_tells_how_far_it_came_and_what_the_last_byte_was(tmp_path):
    (tmp_path / "a.log").write_bytes(b"abcdef")
    hasher = hashlib.sha256()
    with LogInput(tmp_path / "a.log").reading() as opened:
        assert skip(opened.read, 4, hasher) == (4, b"d")
        assert skip(opened.read, 0, hasher) == (0, b"")
        assert skip(opened.read, 10, hasher) == (2, b"f")
    assert hasher.hexdigest() == hashlib.sha256(b"abcdef").hexdigest()


@pytest.mark.parametrize(
    ("name", "make", "found"),
    [
        ("missing.log", lambda _: None, "No such file"),
        ("folder", lambda path: path.mkdir(), "a directory"),
        ("pipe", os.mkfifo, "pipe it in"),
    ],
)
def test_what_is_no_readable_file_is_refused_with_a_reason(tmp_path, name, make, found):
    make(tmp_path / name)
    with pytest.raises(ConfigurationError, match=found):
        check(str(tmp_path / name), None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    (tmp_path / "secret.log").write_text("x")
    (tmp_path / "secret.log").chmod(0)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        check(str(tmp_path / "secret.log"), None)


def test_standard_input_needs_a_name():
    with pytest.raises(ConfigurationError, match="--source NAME"):
        check("-", None)
    assert check("-", "web-1").path is None


@pytest.mark.parametrize("name", ["", "../etc", "a b", "-x", "x" * 101, "a/b", "ä"])
def test_a_name_that_could_not_be_a_file_name_is_refused(name):
    with pytest.raises(ConfigurationError, match="--source"):
        check("-", name)


@pytest.fixture
def pipe():
    out, into = os.pipe()
    yield out, into
    for each in (out, into):
        with suppress(OSError):
            os.close(each)


def test_a_pipe_can_be_read_again_from_its_start_until_it_is_told_to_forget(pipe):
    out, into = pipe
    log = LogInput(StandardInput(descriptor=out), "web-1")
    os.write(into, b"one\ntwo\n")
    with log.reading() as opened:
        assert at_least(opened.read, 4) == b"one\n"
    log.origin.forget()
    os.write(into, b"three\n")
    os.close(into)
    with log.reading() as opened:
        assert read_all(opened.read) == b"one\ntwo\nthree\n"
    with log.reading() as opened:
        assert read_all(opened.read) == b"one\n"  # what was read before it was told to forget


def test_a_compressed_pipe_is_uncompressed(pipe):
    out, into = pipe
    writer = threading.Thread(target=lambda: (os.write(into, gzip.compress(LOG)), os.close(into)))
    writer.start()
    assert content_of(LogInput(StandardInput(descriptor=out), "web-1")) == LOG
    writer.join()


def test_bytes_of_a_slow_pipe_are_given_at_once_and_somebody_is_told_while_it_is_silent(pipe):
    out, into = pipe
    silent = []

    def idle():
        silent.append(time.monotonic())
        os.write(into, b"late\n")

    log = LogInput(StandardInput(descriptor=out, idle=idle), "web-1")
    os.write(into, b"early\n")
    with log.reading() as opened:
        assert at_least(opened.read, 6) == b"early\n"
        assert not silent
        assert opened.read(100) == b"late\n"
    assert len(silent) == 1
