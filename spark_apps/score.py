"""Let the champion forecast every minute of the window that the minutes before it allow, and the next one."""

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.datasets import dataset
from contracts.settings import Settings
from contracts.windows import Window
from spark_apps.io import model_runs, registry, runs, specs, tables, tracking
from spark_apps.ml import scoring

NAME = "score"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    parser.add_argument("--window", type=Path, required=True, help="window.json of the run")
    args = parser.parse_args(argv)
    if args.pipeline.forecast is None:
        parser.error(f"--pipeline {args.pipeline.name} has no table of forecasts")
    return args


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    window, forecasts = Window.read(args.window), dataset(args.pipeline.forecast)
    with tracking.connected(settings) as client:
        champion = registry.by_alias(client, args.pipeline.name, registry.CHAMPION)
        if champion is None:
            return runs.Outcome(
                status="skipped", message=f"{args.pipeline.name} has no champion yet: nothing can be forecast."
            )
        model = model_runs.load(settings, champion)
    spec = champion.as_trained(args.pipeline)
    silver = tables.read(spark, dataset(spec.dataset), settings.lake)
    rows = silver.where(F.col("arrived_on").between(window.first_day, window.last_day))
    # Read twice: for what it covers and for the commit.
    made = scoring.forecast(rows, model, spec, champion.columns).cache()
    covered = scoring.covered(made, spec)
    if covered:
        stamped = made.select(
            str(spec.ordered_by), "forecast", F.lit(champion.name).alias("model_name"),
            F.lit(champion.version).alias("model_version"), F.lit(datetime.now(UTC)).alias("scored_at"),
        )  # fmt: skip
        tables.create_if_missing(spark, forecasts, settings)
        tables.replace(stamped, forecasts, settings, scoring.within(covered, spec))
    facts = {"model": champion.name, "model_version": champion.version, "fragments": len(covered)}
    return runs.Outcome(rows={"forecasts": sum(fragment.rows for fragment in covered)}, facts=facts)


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
