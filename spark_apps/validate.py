"""Judge tables of one window, or a feature snapshot, by the rules in expectations/; exit 3 if a critical one breaks."""

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.datasets import DATASETS
from contracts.settings import Settings
from contracts.windows import TableVersion, Window
from expectations import rules
from spark_apps.io import ops, runs, validation

NAME = "validate"
TABLES = [name for name in rules.names() if name in DATASETS]


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--dataset", action="append", choices=TABLES, help="table to judge; may be repeated")
    parser.add_argument("--window", type=Path, help="window.json of the run: the arrival days to judge")
    parser.add_argument("--at", type=Path, help="version.json of the run: the version of a whole table to judge")
    parser.add_argument("--snapshot", type=Path, help="snapshot.json of the run: judge that feature snapshot instead")
    args = parser.parse_args(argv)
    if bool(args.dataset) == bool(args.snapshot) or (args.snapshot and (args.window or args.at)):
        parser.error("either --dataset (and --window, where it grows by the day), or --snapshot is required")
    if args.at and (args.window or len(args.dataset) > 1):
        parser.error("--at is the version of one table of --dataset, without --window")
    daily = [name for name in args.dataset or () if "arrived_on" in DATASETS[name].column_names]
    if daily and not args.window:
        parser.error(f"--window is required: {', '.join(daily)} grows by the day")
    return args


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    if args.snapshot:
        subjects = [validation.of_snapshot(spark, settings, args.snapshot)]
    else:
        version = TableVersion.read(args.at) if args.at else None
        asked = Window.read(args.window) if args.window else version
        subjects = [validation.of_table(spark, settings, name, asked) for name in args.dataset]
    engine, context, now = ops.connect(settings.ops_database), runs.context_of(args), datetime.now(UTC)
    judged = [validation.run(subject, settings, engine, context, now) for subject in subjects]
    outcome = validation.outcome(judged)
    validation.require_passed(judged, outcome)
    return outcome


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
