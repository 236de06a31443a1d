"""Carry out the decision of evaluate: move the champion alias, or leave it, and write why into the promotion ledger."""

import sys
from argparse import Namespace
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.settings import Settings
from spark_apps.io import ops, registry, runs, specs, tracking
from spark_apps.io.pointers import Decision

NAME = "promote"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    parser.add_argument("--decision", type=Path, required=True, help="decision.json that evaluate wrote")
    return parser.parse_args(argv)


def main(args: Namespace, settings: Settings, _spark: SparkSession) -> runs.Outcome:
    decision = Decision.read(args.decision, pipeline=args.pipeline.name)
    engine = ops.connect(settings.ops_database)
    # Two runs of one pipeline must not both believe that they replace the same champion.
    with (
        registry.alone(settings, decision.pipeline, f"Promoting {decision.pipeline}"),
        tracking.connected(settings) as client,
    ):
        is_new = registry.carry_out(client, engine, decision, run_key=runs.context_of(args).key)
    known = "" if is_new else " (carried out before)"
    return runs.Outcome(
        status="done" if decision.promote else "skipped", message=decision.reason + known, facts=decision.facts
    )


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
