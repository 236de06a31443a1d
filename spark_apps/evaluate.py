"""Rate candidate, champion and baselines on the same newest rows, and decide whether the champion changes."""

import sys
from argparse import Namespace
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.settings import Settings
from spark_apps.io import model_runs, ops, registry, runs, snapshots, specs, tracking
from spark_apps.io.pointers import Candidate, Decision
from spark_apps.ml import choosing, comparing
from spark_apps.ml.splitting import splits

NAME = "evaluate"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    parser.add_argument("--candidate", type=Path, required=True, help="candidate.json that train wrote")
    parser.add_argument("--decision", type=Path, required=True, help="decision.json to write")
    return parser.parse_args(argv)


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    spec, candidate = args.pipeline, Candidate.read(args.candidate, pipeline=args.pipeline.name)
    specs.require_built_by(spec, candidate.snapshot)
    if candidate.split is None or candidate.version is None:
        decision = Decision.without_candidate(candidate)
        decision.write(args.decision)
        return runs.Outcome(status="not_enough_data", message=decision.reason, facts=decision.facts)
    frame, split = snapshots.read(spark, candidate.snapshot, settings), candidate.split
    with tracking.connected(settings) as client:
        champion = registry.by_alias(client, spec.name, registry.CHAMPION)
        versions = [v for v in (registry.by_number(client, spec.name, candidate.version), champion) if v]
        models = {v.label: model_runs.load(settings, v) for v in versions if v.can_answer(spec, frame.columns)}
    if champion and champion.label in models:
        split = splits.unseen_by_both(frame, split, champion.split, min_rows=spec.split.min_holdout_rows)
    found = comparing.compare(split.train(frame), split.holdout(frame), models, spec, candidate=versions[0].label)
    own = registry.rated(versions[0], split, found, trained_on=candidate.snapshot)
    theirs = registry.rated(champion, split, found) if champion else None
    baselines = {name: found.errors[name] for name in spec.baseline_names}
    choice = choosing.choose(own, theirs, baselines, spec.gate)
    evidence = found.evidence(spec)
    decision = Decision(
        pipeline=spec.name, promote=choice.promote, reason=choice.reason, snapshot_hash=candidate.snapshot.hash,
        candidate_version=candidate.version, champion_version=champion.version if champion else None,
        evidence={**evidence, "holdout": split.model_dump(mode="json"), "gate": spec.gate.model_dump()},
    )  # fmt: skip
    decision.write(args.decision)
    if not choice.promote:  # nothing is left to do for promote, which then need not even start
        with registry.alone(settings, spec.name, f"Keeping {spec.name}"), tracking.connected(settings) as client:
            registry.carry_out(client, ops.connect(settings.ops_database), decision, run_key=runs.context_of(args).key)
    return runs.Outcome(
        message=choice.reason, rows={"holdout": split.holdout_rows},
        metrics=own.errors.numbers() if own.errors else {}, facts={**decision.facts, "errors": evidence["errors"]},
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
