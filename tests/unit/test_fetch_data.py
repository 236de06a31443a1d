"""Downloads from a real server on this machine: cut off, continued, damaged."""

from __future__ import annotations

import fcntl
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import ConfigurationError, DependencyUnavailableError, LockHeldError
from infra.data import fetch, originals
from infra.data.originals import Original

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = bytes(range(256)) * 20_000
NO_PAUSES = (0.0, 0.0)


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``cut_after`` bytes of each answer, with or without ranges; notes what it was asked."""

    cut_after: int | None = None
    knows_ranges = True
    status: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/content.bin"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        if self.server.status:
            self.send_error(self.server.status)
            return
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def wanted(server: Server, checksum: str | None = None, size: int | None = None) -> Original:
    return Original(server.address, "sha256", checksum or hashlib.sha256(CONTENT).hexdigest(), size, "bytes")


def test_a_file_gets_its_name_when_its_checksum_is_right(server: Server, tmp_path: Path) -> None:
    said = fetch.fetch(wanted(server), tmp_path / "new")
    assert (tmp_path / "new" / "content.bin").read_bytes() == CONTENT
    assert "5,120,000 bytes, checksum right" in said
    assert not (tmp_path / "new" / "content.bin.part").exists()


def test_a_file_that_is_here_is_checked_and_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "content.bin").write_bytes(CONTENT)
    assert "here already" in fetch.fetch(wanted(server), tmp_path)
    assert server.asked == []


def test_an_interrupted_download_is_continued_where_it_was(server: Server, tmp_path: Path) -> None:
    server.cut_after = 2_000_000
    fetch.fetch(wanted(server), tmp_path, NO_PAUSES)
    assert (tmp_path / "content.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=2000000-", "bytes=4000000-"]


def test_what_an_earlier_process_left_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "content.bin.part").write_bytes(CONTENT[:1_000])
    fetch.fetch(wanted(server), tmp_path)
    assert server.asked == ["bytes=1000-"]
    assert (tmp_path / "content.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_whole_part_is_only_checked(server: Server, tmp_path: Path, size: int | None) -> None:
    (tmp_path / "content.bin.part").write_bytes(CONTENT)
    fetch.fetch(wanted(server, size=size), tmp_path)
    assert server.asked == ([] if size else [f"bytes={len(CONTENT)}-"])
    assert (tmp_path / "content.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_makes_it_begin_anew(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "content.bin.part").write_bytes(b"something else")
    fetch.fetch(wanted(server), tmp_path)
    assert (tmp_path / "content.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing_that_looks_like_the_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"found sha256 \w{64}; required 00.*fetch again"):
        fetch.fetch(wanted(server, checksum="00"), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_strange_file_of_that_name_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "content.bin").write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="move it away"):
        fetch.fetch(wanted(server), tmp_path)
    assert (tmp_path / "content.bin").read_bytes() == b"mine"
    assert server.asked == []


def test_a_server_that_has_it_not_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DependencyUnavailableError, match="HTTP 404"):
        fetch.fetch(wanted(server), tmp_path, NO_PAUSES)
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_given_up_after_some_tries_and_keeps_what_came(server: Server, tmp_path: Path) -> None:
    (tmp_path / "content.bin.part").write_bytes(CONTENT[:1_000])
    server.status = 503
    with pytest.raises(DependencyUnavailableError, match="1,000 bytes of it are here and stay"):
        fetch.fetch(wanted(server), tmp_path, NO_PAUSES)
    assert len(server.asked) == 1 + len(NO_PAUSES)
    assert (tmp_path / "content.bin.part").stat().st_size == 1_000


def test_a_full_disk_is_said_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DependencyUnavailableError, match=r"found 10 bytes free.*required 5,120,000 bytes"):
        fetch.fetch(wanted(server), tmp_path)
    assert not (tmp_path / "content.bin.part").exists()


def test_two_processes_do_not_fetch_one_file(server: Server, tmp_path: Path) -> None:
    with (tmp_path / ".content.bin.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockHeldError, match="to be the only one"):
            fetch.fetch(wanted(server), tmp_path)


def test_a_folder_that_cannot_be_written_to_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    for folder in (tmp_path / "notes", tmp_path / "notes" / "deeper", Path("/proc/nowhere"), Path("/sys")):
        with pytest.raises(ConfigurationError, match="a folder to write to"):
            fetch.fetch(wanted(server), folder)


def test_git_names_a_content_by_its_size_and_itself(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello world\n")
    # What `git hash-object` says of it.
    assert fetch.checksum(tmp_path / "hello", "git-blob-sha1") == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"


def test_the_list_names_every_original_and_an_unknown_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path))
    assert fetch.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == list(originals.ORIGINALS)
    assert fetch.main(["higs"]) == 2
    assert "required one of nasa-july" in capsys.readouterr().err


def test_a_disk_that_fills_up_while_it_comes_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "content.bin.part").symlink_to("/dev/full")
    with pytest.raises(DependencyUnavailableError, match=r"content\.bin\.part: No space left on device"):
        fetch.fetch(wanted(server), tmp_path, NO_PAUSES)
    assert len(server.asked) == 1
