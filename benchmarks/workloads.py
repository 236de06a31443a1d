"""Train and evaluate the pipelines on the shipped samples through the cluster. `make workloads`.

    make workloads ONLY="higgs uk_traffic"

Starts a cluster, MLflow and, where a pipeline reads the log, Kafka and the stream, under a state folder and ports of
its own; runs the applications that the DAG runs, one after the other, and each pipeline's peer outside Spark on the
same rows; and stops everything. Seconds are wall time of the whole application on an otherwise idle machine.
"""

import argparse
import json
import os
import subprocess
import tempfile
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import DeltaTable

from benchmarks import peers
from benchmarks.figures import Figures
from contracts import pipelines
from contracts.datasets import dataset
from contracts.pipelines import PipelineSpec
from contracts.pipelines.algorithms import TASKS
from contracts.results import RunResult
from contracts.settings import REPOSITORY, Settings
from contracts.windows import TableVersion, Window
from spark_apps.ml.fitted import CANDIDATE
from spark_apps.ml.measuring.paired import Difference

PORT_BASE = 28100
MILLRACE = str(REPOSITORY / "bin" / "millrace")
SAMPLES = REPOSITORY / "samples"


class Landing(NamedTuple):
    """What is ingested for a pipeline: the subject and its files."""

    subject: str
    files: str


LANDED = {
    "higgs": [Landing("higgs", "higgs/higgs_r*.csv.gz")],
    "uk_traffic": [Landing("traffic_counts", "uk_traffic/*.csv.gz")],
    "movielens": [Landing("movie_ratings", "movielens/ml-latest-small.zip")],
    "movielens_tastes": [
        Landing("movie_ratings", "movielens/ml-latest-small.zip"),
        Landing("movies", "movielens/ml-latest-small.zip"),
    ],
}
#: What is asked for on the shipped samples, by figure; peers have none.
GOALS = {
    "higgs.roc_auc.random_forest": ">= 0.788",
    "higgs.roc_auc.xgboost": ">= 0.79",
    "uk_traffic.mae.gbt": "<= 18.3",
    "uk_traffic.mae.generalized_linear": "<= 19.2",
    "uk_traffic.mae.xgboost": "<= 17.6",
    "movielens.ndcg.implicit_als": ">= 0.109",
    "movielens.rmse.residual_als": "<= 0.886",
}
#: Measures that are shown beside the gate's, where a predictor has them.
BESIDE = ("pr_auc", "log_loss", "brier", "ece", "rmse", "coverage", "precision", "recall", "clusters")


def main() -> None:
    known = pipelines.names()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="PIPELINE", help=f"some of {', '.join(known)}")
    args = parser.parse_args()
    if unknown := set(args.only) - set(known):
        parser.error(f"found the pipelines {sorted(unknown)}, required some of {', '.join(known)}")
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="millrace-workloads-") as folder:
        os.environ |= {"MILLRACE_STATE": f"{folder}/var", "MILLRACE_PORTS__BASE": str(PORT_BASE)}
        specs = [pipelines.load(name) for name in args.only or known]
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
    """Land the sample, validate, build, train, evaluate and promote; add what came of it, and what its peer says."""
    folder.mkdir()
    rows = _from_log(folder) if spec.is_daily else _landed(spec, folder)
    named, snapshot = ("--pipeline", spec.name), str(folder / "snapshot.json")
    candidate, decision = str(folder / "candidate.json"), str(folder / "decision.json")
    _submit("small", "validate", "--dataset", spec.dataset, *rows)
    if spec.beside:
        _submit("small", "validate", "--dataset", spec.beside)
    _submit("small", "build_features", *named, *rows, "--snapshot", snapshot)
    _submit("small", "validate", "--snapshot", snapshot)
    fitted = ("--snapshot", snapshot, "--candidate", candidate, "--run-id", spec.name)
    _submit(spec.compute_profile, "train", *named, *fitted)
    _submit("small", "evaluate", *named, "--candidate", candidate, "--decision", decision)
    _submit("small", "promote", *named, "--decision", decision)
    [path] = Settings().runs.glob(f"cli/{spec.name}/train/*/*/result.json")
    _report(spec, RunResult.read(path), figures)
    _decided(spec, json.loads(Path(decision).read_text()), figures)
    peers.compare(spec, json.loads(Path(candidate).read_text()), figures)


def _report(spec: PipelineSpec, trained: RunResult, figures: Figures) -> None:
    """Everybody's measure by the gate's metric, what else the candidate is measured by, rows and seconds."""
    metric, facts = spec.gate.metric, trained.facts
    for row in facts["errors"]:
        own = row["predictor"] == CANDIDATE
        who = facts["algorithm"] if own else row["predictor"]
        # Before its calibration the chosen algorithm stands there by its own name as well.
        who = f"{who}_calibrated" if own and spec.calibration else who
        for measure in (metric, *(BESIDE if own or who in TASKS else ())):
            name = f"{spec.name}.{measure}.{who}"
            if row.get(measure) is not None:
                within = f"<= {row['ece_limit']:.4f}" if measure == "ece" and own else ""
                figures.add(name, row[measure], measure, within or GOALS.get(name, ""))
    for side, rows in trained.rows.items():
        figures.add(f"{spec.name}.{side}_rows", rows, "rows")
    seconds = (trained.finished_at - trained.started_at).total_seconds()
    figures.add(f"{spec.name}.train_seconds", seconds, "s, all searches and fits")


def _decided(spec: PipelineSpec, decision: dict[str, Any], figures: Figures) -> None:
    """The paired test of the candidate beside the gate's baseline: below 0 it is better, and not by luck."""
    test = Difference(**decision["evidence"]["against_baseline"][f"version {decision['candidate_version']}"])
    for end, value in (("low", test.low), ("high", test.high)):
        figures.add(f"{spec.name}.loss_less_that_of_{spec.gate.baseline}_{end}", value, "95 % interval", "<= 0")
    print(f"{spec.name}: {decision['reason']}")


def _landed(spec: PipelineSpec, folder: Path) -> tuple[str, str]:
    for landing in LANDED[spec.name]:
        _submit("small", "ingest", landing.subject, *sorted(str(path) for path in SAMPLES.glob(landing.files)))
    newest = DeltaTable(str(dataset(spec.dataset).path(Settings().lake))).version()
    path = folder / "version.json"
    TableVersion(dataset=spec.dataset, table_version=newest).write(path)
    return ("--at", str(path))


def _from_log(folder: Path) -> tuple[str, str]:
    """The window of the day on which the log arrived: all pipelines that read it share one replay."""
    path, arrived_on = folder / "window.json", _replayed()
    Window(first_day=arrived_on, last_day=arrived_on).write(path)
    return ("--window", str(path))


@cache
def _replayed() -> date:
    subprocess.run([MILLRACE, "replay", str(SAMPLES / "nasa_http" / "access_09jul1995_am.log")], check=True)
    subprocess.run([MILLRACE, "drain"], check=True)
    return datetime.now(UTC).date()


def _submit(profile: str, *arguments: str) -> None:
    subprocess.run([MILLRACE, "submit", "--profile", profile, *arguments], check=True)


if __name__ == "__main__":
    main()
