"""Build the feature snapshot of a pipeline from validated rows, and refuse features that look ahead."""

import sys
from argparse import Namespace
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.datasets import dataset
from contracts.errors import ConfigurationError
from contracts.pipelines import PipelineSpec
from contracts.settings import Settings
from contracts.windows import TableVersion, Window
from spark_apps.io import ops, regimes, runs, snapshots, specs, tables, verdicts
from spark_apps.io.verdicts import Verdict
from spark_apps.ml import features
from spark_apps.ml.drift import window

NAME = "build_features"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--window", type=Path, help="window.json of the run: days of arrival")
    rows.add_argument("--at", type=Path, help="version.json of the run: a whole table at that version")
    parser.add_argument("--snapshot", type=Path, required=True, help="snapshot.json to write")
    args = parser.parse_args(argv)
    if args.pipeline.is_daily != bool(args.window):
        daily, whole = "--window: its dataset grows by the day", "--at: its dataset is taken whole"
        parser.error(f"{args.pipeline.name} needs {daily if args.pipeline.is_daily else whole}")
    return args


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    spec, asked = args.pipeline, Window.read(args.window) if args.window else TableVersion.read(args.at)
    if isinstance(asked, TableVersion) and asked.dataset != spec.dataset:
        raise ConfigurationError(
            f"Building {spec.snapshot_name}", found=asked.about, required=f"a version of {spec.dataset}",
            next_step="Pass the version.json of a run about this table.",
        )  # fmt: skip
    engine = ops.connect(settings.ops_database)
    verdict = verdicts.of(engine, spec.dataset, asked)
    other = verdicts.newest(engine, spec.beside) if spec.beside else None
    rows = _judged(spark, settings, verdict)
    if isinstance(asked, Window):
        rows = rows.where(F.col("arrived_on").between(asked.first_day, asked.last_day))
    # Read by the guard and by the snapshot; the rows themselves may be many, the features are fewer or as many.
    built = features.build(rows, spec, _judged(spark, settings, other) if other else None).cache()
    features.refuse_look_ahead(rows, built, spec)
    provenance = {
        "dataset": spec.dataset, "table_version": verdict.table_version, "verdict": verdict.id,
        "content_hash": verdict.content_hash, "rows": asked.model_dump(mode="json"), "spec_hash": spec.hash,
        "git_revision": specs.git_revision(), "run_key": runs.context_of(args).key,
    }  # fmt: skip
    # What a champion of this snapshot is used to; rows that lack something are left out of the snapshot itself.
    provenance["missing"] = window.missing_shares(built, [c for c in (*spec.features.columns, spec.label) if c])
    if other:
        provenance["beside"] = other.model_dump(include={"dataset", "table_version", "id", "content_hash"})
    usable = features.trainable(built, spec)
    if spec.drift and spec.drift.train_on == "since_drift":
        since = regimes.since_drift(spark, settings, engine, spec, usable)
        if since is not None and since.count() >= _required_rows(spec):
            usable, provenance[regimes.SINCE_DRIFT] = since, True
    snapshot = snapshots.write(usable, spec.snapshot_name, settings, key=spec.key, provenance=provenance)
    snapshot.write_pointer(args.snapshot)
    required = _required_rows(spec)
    enough = snapshot.rows >= required
    return runs.Outcome(
        status="done" if enough else "not_enough_data",
        message="" if enough else f"{snapshot.rows} complete rows; training needs {required}.",
        rows={"validated": verdict.rows, "candidates": built.count(), "snapshot": snapshot.rows},
        hashes={"snapshot": snapshot.hash, "spec": spec.hash}, facts=provenance,
    )  # fmt: skip


def _required_rows(spec: PipelineSpec) -> int:
    return spec.split.min_train_rows + spec.split.min_holdout_rows


def _judged(spark: SparkSession, settings: Settings, verdict: Verdict) -> DataFrame:
    return tables.read(spark, dataset(verdict.dataset), settings.lake, at_version=verdict.table_version)


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
