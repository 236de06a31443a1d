"""Files to the cluster, by content: what is there already is not sent again, and half a transfer is never used."""

import asyncio
import hashlib
import os
import re
import secrets
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.errors import SpecError
from dags.operators.slurm.ledger import refuse
from dags.operators.slurm.script import StagedInput

_HASH = re.compile(r"[A-Za-z0-9]{16,128}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*(/[A-Za-z0-9_][A-Za-z0-9_.=-]*)*")


class Input(NamedTuple):
    """A file or folder of this machine that a job gets as ``name`` below its inputs; all fields may be templates.

    ``content_hash``, where it is known, names the content, and equal hashes must mean equal content: then nothing is
    read when the cluster has it. ``only`` are entries of a folder to send instead of all of it.
    """

    local: str
    content_hash: str | None
    name: str
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Object:
    source: Path
    name: str
    known_as: str
    only: tuple[str, ...]

    @property
    def is_folder(self) -> bool:
        return self.known_as.endswith(".tar")


async def stage(cluster: Cluster, base: str, inputs: Sequence[Input]) -> tuple[StagedInput, ...]:
    """Send what ``base`` on the cluster lacks; returns where everything is."""
    objects = [await asyncio.to_thread(_object, each) for each in inputs]
    if objects:
        found = await cluster.ask("have", base, *dict.fromkeys(each.known_as for each in objects))
        has = set(found.all("HAVE"))
        for each in {each.known_as: each for each in objects if each.known_as not in has}.values():
            await _send(cluster, base, each)
    return tuple(StagedInput(f"{base}/objects/{each.known_as}", each.name, each.is_folder) for each in objects)


async def stage_text(cluster: Cluster, base: str, text: str) -> str:
    """Send a text, such as a job's script; returns its content hash, which is the object's name."""
    name = hashlib.sha256(text.encode()).hexdigest()
    found = await cluster.ask("have", base, name)
    if name not in found.all("HAVE"):
        with tempfile.TemporaryDirectory(prefix="millrace-stage-") as folder:
            path = Path(folder) / "text"
            path.write_text(text, encoding="utf-8")
            await _send(cluster, base, _Object(path, "text", name, ()))
    return name


def content_hash(path: Path, only: Sequence[str] = ()) -> str:
    """Of a file its SHA-256; of a folder that of all its relative names and contents, in order."""
    if path.is_file():
        return _file_hash(path)
    digest = hashlib.sha256()
    for relative, file in _files(path, only):
        digest.update(f"{_file_hash(file)}  {relative}\n".encode())
    return digest.hexdigest()


async def _send(cluster: Cluster, base: str, each: _Object) -> None:
    with tempfile.TemporaryDirectory(prefix="millrace-stage-") as folder:
        path = each.source
        if each.is_folder:
            path = Path(folder) / each.known_as
            await asyncio.to_thread(_pack, each, path)
        checksum = await asyncio.to_thread(_file_hash, path)
        # Beside its final place and renamed there after its checksum was compared, on the cluster.
        upload = f"{base}/objects/.upload-{each.known_as}.{secrets.token_hex(6)}"
        await cluster.transport.put(path, upload)
        refuse(await cluster.ask("keep", upload, checksum, f"{base}/objects/{each.known_as}"), f"Sending {each.name}")


def _object(given: Input) -> _Object:
    path = Path(given.local)
    if not path.exists():
        raise SpecError(
            f"Staging {given.name}", found=f"no file or folder {path}", required="what an earlier step makes",
            next_step="Run that step first, or correct the path.",
        )  # fmt: skip
    if not _NAME.fullmatch(given.name) or ".." in given.name:
        raise SpecError(
            "Staging inputs", found=f"the name {given.name!r}", required="a relative path of plain characters",
            next_step="Give the input another name.",
        )  # fmt: skip
    known = given.content_hash or content_hash(path, given.only)
    known = known.removeprefix("sha256:")
    if not _HASH.fullmatch(known):
        raise SpecError(
            f"Staging {given.name}", found=f"the content hash {known!r}", required="16 to 128 letters and digits",
            next_step="Pass the hash that names the content, or None.",
        )  # fmt: skip
    # By its path a link may be a file here and a folder there: what it points to counts.
    return _Object(path, given.name, f"{known}.tar" if path.is_dir() else known, tuple(given.only))


def _pack(each: _Object, target: Path) -> None:
    """Equal folders make equal archives: names in order, no owners, no times."""
    with tarfile.open(target, "w") as archive:
        for relative, file in _files(each.source, each.only):
            info = tarfile.TarInfo(relative)
            info.size, info.mode = file.stat().st_size, 0o755 if os.access(file, os.X_OK) else 0o644
            with file.open("rb") as content:
                archive.addfile(info, content)


def _files(folder: Path, only: Sequence[str]) -> Iterator[tuple[str, Path]]:
    roots = [folder / name for name in only] if only else [folder]
    for root in roots:
        if not root.exists():
            raise SpecError(
                f"Staging {folder}", found=f"no {root.name} in it", required="every entry that `only` names",
                next_step="Correct the names.",
            )  # fmt: skip
    found = {file for root in roots for file in ([root] if root.is_file() else root.rglob("*"))}
    for file in sorted(found):
        relative = file.relative_to(folder)
        if file.is_file() and "__pycache__" not in relative.parts:
            yield relative.as_posix(), file


def _file_hash(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
