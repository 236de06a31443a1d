"""Fit the pipeline's model on a validated snapshot and register it as a candidate, next to its baselines."""

import sys
from argparse import Namespace
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from contracts.errors import ConfigurationError, DependencyUnavailableError
from contracts.settings import Settings
from spark_apps.io import model_runs, ops, outbox, runs, session, snapshots, specs, tracking
from spark_apps.io.pointers import Candidate, Snapshot
from spark_apps.io.registry import Version
from spark_apps.ml import families, training
from spark_apps.ml.fitted import CANDIDATE, Fitted
from spark_apps.ml.measuring import metrics
from spark_apps.ml.splitting import splits
from spark_apps.ml.splitting.splits import Bounds

NAME = "train"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    parser.add_argument("--snapshot", type=Path, required=True, help="snapshot.json that build_features wrote")
    parser.add_argument("--fitted", type=Path, help="folder that fit left on another machine: registered, if there")
    parser.add_argument("--candidate", type=Path, required=True, help="candidate.json to write")
    return parser.parse_args(argv)


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    spec, snapshot = args.pipeline, Snapshot.read_pointer(args.snapshot)
    specs.require_built_by(spec, snapshot)
    snapshots.require_verdict(ops.connect(settings.ops_database), snapshot)
    frame = snapshots.read(spark, snapshot, settings)
    split = splits.of(frame, spec)
    lacking = training.lacking_rows(split, spec)
    if split is None or lacking:
        Candidate(pipeline=spec.name, status="not_enough_data", reason=lacking, snapshot=snapshot).write(args.candidate)
        return runs.Outcome(status="not_enough_data", message=lacking, rows={"snapshot": snapshot.rows})
    # Before the fit: waiting for MLflow costs less than keeping a model for it.
    tracking.require_answer(settings)
    with session.checkpoints(spark, settings):
        fitted, origin = _fitted(frame, split, snapshot, args, settings)
        version = _registered(fitted, origin, split.train(frame), args, settings)
    Candidate(
        pipeline=spec.name, status="registered", reason="", snapshot=snapshot, version=version.version,
        run_id=version.run_id, split=split,
    ).write(args.candidate)  # fmt: skip
    outbox.remove(settings, spec.name, origin["run_key"])
    return runs.Outcome(
        rows={"train": split.train_rows, "holdout": split.holdout_rows},
        metrics=fitted.errors[CANDIDATE].numbers(),
        hashes={"snapshot": snapshot.hash, "spec": spec.hash},
        facts={
            "model": spec.name, "model_version": version.version, "git_revision": origin["git_revision"],
            "errors": metrics.table(fitted.errors, spec), "columns": fitted.columns, "algorithm": fitted.algorithm,
            "chosen": fitted.chosen, "trials": len(fitted.trials),
        },
    )  # fmt: skip


def _fitted(
    frame: DataFrame, split: Bounds, snapshot: Snapshot, args: Namespace, settings: Settings
) -> tuple[Fitted, dict[str, str]]:
    """The fit and the tags of its run: those of another machine or of an earlier try, or new ones."""
    spec, run_key = args.pipeline, runs.context_of(args).key
    asked = model_runs.asked(spec, snapshot, split, run_key=run_key)
    if args.fitted and args.fitted.exists():
        return _fitted_elsewhere(args.fitted, asked)
    kept = outbox.find(settings, spec.name, asked)
    if kept:
        return kept
    fitted = families.fit_and_rate(frame, split, spec)
    return fitted, model_runs.origin(spec, snapshot, split, fitted, revision=specs.git_revision(), run_key=run_key)


def _fitted_elsewhere(folder: Path, asked: dict[str, str]) -> tuple[Fitted, dict[str, str]]:
    """Another machine's fit of this very snapshot, spec and split; the task that registers it gives it its name."""
    of_task = {"run_key": asked["run_key"]}
    found = outbox.stored(folder, {name: value for name, value in asked.items() if name not in of_task})
    if found is None:
        raise ConfigurationError(
            f"Registering the model in {folder}", found="a model of something else, or one that cannot be read",
            required="what fit made of this snapshot by this pipeline file",
            next_step="See the warning above; clear the task that ran fit, and it is fitted anew.",
        )  # fmt: skip
    fitted, tags = found
    return fitted, tags | of_task


def _registered(
    fitted: Fitted, origin: dict[str, str], inputs: DataFrame, args: Namespace, settings: Settings
) -> Version:
    """The new version; where MLflow has gone away, what was fitted is kept for the next try."""
    try:
        with tracking.connected(settings) as client:
            return model_runs.register(
                client, settings, args.pipeline, fitted, inputs, tags=origin, run_name=args.run_id
            )
    except DependencyUnavailableError as error:
        kept = outbox.keep(settings, args.pipeline.name, fitted, origin)
        raise outbox.waiting(error, args.pipeline.name, kept, args.run_id) from error


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
