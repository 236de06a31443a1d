"""What more cores, more workers and more data do to two workloads, and what little memory, skew and broadcasts do.

    make bench-scaling PARTS="[shapes] [spill] [skew] [broadcast]"

Every piece is one Spark application on a cluster of that shape; the first run of its work compiles and is not counted.
CPU seconds are sums over tasks from the event log: on two cores, wall time also pays for everything beside them.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import clusters, event_log, long_log
from benchmarks.clusters import Shape
from benchmarks.figures import RESULTS, Figures
from contracts.landed_files import HIGGS_FEATURES
from contracts.settings import REPOSITORY
from spark_apps.ml.measuring.repeats import interval

WORK = REPOSITORY / "benchmarks" / "scaling_work.py"
HIGGS = REPOSITORY / "samples" / "higgs" / "higgs_rows_0_9999_rounded.csv.gz"
SHAPES = {"1 worker, 1 core": Shape(1, 1), "1 worker, 2 cores": Shape(1, 2), "2 workers, 1 core each": Shape(2, 1)}
ONE = next(iter(SHAPES))
#: Log lines and rows of HIGGS; ten times as many for ``x10``.
LINES, ROWS = 150_000, 10_000
TIMES = {"x1": 1, "x10": 10}
REPEATS = 5
#: Sorted within this heap: a few times as much data as it holds for sorting.
SPILLED_ROWS, SMALL_MIB = 8_000_000, 512
NAMES = (10_000, 100_000, 1_000_000, 4_000_000)


@dataclass
class Study:
    """Where it is done and what was found: rows of one table for each part."""

    home: Path
    figures: Figures
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    runs: int = 0

    def run(self, shape: Shape, work: str, *arguments: str, repeats: int = REPEATS, **conf: str) -> dict[str, Any]:
        """``seconds`` (wall, of each repeat), ``answer``, and ``use`` of one repeat on average."""
        self.runs += 1
        place = self.home / f"{self.runs}"
        out = place / "out.json"
        place.mkdir()
        told = (work, "--out", str(out), "--repeats", str(repeats), *arguments)
        clusters.submit(shape, WORK, *told, state=self.home / "var", log=place / "log", **conf)
        found: dict[str, Any] = json.loads(out.read_text())
        groups = event_log.by_group(place / "log")
        each = [usage for name, usage in groups.items() if name.startswith("repeat")]
        return found | {"use": event_log.mean(each)}


def main() -> None:
    parts: dict[str, Callable[[Study], None]] = {
        "shapes": shapes, "spill": spill, "skew": skew, "broadcast": broadcast,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(parts)}")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(parts):
        parser.error(f"found the parts {sorted(unknown)}, required some of {', '.join(parts)}")
    with tempfile.TemporaryDirectory(prefix="millrace-scaling-") as folder:
        study = Study(Path(folder), Figures())
        for part in args.parts or parts:
            parts[part](study)
            keep(study)


def shapes(study: Study) -> None:
    """1 -> 2 cores and 1 -> 2 workers, two workloads, ten times the data."""
    rows = study.tables.setdefault("shapes", [])
    for times, factor in TIMES.items():
        log, table = study.home / f"{times}.log", study.home / f"{times}.parquet"
        lines = long_log.write_days(log, LINES * factor)
        higgs(table, factor)
        for work, path, size in (("parse", log, lines), ("train", table, ROWS * factor)):
            alone: list[float] = []
            for name, shape in SHAPES.items():
                found = study.run(shape, work, "--input", str(path))
                seconds = found["seconds"]
                alone = alone or seconds
                speed_up, half = ratio(alone, seconds)
                mean, within = interval(seconds, test_share=0.0)
                rows.append(
                    {"work": work, "rows": size, "times": times, "shape": name, "seconds": [mean, within],
                     "speed_up": [speed_up, half], "use": found["use"]}
                )  # fmt: skip
                if name != ONE:
                    label = f"{work}.{times}.{name.replace(' ', '_').replace(',', '')}"
                    study.figures.add(f"{label}.speed_up", speed_up, f"times one core, +- {half:.2f} (95 %)")
                    study.figures.add(f"{label}.cpu", found["use"]["cpu_s"], "CPU s")


def spill(study: Study) -> None:
    """A sort of more data than the executor has memory; it must end, sorted and complete."""
    found = study.run(Shape(1, 1, SMALL_MIB), "spill", "--rows", str(SPILLED_ROWS), repeats=2)
    if found["answer"] != SPILLED_ROWS or not found["in_order"]:
        raise AssertionError(f"the sort lost rows or order: {found}")
    roomy = study.run(Shape(1, 1, 4 * SMALL_MIB), "spill", "--rows", str(SPILLED_ROWS), repeats=2)
    for heap, each in ((SMALL_MIB, found), (4 * SMALL_MIB, roomy)):
        study.tables.setdefault("spill", []).append(
            {"heap_mib": heap, "data_mib": each["data_mib"], "rows": SPILLED_ROWS, "seconds": each["seconds"],
             "use": each["use"]}
        )  # fmt: skip
        study.figures.add(f"spill.{heap}_mib.seconds", statistics.mean(each["seconds"]), "s")
        study.figures.add(f"spill.{heap}_mib.spilled", each["use"]["spilled_mib"], "MiB on disk")


def skew(study: Study) -> None:
    """A join of which one key has most rows, with and without adaptive execution."""
    for name, adaptive in (("without", "false"), ("with", "true")):
        found = study.run(
            Shape(2, 1), "skew", spark__sql__adaptive__enabled=adaptive,
            spark__sql__autoBroadcastJoinThreshold="-1", spark__sql__shuffle__partitions="8",
            # The defaults are for partitions of hundreds of megabytes.
            spark__sql__adaptive__skewJoin__skewedPartitionThresholdInBytes="16m",
            spark__sql__adaptive__advisoryPartitionSizeInBytes="8m",
        )  # fmt: skip
        mean, half = interval(found["seconds"], test_share=0.0)
        study.tables.setdefault("skew", []).append(
            {"adaptive": name, "seconds": [mean, half], "rows": found["answer"], "use": found["use"]}
        )
        study.figures.add(f"skew.{name}_aqe.seconds", mean, f"s, +- {half:.2f} (95 %)")
        study.figures.add(f"skew.{name}_aqe.longest_task", found["use"]["longest_task_s"], "s")


def broadcast(study: Study) -> None:
    """Names sent to every executor against both sides sorted; until the executor has no room for the names."""
    for names in NAMES:
        row: dict[str, Any] = {"names": names}
        for work in ("broadcast", "shuffled"):
            try:
                found = study.run(
                    Shape(2, 1, SMALL_MIB), work, "--rows", str(names), repeats=3,
                    spark__sql__adaptive__enabled="false", spark__sql__shuffle__partitions="8",
                )  # fmt: skip
            except subprocess.CalledProcessError:
                row[work] = None
                continue
            row[work] = interval(found["seconds"], test_share=0.0)
            row[f"{work}_heap_mib"] = found["use"]["peak_heap_mib"]
            study.figures.add(f"join.{names}.{work}", row[work][0], "s")
        study.tables.setdefault("broadcast", []).append(row)


def higgs(path: Path, times: int) -> None:
    """The shipped rows so many times, each copy moved by a thousandth of a standard deviation."""
    frame = pd.read_csv(HIGGS)
    frame.columns = ["label", *HIGGS_FEATURES]
    draws = np.random.default_rng(42)
    copies = []
    for _ in range(times):
        copy = frame.copy()
        noise = draws.normal(size=(len(frame), len(HIGGS_FEATURES))) * 0.001
        copy[list(HIGGS_FEATURES)] += noise * frame[list(HIGGS_FEATURES)].std().to_numpy()
        copies.append(copy)
    pd.concat(copies).to_parquet(path, index=False)


def ratio(slow: list[float], fast: list[float]) -> tuple[float, float]:
    """Mean of slow over mean of fast, and half of its 95 % interval (delta method, independent runs)."""
    one, two = interval(slow, test_share=0.0), interval(fast, test_share=0.0)
    value = one[0] / two[0]
    return value, value * ((one[1] / one[0]) ** 2 + (two[1] / two[0]) ** 2) ** 0.5


def keep(study: Study) -> None:
    """Every table beside those of earlier runs of other parts, and the figures."""
    path = RESULTS / "scaling" / "tables.json"
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | study.tables, indent=1, sort_keys=True) + "\n")
    study.figures.write("scaling")


if __name__ == "__main__":
    main()
