"""Compare the streamed gold tables with a batch recomputation at the same silver version: equal, or exit 4."""

import sys
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.datasets import GOLD_OF_ACCESS_LOG
from contracts.errors import ReconciliationError
from contracts.schema import Dataset
from contracts.settings import Settings
from contracts.windows import Window
from spark_apps.io import reconciliation, runs
from spark_apps.io.reconciliation import Comparison
from spark_apps.transforms.access_log_gold import GOLD_TRANSFORMS

NAME = "reconcile"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--window", required=True, type=Path, help="window.json of the run; named in the result")
    return parser.parse_args(argv)


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    window = Window.read(args.window)

    def compare(gold: Dataset) -> Comparison:
        return reconciliation.compare(spark, gold, settings, GOLD_TRANSFORMS[gold.name])

    # Planning keeps one core busy while the other waits: two tables at a time.
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(compare, GOLD_OF_ACCESS_LOG))
    outcome = runs.Outcome(
        rows={comparison.dataset: comparison.rows for comparison in found},
        facts={"window": window.model_dump(mode="json"), "comparisons": [c.model_dump() for c in found]},
        message="streamed and batch gold tables are equal",
    )
    if all(comparison.is_equal for comparison in found):
        return outcome
    differing = "; ".join(
        f"{c.dataset} version {c.table_version}: {c.only_streamed} rows only streamed, "
        f"{c.only_batch} only in batch, keys {c.keys}"
        for c in found
        if not c.is_equal
    )
    error = ReconciliationError(
        "Reconciling gold with silver",
        found=differing,
        required="equal tables at the same silver version",
        next_step="Keep the lake as it is and look at these keys; docs/runbooks/access_log_daily.md says how.",
    )
    error.outcome = outcome
    raise error


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
