"""What a job made, brought back: only what its run result names, only with the right checksums, all or nothing."""

import asyncio
import hashlib
import secrets
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from contracts.results import Artefact, RunResult
from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.errors import ResultError, TransferError
from dags.operators.slurm.ledger import Job, refuse


async def fetch(cluster: Cluster, job: Job, result: RunResult, folder: Path) -> RunResult:
    """Bring the artefacts of ``result`` into ``folder``, which is replaced as a whole and also gets ``result.json``.

    Returns the result with the artefacts' paths on this machine. A ResultError where the job's own files do not match
    what it says of them, a TransferError where the transfer went wrong; ``folder`` is as before then.
    """
    paths = [_relative(each, job) for each in result.artefacts]
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.parent / f".{folder.name}.{secrets.token_hex(6)}"
    try:
        aside.mkdir()
        if paths:
            await _bring(cluster, job, paths, aside)
        await asyncio.to_thread(_verify, result.artefacts, paths, aside)
        here = [
            Artefact(path=str(folder / path), sha256=each.sha256)
            for each, path in zip(result.artefacts, paths, strict=True)
        ]
        local = result.model_copy(update={"artefacts": here})
        (aside / "result.json").write_text(local.model_dump_json(indent=2), encoding="utf-8")
        await asyncio.to_thread(_replace, aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return local


async def _bring(cluster: Cluster, job: Job, paths: list[str], target: Path) -> None:
    # A leading "./" keeps tar from reading a name as an option.
    packed = await cluster.ask("pack", job.folder, given="\n".join(f"./{path}" for path in paths))
    if (problem := packed.one("PROBLEM")) and problem.startswith("missing "):
        raise ResultError(
            f"Fetching the artefacts of job {job.job_id}", found="files that the run result names are not there",
            required=f"all of {', '.join(paths[:10])}",
            next_step=f"See {job.folder}/outputs and {job.folder}/.pack.err on the cluster.",
        )  # fmt: skip
    refuse(packed, "Packing the artefacts")
    remote, _, checksum = (packed.one("PACKED") or "").rpartition(" ")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        archive = Path(folder) / "outputs.tar"
        await cluster.transport.get(remote, archive)
        found = await asyncio.to_thread(_hash, archive)
        if found != checksum:
            raise TransferError(
                f"Fetching the artefacts of job {job.job_id}", found=f"an archive with the checksum {found}",
                required=checksum, next_step="The next try fetches it again; the job is not run again.",
            )  # fmt: skip
        await asyncio.to_thread(_unpack, archive, paths, target)


def _unpack(archive: Path, paths: list[str], target: Path) -> None:
    """The wanted files and nothing else of the archive: no links, no other names (Python 3.11.2 has no filters)."""
    with tarfile.open(archive) as opened:
        for member in opened:
            name = member.name.removeprefix("./")
            content = opened.extractfile(member) if member.isreg() and name in paths else None
            if content is not None:
                file = target / name
                file.parent.mkdir(parents=True, exist_ok=True)
                with content, file.open("wb") as written:
                    shutil.copyfileobj(content, written)


def _verify(artefacts: list[Artefact], paths: list[str], folder: Path) -> None:
    for each, path in zip(artefacts, paths, strict=True):
        file = folder / path
        found = _hash(file) if file.is_file() else "no file"
        if found != each.sha256:
            raise ResultError(
                f"Checking the artefact {path}", found=found, required=f"the checksum {each.sha256} of the run result",
                next_step="The application changed the file after it made the result; clear the task to run it again.",
            )  # fmt: skip


def _replace(new: Path, folder: Path) -> None:
    old = folder.parent / f"{new.name}.old"
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _relative(artefact: Artefact, job: Job) -> str:
    """The artefact's path below the job's outputs, which it must not leave."""
    path = artefact.path.removeprefix(f"{job.folder}/outputs/")
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts or not plain.parts or "\n" in path or plain.parts[0] == "result.json":
        raise ResultError(
            f"Reading the run result of job {job.job_id}", found=f"an artefact {artefact.path!r}",
            required="paths below the job's outputs (MILLRACE_OUTPUTS)",
            next_step="Let the application write there.",
        )  # fmt: skip
    return str(plain)


def _hash(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
