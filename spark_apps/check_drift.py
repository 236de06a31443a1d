"""Hold validated rows that the champion does not know against the very snapshot it was trained on, and decide."""

import sys
from argparse import Namespace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.errors import ConfigurationError
from contracts.results import Artefact
from contracts.settings import Settings
from contracts.windows import TableVersion, Window
from spark_apps.io import drift_records, drift_report, ops, registry, runs, specs, tracking, watching
from spark_apps.io.drift_records import DriftCheck
from spark_apps.ml.drift import deciding

NAME = "check_drift"


def parse_args(argv: list[str]) -> Namespace:
    parser = runs.arguments(NAME, __doc__)
    parser.add_argument("--pipeline", type=specs.pipeline, required=True, metavar="NAME")
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--window", type=Path, help="window.json of the run; without it the rows last validated")
    rows.add_argument("--at", type=Path, help="version.json of the run: a whole table")
    args = parser.parse_args(argv)
    if (args.window and not args.pipeline.is_daily) or (args.at and args.pipeline.is_daily):
        parser.error(f"{args.pipeline.name} needs {'--window' if args.pipeline.is_daily else '--at'}, or neither")
    return args


def main(args: Namespace, settings: Settings, spark: SparkSession) -> runs.Outcome:
    spec, engine = args.pipeline, ops.connect(settings.ops_database)
    if spec.drift is None:
        raise ConfigurationError(
            f"Checking {spec.name} for drift", found="no drift policy", required="the field drift in its file",
            next_step=f"Add it to pipelines/{spec.name}.yaml; docs/drift.md says how.",
        )  # fmt: skip
    asked = Window.read(args.window) if args.window else TableVersion.read(args.at) if args.at else None
    with tracking.connected(settings) as client:
        champion = registry.by_alias(client, spec.name, registry.CHAMPION)
    if champion is None:
        return runs.Outcome(status="skipped", message=f"{spec.name} has no champion yet: nothing to compare with.")
    seen = watching.look(spark, settings, engine, spec, champion, asked)
    run_key = runs.context_of(args).key
    earlier = drift_records.earlier_states(engine, spec.name, champion.version, window=seen.window)
    decision = deciding.decide(seen.findings, spec.drift, earlier)
    report = settings.drift_reports / spec.name / f"{sha256(run_key.encode()).hexdigest()[:16]}.html"
    check = DriftCheck(
        run_key=run_key, at=datetime.now(UTC), pipeline=spec.name, champion_version=champion.version,
        reference=champion.tags["snapshot"], window=seen.window, begins=seen.begins, decision=decision,
        report=str(report),
    )  # fmt: skip
    drift_report.write(report, drift_report.page(check, seen.findings, seen.counts, seen.expected))
    drift_records.record(engine, check, seen.findings.shifts)
    return runs.Outcome(
        status="not_enough_data" if decision.state == "not_enough_data" else "done", message=decision.reason,
        rows={"window": seen.rows}, metrics=seen.metrics,
        artefacts=[Artefact(path=str(report), sha256=sha256(report.read_bytes()).hexdigest())],
        facts={
            **decision.model_dump(), "window": seen.window, "reference": check.reference, "report": str(report),
            "champion_version": champion.version,
        },
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(runs.execute(NAME, parse_args, main))
