"""Erase one client host from every layer, files of earlier versions included.

Deletes its rows from bronze, silver and quarantine, lets gold follow, and removes the old files at once. Lines that
wait in Kafka are not touched: they are gone when the topic's retention has passed; erase again after they arrived.
Training snapshots that hold the host (those of `access_log_visitors`) are removed whole; a training that reads one has
to build it anew. Registered models hold means of many hosts, no host.
"""

import sys
from argparse import ArgumentParser, Namespace

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.datasets import (
    BRONZE_ACCESS_LOG,
    GOLD_OF_ACCESS_LOG,
    QUARANTINE_ACCESS_LOG,
    SILVER_ACCESS_LOG,
)
from contracts.settings import Settings
from spark_apps.io import locks, snapshots, tables
from spark_apps.transforms.pseudonyms import pseudonym
from streaming import aggregate, upkeep

_LAYERS = (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG)


def parse_args(argv: list[str]) -> Namespace:
    parser = ArgumentParser(prog="millrace erase-host", description=__doc__, allow_abbrev=False)
    parser.add_argument("host", help="client name or address as the log has it")
    args = parser.parse_args(argv)
    if not args.host.strip() or len(args.host.split()) > 1:
        parser.error(f"found the host {args.host!r}, required one name or address without spaces")
    return args


def main(args: Namespace, settings: Settings, spark: SparkSession, _engine: Engine) -> str:
    """Erases the host and, where hosts are pseudonymised, its pseudonym."""
    names = [args.host.lower()]
    key = settings.stream.pseudonym_key
    if key is not None:
        names.append(pseudonym(args.host, key.get_secret_value().encode()))
    # The first word of the raw line, without the quote that some collectors put around a line.
    of_line = "lower(ltrim('\"', substring_index(cast(line AS string), ' ', 1)))"
    erased = {}
    attempted = f"Erasing {args.host}"
    with upkeep.between_batches(spark, settings, attempted):
        for dataset in _LAYERS:
            subject = "host" if dataset is SILVER_ACCESS_LOG else of_line
            of_names = F.expr(tables.in_list(subject, names))
            erased[dataset.layer] = tables.read(spark, dataset, settings.lake).where(of_names).count()
            if erased[dataset.layer]:
                tables.delete_named(spark, dataset, settings, subject, names)
        # Between the step and the end of the last vacuum nobody may start from a version whose files are going.
        with locks.exclusive(spark, aggregate.gold_lock(settings), attempted, wait_s=tables.LOCK_WAIT_S):
            aggregate.step(spark, settings)
            for dataset in (*_LAYERS, *GOLD_OF_ACCESS_LOG):
                tables.vacuum(spark, dataset, settings, keep_hours=0)
    # After the layers: a snapshot that is built from now on no longer finds the host.
    gone = snapshots.remove_with(spark, settings, "host", names)
    counts = ", ".join(f"{rows} rows of {layer}" for layer, rows in erased.items())
    return f"erased {args.host}: {counts}, {gone} training snapshots; gold follows, old files are removed"


if __name__ == "__main__":
    sys.exit(upkeep.execute("erase", parse_args(sys.argv[1:]), main))
