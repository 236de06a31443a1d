"""Landed files that are taken out of their tables again, and what that means for a file that lands once more."""

import re
from contextlib import AbstractContextManager
from typing import NamedTuple

from pyspark.sql import SparkSession

from contracts.errors import ConfigurationError
from contracts.landed import Landed
from contracts.settings import Settings
from spark_apps.io import locks, tables

#: A checksum may be cut to this many digits, as long as it means one file.
_FEWEST_DIGITS = 8
#: Name of the transaction by which a file is stored (`landing`).
_LANDING = re.compile(r"landed/(?P<sha256>[0-9a-f]{64})(/after-withdrawal-\d+)?")
#: So many files are named in a message.
_MOST_NAMED = 20


class Stored(NamedTuple):
    """A landed file of which rows are in a table: the names that it came under, and its rows in both tables."""

    sha256: str
    names: tuple[str, ...]
    bronze: int
    quarantine: int

    def is_meant_by(self, asked: str) -> bool:
        """By its name (of a zip's member also the archive's alone), or by the first digits of its checksum."""
        is_name = any(asked in (name, name.partition("!")[0]) for name in self.names)
        is_checksum = re.fullmatch(rf"[0-9a-f]{{{_FEWEST_DIGITS},64}}", asked.lower()) is not None
        return is_name or (is_checksum and self.sha256.startswith(asked.lower()))


def one_at_a_time(spark: SparkSession, settings: Settings, contract: Landed) -> AbstractContextManager[None]:
    """For the block, nobody else ingests or withdraws a file of the subject: each is about two tables at once."""
    path = settings.locks / "landed" / f"{contract.subject}.lock"
    return locks.exclusive(spark, path, f"Writing files of {contract.subject}", wait_s=tables.LOCK_WAIT_S)


def withdraw(spark: SparkSession, settings: Settings, contract: Landed, asked: str) -> Stored:
    """Take the rows of one file out of both tables, and return what was there.

    Bronze goes first, since it alone says whether a file is known. Whoever dies in between leaves rows in quarantine:
    the file is still found by them, and the next time they go. A ConfigurationError when ``asked`` means no file, or
    more than one.
    """
    with one_at_a_time(spark, settings, contract):
        file = _meant(asked, stored(spark, settings, contract), contract)
        both = (contract.bronze, contract.quarantine)
        for dataset in both:
            tables.create_if_missing(spark, dataset, settings)
        number = _withdrawals(spark, settings, contract, file.sha256) + 1
        transaction = tables.Transaction(_withdrawal(file.sha256), number)
        for dataset in both:
            nothing = spark.createDataFrame([], dataset.ddl)
            tables.replace(nothing, dataset, settings, of_file(file.sha256), transaction=transaction)
    return file


def stored(spark: SparkSession, settings: Settings, contract: Landed) -> list[Stored]:
    """The files of which rows are in bronze or quarantine, by name; a table that is not there holds none."""
    names: dict[str, set[str]] = {}
    counts: dict[tuple[str, str], int] = {}
    for dataset in (contract.bronze, contract.quarantine):
        if not tables.exists(spark, dataset, settings.lake):
            continue
        for row in tables.read(spark, dataset, settings.lake).groupBy("source_sha256", "source_file").count().collect():
            names.setdefault(row["source_sha256"], set()).add(row["source_file"])
            key = row["source_sha256"], dataset.layer
            counts[key] = counts.get(key, 0) + int(row["count"])
    files = [
        Stored(sha256, tuple(sorted(each)), counts.get((sha256, "bronze"), 0), counts.get((sha256, "quarantine"), 0))
        for sha256, each in names.items()
    ]
    return sorted(files, key=lambda file: (file.names, file.sha256))


def landing(spark: SparkSession, settings: Settings, contract: Landed, sha256: str) -> tables.Transaction:
    """The transaction by which a file is stored: another one after each withdrawal, as Delta takes none twice."""
    withdrawals = _withdrawals(spark, settings, contract, sha256)
    again = f"/after-withdrawal-{withdrawals}" if withdrawals else ""
    return tables.Transaction(f"landed/{sha256}{again}", contract.version)


def by_landing(spark: SparkSession, settings: Settings, contract: Landed) -> list[str]:
    """Checksums of the files of which rows are in bronze, the one that landed last first."""
    files = tables.read(spark, contract.bronze, settings.lake).select("source_sha256").distinct().collect()
    stored_now = {row["source_sha256"] for row in files}
    landed = [_LANDING.fullmatch(name) for name in tables.transactions(spark, contract.bronze, settings)]
    order = dict.fromkeys(found["sha256"] for found in landed if found)
    return [sha256 for sha256 in order if sha256 in stored_now]


def of_file(sha256: str) -> str:
    """SQL predicate: the rows of this file."""
    return f"source_sha256 = '{sha256}'"


def _withdrawal(sha256: str) -> str:
    return f"withdrawn/{sha256}"


def _withdrawals(spark: SparkSession, settings: Settings, contract: Landed, sha256: str) -> int:
    """How often the file was withdrawn. Either table knows: the other one may have been made anew since."""
    both = (contract.bronze, contract.quarantine)
    return max(0, *(tables.last_transaction(spark, each, settings, _withdrawal(sha256)) for each in both))


def _meant(asked: str, files: list[Stored], contract: Landed) -> Stored:
    meant = [file for file in files if file.is_meant_by(asked)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        found = f"{len(meant)} files that this means: {_some(meant)}"
        next_step = "Name it by its SHA-256; sha256sum FILE says that of a file at hand."
    else:
        found = f"no such file, but {_some(files)}" if files else "no landed file at all"
        next_step = "Correct the name." if files else "There is nothing to withdraw."
    raise ConfigurationError(
        f"Withdrawing {asked} from {contract.subject}", found=found,
        required=f"the name of one stored file, or the first {_FEWEST_DIGITS} or more digits of its SHA-256",
        next_step=next_step,
    )  # fmt: skip


def _some(files: list[Stored]) -> str:
    listed = [
        f"{' or '.join(file.names)} ({file.sha256[:12]}, rows {file.bronze} + {file.quarantine} in quarantine)"
        for file in files[:_MOST_NAMED]
    ]
    more = len(files) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "")
