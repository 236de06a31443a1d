"""Train a registered version again from its record alone, and compare every measure with the recorded one."""

import sys
from argparse import Namespace
from math import inf, isnan

from pyspark.sql import SparkSession

from contracts.errors import QualityGateError
from contracts.settings import Settings
from spark_apps.io import model_runs, registry, runs, session, snapshots, specs, tracking
from spark_apps.ml import families
from spark_apps.ml.fitted import CANDIDATE

NAME = "repeat"
#: What order of summation may change; rows are sorted and spread as recorded, so that it should change nothing.
TOLERANCE = 1e-9


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    parser.add_argument("--version", type=int, required=True, help="number of the registered version")
    return parser.parse_args(argv)


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    with tracking.connected(settings) as client:
        record = model_runs.record(client, registry.by_number(client, args.pipeline.name, args.version))
    frame = snapshots.read(spark, record.snapshot, settings)
    # The algorithm that was chosen, with what was chosen for it: a search would only find it again.
    with session.checkpoints(spark, settings):
        found = families.fit_and_rate(frame, record.split, record.spec).errors[CANDIDATE]
    differences = {name: apart(value, found.model_dump().get(name)) for name, value in record.measures.items()}
    outcome = runs.Outcome(
        message=f"{args.pipeline.name} version {args.version} agrees to {max(differences.values()):.1e}",
        metrics=found.numbers(), hashes={"snapshot": record.snapshot.hash, "spec": record.spec.hash},
        facts={"recorded": record.measures, "differences": differences},
    )  # fmt: skip
    different = {name: value for name, value in differences.items() if not value <= TOLERANCE}
    if different:
        said = ", ".join(f"{name} differs by {value:.2e}" for name, value in different.items())
        error = QualityGateError(
            f"Repeating {args.pipeline.name} version {args.version}", found=said,
            required=f"the recorded measures, to {TOLERANCE}",
            next_step=f"Compare git revision and packages with the record: it was trained at {record.revision}.",
        )  # fmt: skip
        error.outcome = outcome
        raise error
    return outcome


def apart(recorded: float | None, found: float | None) -> float:
    """How far two measures are from each other; what only one of them has is infinitely far."""
    if recorded is None or found is None:
        return 0.0 if recorded is found else inf
    return 0.0 if isnan(recorded) and isnan(found) else abs(recorded - found)


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
