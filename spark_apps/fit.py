"""Fit the pipeline's model on a copy of a validated snapshot and leave it in a folder, for train to register.

For a machine that reaches neither the ops database nor MLflow, such as a node of an HPC cluster: train looks up the
verdict, and the versions of both, when the model is back.
"""

import sys
from argparse import Namespace
from hashlib import sha256
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.results import Artefact
from contracts.settings import Settings
from spark_apps.io import model_runs, outbox, runs, session, snapshots, specs
from spark_apps.io.pointers import Snapshot
from spark_apps.ml import families, training
from spark_apps.ml.fitted import CANDIDATE
from spark_apps.ml.splitting import splits

NAME = "fit"
#: Folder below ``--out`` that train is told of.
FITTED = "fitted"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    parser.add_argument("--snapshot", type=Path, required=True, help="snapshot.json that build_features wrote")
    parser.add_argument("--rows", type=Path, required=True, help="copy of the snapshot's folder")
    parser.add_argument("--out", type=Path, required=True, help=f"folder to leave {FITTED}/ in")
    return parser.parse_args(argv)


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    spec, snapshot = args.pipeline, Snapshot.read_pointer(args.snapshot)
    specs.require_built_by(spec, snapshot)
    snapshots.adopt(snapshot, args.rows, settings)
    frame = snapshots.read(spark, snapshot, settings)
    split = splits.of(frame, spec)
    lacking = training.lacking_rows(split, spec)
    if split is None or lacking:
        # Nothing is left in the folder, so train finds out the same.
        return runs.Outcome(message=lacking, rows={"snapshot": snapshot.rows})
    with session.checkpoints(spark, settings):
        fitted = families.fit_and_rate(frame, split, spec)
        tags = model_runs.origin(
            spec, snapshot, split, fitted, revision=_revision(snapshot), run_key=runs.context_of(args).key
        )
        folder = outbox.store(args.out / FITTED, fitted, tags)
    return runs.Outcome(
        rows={"train": split.train_rows, "holdout": split.holdout_rows},
        metrics=fitted.errors[CANDIDATE].numbers(),
        hashes={"snapshot": snapshot.hash, "spec": spec.hash},
        artefacts=[
            Artefact(path=str(path.relative_to(args.out)), sha256=sha256(path.read_bytes()).hexdigest())
            for path in sorted(folder.rglob("*")) if path.is_file()
        ],
        facts={"algorithm": fitted.algorithm, "chosen": fitted.chosen, "trials": len(fitted.trials)},
    )  # fmt: skip


def _revision(snapshot: Snapshot) -> str:
    """Of the code: a copy of it on another machine is no repository, but the run that staged it had one."""
    own = specs.git_revision()
    return own if own != specs.UNKNOWN else str(snapshot.provenance.get("git_revision", own))


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
