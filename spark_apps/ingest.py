"""Landed files become rows of bronze.<subject>; what does not fit goes to quarantine.<subject> with the reason.

A file that was ingested before changes nothing, whatever it is called now: its content says who it is. --withdraw takes
the rows of one file out of both tables again.
"""

import logging
import sys
from argparse import ArgumentTypeError, Namespace
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from pyspark.sql import SparkSession

from contracts import landed_files
from contracts.errors import ConfigurationError
from contracts.landed import Landed
from contracts.settings import Settings
from spark_apps.io import landing, runs, tables, withdrawals
from spark_apps.transforms import landed

NAME = "ingest"
log = logging.getLogger("millrace")


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("subject", type=_subject, metavar="SUBJECT", help=f"one of {', '.join(landed_files.LANDED)}")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="plain, gzip, or a zip with members")
    parser.add_argument(
        "--withdraw", metavar="NAME_OR_SHA",
        help="instead of a FILE: take out the rows of this stored one, by its name or 8 or more digits of its SHA-256",
    )  # fmt: skip
    # Intermixed: a list of files that may be empty is otherwise over at the first option behind the subject.
    args = parser.parse_intermixed_args(argv)
    if bool(args.files) == (args.withdraw is not None):
        parser.error("either FILE... to ingest, or --withdraw NAME_OR_SHA is required")
    return args


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    contract: Landed = args.subject
    if args.withdraw is not None:
        return withdraw(spark, settings, contract, args.withdraw)
    for dataset in (contract.bronze, contract.quarantine):
        tables.create_if_missing(spark, dataset, settings)
    rows = {"bronze": 0, "quarantine": 0, "known_files": 0}
    reasons: dict[str, int] = {}
    with ExitStack() as stack:
        # All of them are looked at before any is written.
        opened = [stack.enter_context(landing.opened(path, contract, settings)) for path in args.files]
        for file in chain.from_iterable(opened):
            with withdrawals.one_at_a_time(spark, settings, contract):
                done = ingest(spark, settings, contract, file)
            log.info("file=%s layout=%r rows=%s", file.name, file.identified.layout.name, done)
            rows["bronze"] += done.pop("bronze", 0)
            rows["known_files"] += not done.pop("is_new")
            rows["quarantine"] += sum(done.values())
            reasons |= {reason: reasons.get(reason, 0) + count for reason, count in done.items()}
    return runs.Outcome(rows=rows, facts={"subject": contract.subject, "quarantine_reasons": reasons})


def ingest(spark: SparkSession, settings: Settings, contract: Landed, file: landing.LandedFile) -> dict[str, int]:
    """Write one file; returns ``{"is_new": 0 or 1, "bronze": rows, <reason>: rows}``, of a known file only the first.

    Quarantine is written first, bronze last, each at most once: a file is known when bronze has it. Rows that an
    earlier version of the contract made of the file are replaced.
    """
    transaction = withdrawals.landing(spark, settings, contract, file.sha256)
    of_file = withdrawals.of_file(file.sha256)
    if tables.last_transaction(spark, contract.bronze, settings, transaction.application) >= transaction.version:
        return {"is_new": 0}
    judged = landed.rows(landing.numbered_lines(spark, file), contract, file.identified).persist()
    try:
        counts = {row["reason"] or "bronze": int(row["count"]) for row in judged.groupBy("reason").count().collect()}
        refused = judged.where("reason IS NOT NULL").select(*contract.quarantine.column_names)
        tables.replace(refused, contract.quarantine, settings, of_file, transaction=transaction)
        fitting = judged.where("reason IS NULL").select(*contract.bronze.column_names)
        tables.replace(fitting, contract.bronze, settings, of_file, transaction=transaction)
    finally:
        judged.unpersist()
    return {"is_new": 1, **counts}


def withdraw(spark: SparkSession, settings: Settings, contract: Landed, asked: str) -> runs.Outcome:
    """Take one stored file out of both tables; the same content can then be ingested again."""
    file = withdrawals.withdraw(spark, settings, contract, asked)
    rows = {"withdrawn_from_bronze": file.bronze, "withdrawn_from_quarantine": file.quarantine}
    log.info("withdrawn=%s sha256=%s rows=%s", ",".join(file.names), file.sha256, rows)
    facts = {"subject": contract.subject, "withdrawn": list(file.names), "sha256": file.sha256}
    return runs.Outcome(rows=rows, facts=facts)


def _subject(name: str) -> Landed:
    try:
        return landed_files.landed(name)
    except ConfigurationError as error:
        raise ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
