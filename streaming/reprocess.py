"""Apply today's parser and rules to lines that arrived before; gold follows by itself.

`--from quarantine` judges the quarantined lines again and moves those that can be read now to silver. `--from bronze`
judges every line again, day of arrival by day of arrival, and replaces that day of silver and quarantine. Both work
between two micro-batches of a running stream and change nothing when run again.
"""

import sys
from argparse import ArgumentParser, Namespace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.arguments import day
from contracts.datasets import BRONZE_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.settings import Settings
from expectations.stream import quarantining_rules
from spark_apps.io import tables
from streaming import upkeep
from streaming.ingest import judge

_KEY = list(BRONZE_ACCESS_LOG.key)


def parse_args(argv: list[str]) -> Namespace:
    parser = ArgumentParser(prog="millrace reprocess", description=__doc__, allow_abbrev=False)
    parser.add_argument("--from", dest="layer", required=True, choices=("bronze", "quarantine"))
    parser.add_argument("--first-day", type=day, help="first day of arrival, YYYY-MM-DD")
    parser.add_argument("--last-day", type=day, help="last day of arrival, YYYY-MM-DD")
    args = parser.parse_args(argv)
    if args.first_day and args.last_day and args.first_day > args.last_day:
        parser.error(f"found --first-day {args.first_day} after --last-day {args.last_day}, required the earlier first")
    return args


def main(args: Namespace, settings: Settings, spark: SparkSession, _engine: Engine) -> str:
    days = f"from {args.first_day or 'the beginning'} to {args.last_day or 'now'}"
    with upkeep.between_batches(spark, settings, f"Reprocessing {args.layer}"):
        if args.layer == "quarantine":
            moved, left = from_quarantine(spark, settings, args)
            return f"reprocessed quarantine {days}: {moved} rows moved to silver, {left} stay"
        kept, refused = from_bronze(spark, settings, args)
        return f"reprocessed bronze {days}: {kept} rows in silver, {refused} in quarantine"


def from_quarantine(spark: SparkSession, settings: Settings, args: Namespace) -> tuple[int, int]:
    """Rows moved to silver, rows that stay. Silver is written first: a crash in between is mended by running again."""
    refused = _of_days(tables.read(spark, QUARANTINE_ACCESS_LOG, settings.lake), args)
    judged = judge(refused.drop("reason", "parser_version"), quarantining_rules(SILVER_ACCESS_LOG.name)).persist()
    try:
        readable = judged.where("reason IS NULL")
        in_silver = tables.read(spark, SILVER_ACCESS_LOG, settings.lake).select(*_KEY)
        moved, all_rows = readable.count(), judged.count()
        if moved:
            new = readable.join(in_silver, _KEY, how="left_anti")
            tables.append(new.select(*SILVER_ACCESS_LOG.column_names), SILVER_ACCESS_LOG, settings)
            stay = judged.where("reason IS NOT NULL").select(*QUARANTINE_ACCESS_LOG.column_names)
            tables.replace(stay, QUARANTINE_ACCESS_LOG, settings, _predicate(args))
    finally:
        judged.unpersist()
    return moved, all_rows - moved


def from_bronze(spark: SparkSession, settings: Settings, args: Namespace) -> tuple[int, int]:
    """Rows of silver and of quarantine afterwards.

    Only lines that silver or quarantine have now are judged: those of a half-written micro-batch belong to the stream,
    which repeats it.
    """
    silver, quarantine = (
        tables.read(spark, dataset, settings.lake).select(*_KEY)
        for dataset in (SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG)
    )
    lines = _of_days(tables.read(spark, BRONZE_ACCESS_LOG, settings.lake), args).where("NOT is_duplicate")
    lines = lines.join(silver.unionByName(quarantine).distinct(), _KEY, how="left_semi")
    # Not persisted: Spark computes a persisted frame anew when a table that it reads is written, and by then the rows
    # that leave silver would be in neither table.
    judged = judge(lines, quarantining_rules(SILVER_ACCESS_LOG.name)).localCheckpoint()
    kept = judged.where("reason IS NULL").select(*SILVER_ACCESS_LOG.column_names)
    refused = judged.where("reason IS NOT NULL").select(*QUARANTINE_ACCESS_LOG.column_names)
    counts = kept.count(), refused.count()
    # A row is in one of both tables at any moment: cut short, this is mended by running again.
    in_quarantine = tables.read(spark, QUARANTINE_ACCESS_LOG, settings.lake).select(*_KEY)
    newly_refused = refused.join(in_quarantine, _KEY, how="left_anti").localCheckpoint()
    if not newly_refused.isEmpty():
        tables.append(newly_refused.select(*QUARANTINE_ACCESS_LOG.column_names), QUARANTINE_ACCESS_LOG, settings)
    tables.replace(kept, SILVER_ACCESS_LOG, settings, _predicate(args))
    tables.replace(refused, QUARANTINE_ACCESS_LOG, settings, _predicate(args))
    return counts


def _of_days(rows: DataFrame, args: Namespace) -> DataFrame:
    return rows.where(F.expr(_predicate(args)))


def _predicate(args: Namespace) -> str:
    first = f"arrived_on >= DATE'{args.first_day}'" if args.first_day else "true"
    last = f"arrived_on <= DATE'{args.last_day}'" if args.last_day else "true"
    return f"{first} AND {last}"


if __name__ == "__main__":
    sys.exit(upkeep.execute("reprocess", parse_args(sys.argv[1:]), main))
