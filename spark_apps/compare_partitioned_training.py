"""Train one model of everybody's rows, and models that leave rows with their owners; measure all on the same rows."""

import json
import sys
from argparse import Namespace
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.datasets import dataset
from contracts.files import write_atomically
from contracts.settings import Settings
from spark_apps.io import ops, runs, specs, studying, tables, verdicts
from spark_apps.ml.partitioned import contest

NAME = "compare_partitioned_training"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--study", type=specs.study, default="occupation_risk", metavar="NAME")
    parser.add_argument("--out", type=Path, required=True, help="study.json to write")
    about = "time only this, as the first training of this process: what a fresh application waits for"
    parser.add_argument("--cold", choices=(contest.GLOBAL, contest.EACH), help=about)
    return parser.parse_args(argv)


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    spec = args.study
    verdict = verdicts.newest(ops.connect(settings.ops_database), spec.dataset)
    table = tables.read(spark, dataset(spec.dataset), settings.lake, at_version=verdict.table_version)
    used = dict.fromkeys((*spec.key, spec.label, *spec.categorical, *spec.numeric))
    rows = table.select(*used).dropna()
    studying.require_rows(rows, spec)
    if args.cold:
        found = {"cold": args.cold, "seconds": studying.cold(spark, rows, spec, args.cold)}
    else:
        found = studying.whole(spark, rows, spec)
    facts = {"study": spec.name, "table_version": verdict.table_version, "verdict": verdict.id, **found}
    write_atomically(args.out, json.dumps(facts, indent=1))
    return runs.Outcome(rows={"validated": verdict.rows, "used": rows.count()}, facts={"out": str(args.out)})


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
