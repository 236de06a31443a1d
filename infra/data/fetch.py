"""Download large originals, checked and resumable: a file has its name when its checksum is right, and not before.

What arrived before an interruption stays beside it as `NAME.part` and is continued. Ends with 0; 2 where a name, a file
that is there or the checksum is wrong, 5 where the server does not answer or the disk is full, 6 where another process
fetches the same file.
"""

import errno
import fcntl
import hashlib
import http.client
import logging
import shutil
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from contracts.errors import ConfigurationError, DependencyUnavailableError, ExitCode, LockHeldError, PlatformError
from contracts.settings import Settings, load_settings
from infra.data.originals import ORIGINALS, Original, original

log = logging.getLogger("millrace")

_CHUNK = 1024 * 1024
#: A connection that is silent for so long is given up and tried again.
_SILENCE_S = 60.0
#: Seconds between two tries; a try that brought bytes starts counting anew.
PAUSES_S = (1.0, 5.0, 15.0, 60.0)
_OF_THIS_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO}
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


def main(argv: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        args = parse_args(argv)
        settings = load_settings()
        if args.list:
            print(listing(folder_of(args, settings)))
            return int(ExitCode.DONE)
        chosen = [original(name) for name in args.names]
        for each in chosen:
            print(fetch(each, folder_of(args, settings)))
    except PlatformError as error:
        print(f"fetch-data: {error} ({type(error).__name__}, exit {int(error.exit_code)})", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.DONE)


def parse_args(argv: list[str]) -> Namespace:
    parser = ArgumentParser(prog="millrace fetch-data", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(ORIGINALS)}")
    parser.add_argument("--list", action="store_true", help="what there is, how large it is and under which terms")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="default: originals/ in the state folder")
    args = parser.parse_args(argv)
    if bool(args.names) == args.list:
        parser.error("either names, or --list is required")
    return args


def folder_of(args: Namespace, settings: Settings) -> Path:
    return args.into or settings.state / "originals"


def listing(folder: Path) -> str:
    """One line for each original: name, size, whether ``folder`` has it, what it is."""
    lines = []
    for name, each in ORIGINALS.items():
        size = f"{each.size / 1e6:,.0f} MB" if each.size else "?"
        is_there = "here" if each.path(folder).exists() else ""
        lines.append(f"{name:<14} {size:>9}  {is_there:<5} {each.about}")
    return "\n".join(lines)


def fetch(wanted: Original, folder: Path, pauses_s: tuple[float, ...] = PAUSES_S) -> str:
    """Bring one original into ``folder``; returns a sentence that says what was done. Errors: see the module."""
    path, part = wanted.path(folder), folder / f"{wanted.file_name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _lock_file(wanted, folder).touch()
    except OSError as error:
        raise ConfigurationError(
            f"Fetching {wanted.file_name}", found=f"{folder}: {error.strerror}", required="a folder to write to",
            next_step="Name another one with --into.",
        ) from error  # fmt: skip
    with _alone(wanted, folder):
        if path.exists():
            _require_checksum(wanted, path, "It is not one of ours: move it away, then fetch again.")
            return f"{path}: here already, checksum right"
        _complete(wanted, part, pauses_s)
        try:
            _require_checksum(wanted, part, "The damaged download was deleted: fetch again.")
        except ConfigurationError:
            part.unlink()
            raise
        part.replace(path)
    return f"{path}: {path.stat().st_size:,} bytes, checksum right"


def checksum(path: Path, method: str) -> str:
    """Hex checksum of a file."""
    begun = hashlib.sha1(b"blob %d\0" % path.stat().st_size) if method == "git-blob-sha1" else hashlib.sha256()  # noqa: S324 - git's own
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: begun).hexdigest()


def _complete(wanted: Original, part: Path, pauses_s: tuple[float, ...]) -> None:
    """Continue ``part`` until the server has no more, trying again after each interruption."""
    failures = 0
    while True:
        before = _size(part)
        try:
            _continue(wanted, part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise _unavailable(wanted, f"HTTP {error.code} {error.reason}", part) from error
            if isinstance(error, OSError) and error.errno in _OF_THIS_DISK:
                raise _unavailable(wanted, f"{part}: {error.strerror}", part) from error
            failures = 0 if _size(part) > before else failures + 1
            if failures > len(pauses_s):
                raise _unavailable(wanted, str(error) or type(error).__name__, part) from error
            pause_s = pauses_s[max(failures - 1, 0)]
            log.warning("interrupted file=%s bytes=%d error=%s; again in %g s", part.name, _size(part), error, pause_s)
            time.sleep(pause_s)
        else:
            return


def _continue(wanted: Original, part: Path) -> None:
    """One connection: append what is missing to ``part``. A server that cannot continue makes it begin anew."""
    have = _size(part)
    if wanted.size is not None and have == wanted.size:
        return
    request = urllib.request.Request(wanted.address, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - the catalogue's address
    try:
        answer = urllib.request.urlopen(request, timeout=_SILENCE_S)  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:  # nothing comes after what is here; the checksum decides
            return
        raise
    with answer:
        continues = answer.status == _PARTIAL_CONTENT
        expected = int(answer.headers["Content-Length"]) if answer.headers["Content-Length"] else None
        start = have if continues else 0
        _require_space(wanted, part, expected)
        with part.open("ab" if continues else "wb") as file, _bar(wanted, start, expected) as bar:
            for chunk in iter(lambda: answer.read(_CHUNK), b""):
                file.write(chunk)
                bar.update(len(chunk))
        got = _size(part) - start
        if expected is not None and got < expected:
            raise ConnectionError(f"{got:,} of {expected:,} bytes, then the connection ended")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _bar(wanted: Original, start: int, expected: int | None) -> "tqdm[Any]":
    total = start + expected if expected is not None else wanted.size
    return tqdm(
        total=total, initial=start, unit="B", unit_scale=True, desc=wanted.file_name, disable=not sys.stderr.isatty()
    )


def _require_space(wanted: Original, part: Path, expected: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    if expected is not None and expected > free:
        raise DependencyUnavailableError(
            f"Fetching {wanted.file_name}", found=f"{free:,} bytes free in {part.parent}",
            required=f"{expected:,} bytes", changed="What had arrived stays.",
            next_step="Free space, or name another folder with --into.",
        )  # fmt: skip


def _require_checksum(wanted: Original, path: Path, next_step: str) -> None:
    found = checksum(path, wanted.method)
    if found != wanted.checksum:
        raise ConfigurationError(
            f"Checking {path}", found=f"{wanted.method} {found}", required=wanted.checksum, next_step=next_step
        )


def _lock_file(wanted: Original, folder: Path) -> Path:
    return folder / f".{wanted.file_name}.lock"


@contextmanager
def _alone(wanted: Original, folder: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes do not write one part."""
    with _lock_file(wanted, folder).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeldError(
                f"Fetching {wanted.file_name}", found=f"another process that fetches it into {folder}",
                required="to be the only one", next_step="Wait for it, or name another folder with --into.",
            ) from error  # fmt: skip
        yield


def _unavailable(wanted: Original, found: str, part: Path) -> DependencyUnavailableError:
    return DependencyUnavailableError(
        f"Fetching {wanted.address}", found=found, required="the file",
        changed=f"{_size(part):,} bytes of it are here and stay.",
        next_step="Try again: it goes on where it was.",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
