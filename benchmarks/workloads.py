"""Train and evaluate the pipelines on the shipped samples through the cluster. `make workloads`.

    make workloads ONLY="higgs uk_traffic"

Starts a cluster, MLflow and, where a pipeline reads the log, Kafka and the stream, under a state folder and ports of
its own; runs the applications that the DAG runs, one after the other; and stops everything. Seconds are wall time of
the whole application on an otherwise idle machine.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import DeltaTable

from benchmarks.figures import Figures
from contracts import pipelines
from contracts.datasets import dataset
from contracts.pipelines import PipelineSpec
from contracts.settings import REPOSITORY, Settings
from contracts.windows import TableVersion, Window
from spark_apps.ml import splits
from spark_apps.ml.paired import Difference

PORT_BASE = 28100
MILLRACE = str(REPOSITORY / "bin" / "millrace")
SAMPLES = REPOSITORY / "samples"


class Landing(NamedTuple):
    """What is ingested for a pipeline: the subject and its files."""

    subject: str
    files: str


LANDED = {
    "higgs": Landing("higgs", "higgs/higgs_r*.csv.gz"),
    "uk_traffic": Landing("traffic_counts", "uk_traffic/*.csv.gz"),
}
#: What the chosen model is to reach on the shipped samples; other pipelines have their gate.
GOALS = {"higgs": ">= 0.788", "uk_traffic": "<= 18.3"}
UNITS = {"higgs": "ROC-AUC", "uk_traffic": "vehicles MAE", "access_log_volume": "requests MAE"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="PIPELINE", help=f"some of {', '.join(UNITS)}")
    args = parser.parse_args()
    if unknown := set(args.only) - set(UNITS):
        parser.error(f"found the pipelines {sorted(unknown)}, required some of {', '.join(UNITS)}")
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="millrace-workloads-") as folder:
        os.environ |= {"MILLRACE_STATE": f"{folder}/var", "MILLRACE_PORTS__BASE": str(PORT_BASE)}
        specs = [pipelines.load(name) for name in args.only or UNITS]
        cluster = ("spark-master", "spark-worker-1", "spark-worker-2", "mlflow")
        log = ("kafka", "stream") if any(spec.is_daily for spec in specs) else ()
        subprocess.run([MILLRACE, "up", *cluster, *log], check=True)
        try:
            for spec in specs:
                workload(spec, Path(folder) / spec.name, figures)
        finally:
            subprocess.run([MILLRACE, "down"], check=True)
    print(f"written to {figures.write('workloads').relative_to(REPOSITORY)}")


def workload(spec: PipelineSpec, folder: Path, figures: Figures) -> None:
    """Land the sample, validate, build, train, evaluate and promote; add what the decision says."""
    folder.mkdir()
    rows = _from_log(folder) if spec.is_daily else _landed(spec, folder)
    named, snapshot = ("--pipeline", spec.name), str(folder / "snapshot.json")
    candidate, decision = str(folder / "candidate.json"), str(folder / "decision.json")
    _submit("small", "validate", "--dataset", spec.dataset, *rows)
    _submit("small", "build_features", *named, *rows, "--snapshot", snapshot)
    _submit("small", "validate", "--snapshot", snapshot)
    seconds = _submit(spec.compute_profile, "train", *named, "--snapshot", snapshot, "--candidate", candidate)
    _submit("small", "evaluate", *named, "--candidate", candidate, "--decision", decision)
    _submit("small", "promote", *named, "--decision", decision)
    _report(spec, json.loads(Path(candidate).read_text()), json.loads(Path(decision).read_text()), seconds, figures)


def _report(
    spec: PipelineSpec, candidate: dict[str, Any], decision: dict[str, Any], seconds: float, figures: Figures
) -> None:
    metric, unit = spec.gate.metric, UNITS[spec.name]
    errors = {row["predictor"]: row for row in decision["evidence"]["errors"]}
    ours = errors[f"version {decision['candidate_version']}"]
    figures.add(f"{spec.name}.{metric}", ours[metric], unit, GOALS.get(spec.name, ""))
    for baseline in spec.baseline_names:
        figures.add(f"{spec.name}.{metric}_of_{baseline}", errors[baseline][metric], unit)
    for measure in ("pr_auc", "log_loss", "brier", "ece", "rmse", "poisson_deviance"):
        if measure in ours and measure != metric:
            goal = f"<= {ours['ece_limit']:.4f}" if measure == "ece" else ""
            figures.add(f"{spec.name}.{measure}", ours[measure], measure, goal)
    test = Difference(**decision["evidence"]["against_baseline"][f"version {decision['candidate_version']}"])
    for end, value in (("low", test.low), ("high", test.high)):
        figures.add(f"{spec.name}.paired_loss_difference_{end}", value, "95 % interval", "<= 0")
    figures.add(f"{spec.name}.train_rows", splits.from_json(json.dumps(candidate["split"])).train_rows, "rows")
    figures.add(f"{spec.name}.holdout_rows", ours["rows"], "rows")
    figures.add(f"{spec.name}.train_seconds", seconds, "s")
    print(f"{spec.name}: {decision['reason']}")


def _landed(spec: PipelineSpec, folder: Path) -> tuple[str, str]:
    landing = LANDED[spec.name]
    files = sorted(str(path) for path in SAMPLES.glob(landing.files))
    _submit("small", "ingest", landing.subject, *files)
    newest = DeltaTable(str(dataset(spec.dataset).path(Settings().lake))).version()
    path = folder / "version.json"
    TableVersion(dataset=spec.dataset, table_version=newest).write(path)
    return ("--at", str(path))


def _from_log(folder: Path) -> tuple[str, str]:
    subprocess.run([MILLRACE, "replay", str(SAMPLES / "nasa_http" / "access_09jul1995_am.log")], check=True)
    subprocess.run([MILLRACE, "drain"], check=True)
    today = datetime.now(UTC).date()
    path = folder / "window.json"
    Window(first_day=today, last_day=today).write(path)
    return ("--window", str(path))


def _submit(profile: str, *arguments: str) -> float:
    began = time.monotonic()
    subprocess.run([MILLRACE, "submit", "--profile", profile, *arguments], check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
