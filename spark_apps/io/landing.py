"""Landed files: what is in them, and their lines with the numbers that they have in the file."""

import gzip
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, cast

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import ConfigurationError, SchemaMismatchError
from contracts.landed import FIRST_LINES, Identified, Landed, identify
from contracts.settings import Settings

_CHUNK = 1024 * 1024
#: A line of the beginning that is longer than this belongs to no table.
_LONGEST_LINE = 1024 * 1024


class LandedFile(NamedTuple):
    """A file with lines to read: ``name`` for people (``archive.zip!member``), checksum of its content."""

    name: str
    path: Path
    sha256: str
    identified: Identified


@contextmanager
def opened(path: Path, contract: Landed, settings: Settings) -> Iterator[list[LandedFile]]:
    """The subject's files in ``path``: itself, or members of a zip, which are unpacked for as long as the block runs.

    All are identified before any is handed out. Errors: ConfigurationError for a path that cannot be read,
    SchemaMismatchError for content that is not the subject's.
    """
    if not path.is_file() or not os.access(path, os.R_OK):
        found = "a folder" if path.is_dir() else "no right to read it" if path.exists() else "no such file"
        raise ConfigurationError(
            f"Reading {path}", found=found, required="a readable file",
            next_step="Correct the path; name files one by one.",
        )  # fmt: skip
    home = settings.state / "tmp"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="landed-") as folder:
        if zipfile.is_zipfile(path):
            members = _unpack(path, contract, Path(folder))
        else:
            # Under a name of ours: Spark overlooks names that begin with _ or a dot and expands [, * and ?.
            link = Path(folder, "lines.gz" if path.suffix == ".gz" else "lines.txt")
            link.symlink_to(path.resolve())
            members = [("", link)]
        yield [_identified(f"{path.name}!{name}" if name else path.name, member, contract) for name, member in members]


def numbered_lines(spark: SparkSession, file: LandedFile) -> DataFrame:
    """``source_file, source_sha256, source_line, line``: every line, the first has number 1.

    Spark reads a large file in blocks, in any order. Counting the lines of each block first tells where it begins.
    """
    text = spark.read.text(str(file.path)).select(
        F.col("value").alias("line"),
        F.col("_metadata.file_block_start").alias("_block"),
        F.monotonically_increasing_id().alias("_id"),
    )
    blocks = text.groupBy("_block").agg(F.min("_id").alias("first"), F.count("*").alias("lines")).collect()
    shifts, before = {}, 0
    for block in sorted(blocks, key=lambda row: row["_block"]):
        shifts[block["_block"]] = before + 1 - block["first"]
        before += block["lines"]
    if not shifts:
        raise RuntimeError(f"Spark reads no line of {file.path}, where {file.name} has some")
    shift = F.create_map(*[F.lit(each) for pair in shifts.items() for each in pair])[F.col("_block")]
    return text.select(
        F.lit(file.name).alias("source_file"),
        F.lit(file.sha256).alias("source_sha256"),
        (F.col("_id") + shift).cast("bigint").alias("source_line"),
        "line",
    )


def _unpack(path: Path, contract: Landed, folder: Path) -> list[tuple[str, Path]]:
    """Members of the subject, written to ``folder`` under names of our own."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if contract.belongs(member.filename)]
            if not members:
                inside = ", ".join(archive.namelist()[:10]) or "nothing"
                raise SchemaMismatchError(
                    f"Reading {path.name} as {contract.subject}", found=f"an archive with {inside}",
                    required=f"a member whose name fits {contract.members}" if contract.members else "a plain file",
                    next_step="Land the right archive, or unpack it and name the file.",
                )  # fmt: skip
            free = shutil.disk_usage(folder).free
            needed = sum(member.file_size for member in members)
            if needed > free:
                raise ConfigurationError(
                    f"Unpacking {path.name}", found=f"{free:,} bytes free", required=f"{needed:,} bytes",
                    next_step="Free space under MILLRACE_STATE, then try again.",
                )  # fmt: skip
            unpacked = []
            for number, member in enumerate(members):
                target = folder / f"member-{number}.txt"
                with archive.open(member) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK)
                unpacked.append((member.filename, target))
            return unpacked
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise _damaged(path.name, error) from error


def _identified(name: str, path: Path, contract: Landed) -> LandedFile:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return LandedFile(name, path, content, identify(contract, name, _first_lines(name, path)))


def _first_lines(name: str, path: Path) -> list[str]:
    """The beginning of a plain or gzipped file, without line ends; a gzip is read to its end: it must be whole."""
    is_packed = path.suffix == ".gz"
    try:
        with cast("IO[bytes]", gzip.open(path) if is_packed else path.open("rb")) as file:
            lines = list(islice(iter(lambda: file.readline(_LONGEST_LINE), b""), FIRST_LINES))
            while is_packed and file.read(_CHUNK):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(name, error) from error
    return [line.decode("utf-8", errors="replace").rstrip("\r\n") for line in lines]


def _damaged(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"Reading {name}", found=f"a damaged archive ({error})", required="one that can be unpacked",
        next_step="Fetch it again.",
    )  # fmt: skip
