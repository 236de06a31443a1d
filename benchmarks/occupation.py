"""One model of everybody's rows against models of three owners, on the occupation data. `make occupation-study`.

    make occupation-study JOBS=AI_Impact_on_Jobs_2030.csv

Without a file: the one beside the repository, or else made-up rows (`--made-up` asks for those). Rows are ingested and
validated, then `compare_partitioned_training` runs on three workers of one core each, one for every owner; five more
times it starts only to time the first training of a fresh application. Use is from Spark's event log.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import clusters, event_log, occupation_rows
from benchmarks.clusters import Shape
from benchmarks.event_log import Usage
from benchmarks.figures import RESULTS, Figures
from contracts import pipelines
from contracts.settings import REPOSITORY
from spark_apps.ml.measuring.repeats import interval
from spark_apps.ml.partitioned import contest

PUBLISHED = REPOSITORY.parent / "shared" / "data" / "ai_jobs_2030" / "AI_Impact_on_Jobs_2030_2400.csv"
APPS = REPOSITORY / "spark_apps"
#: A worker for each owner.
CLUSTER = Shape(workers=3, cores=1)
COLD = 5
#: Contenders that are trained, by their place in the names of job groups.
TRAINED = (contest.GLOBAL, contest.FEDERATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="the published file, as CSV")
    parser.add_argument("--made-up", action="store_true", help="rows of the same columns that nobody observed")
    parser.add_argument("--cold", type=int, default=COLD, help="fresh applications for each cold time")
    args = parser.parse_args()
    study = pipelines.load_study("occupation_risk")
    with tempfile.TemporaryDirectory(prefix="millrace-occupation-") as folder:
        home = Path(folder)
        path = args.file or (PUBLISHED if PUBLISHED.exists() and not args.made_up else None)
        if path is None:
            path = home / "made_up.csv"
            occupation_rows.write(path)
        found = run(path, home, args.cold)
        found["source"] = "made-up rows" if path.name == "made_up.csv" else path.name
    figures = Figures()
    report(found, study.name, figures)
    kept = RESULTS / "occupation" / "study.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"written to {figures.write('occupation').relative_to(REPOSITORY)} and {kept.relative_to(REPOSITORY)}")


def run(path: Path, home: Path, cold: int) -> dict[str, Any]:
    """``study.json`` of the application, ``use`` by owners, columns and contender, and ``cold`` seconds."""
    state = home / "var"
    clusters.submit(None, APPS / "ingest.py", "jobs", str(path.resolve()), state=state, log=home / "ingest")
    clusters.submit(None, APPS / "validate.py", "--dataset", "bronze.jobs", state=state, log=home / "validate")
    app = APPS / "compare_partitioned_training.py"
    clusters.submit(CLUSTER, app, "--out", str(home / "study.json"), state=state, log=home / "study")
    found = json.loads((home / "study.json").read_text())
    found["use"] = use(event_log.by_group(home / "study"))
    found["cold"] = {what: [] for what in (contest.GLOBAL, contest.EACH)}
    for n in range(cold):
        for what, seconds in found["cold"].items():
            out = home / f"cold-{what}-{n}.json"
            log = home / f"log-{what}-{n}"
            clusters.submit(CLUSTER, app, "--out", str(out), "--cold", what, state=state, log=log)
            seconds.append(json.loads(out.read_text())["seconds"])
    found["warm"] = warm(found.pop("measured"))
    return found


def warm(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean seconds of a training, and half of their 95 % interval; the first repeat, which compiles, left out."""
    by_setting: dict[tuple[str, str, str], list[float]] = {}
    for row in measured:
        if row["repeat"] and row["contender"] in (*TRAINED, contest.EACH):
            setting = (row["owners"], row["columns"], row["contender"])
            by_setting.setdefault(setting, []).append(row["seconds"])
    return [
        {"owners": owners, "columns": columns, "contender": contender, "seconds": interval(seconds, test_share=0.0)}
        for (owners, columns, contender), seconds in by_setting.items()
    ]


def use(groups: dict[str, Usage]) -> list[dict[str, Any]]:
    """Mean use of one training; of the owners' models together. Groups are ``owners/columns/repeat/contender``."""
    by_setting: dict[tuple[str, str, str], dict[str, list[Usage]]] = {}
    for name, usage in groups.items():
        parts = name.split("/")
        if len(parts) == 4:
            owners, columns, repeat, contender = parts
            setting = (owners, columns, contender if contender in TRAINED else contest.EACH)
            by_setting.setdefault(setting, {}).setdefault(repeat, []).append(usage)
    found = []
    for (owners, columns, contender), repeats in by_setting.items():
        means = event_log.mean([event_log.total(usages) for usages in repeats.values()])
        # On how many executors each of its trainings ran: of owners' models, the sum over owners.
        spread = statistics.mean(sum(len(usage.executors) for usage in usages) for usages in repeats.values())
        found.append({"owners": owners, "columns": columns, "contender": contender, "executors": spread} | means)
    return found


def report(found: dict[str, Any], study: str, figures: Figures) -> None:
    """The headline figures; everything else is in the kept file."""
    for row in found["summary"]:
        mean, half = row["macro_f1"]
        name = f"{study}.{row['owners']}.{row['columns'].replace(' ', '_')}.{row['contender']}"
        figures.add(f"{name}.macro_f1", mean, f"+- {half:.4f} (95 %)")
    for what, seconds in found["cold"].items():
        if seconds:
            figures.add(f"{study}.cold.{what}", statistics.mean(seconds), "s, first training of an application")


if __name__ == "__main__":
    main()
