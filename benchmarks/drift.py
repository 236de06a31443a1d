"""Measure drift checks: false alarms, what is found, series, rounding, speed. `make bench-drift`.

    make bench-drift PARTS="[alarms] [curves] [series] [rounding] [speed]"

False alarms are measured where there is no drift by construction: both windows are drawn from the same rows. Tests run
on counts made by the functions that Spark's tasks call; only `speed` starts Spark. The rule of thumb for PSI and
Evidently with its defaults judge the same windows in the same run.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import drift_series
from benchmarks.figures import Figures
from benchmarks.processes import cpu_s, peak_mib
from contracts.landed_files import HIGGS_FEATURES
from contracts.pipelines.drift import DriftPolicy
from contracts.settings import REPOSITORY, Settings
from infra.local.places import Places
from spark_apps.io import profiles, session
from spark_apps.ml.drift import bins, judging, sketches, statistics
from spark_apps.ml.drift.bins import Plan
from spark_apps.ml.drift.judging import Shift
from spark_apps.ml.drift.sketches import Sketch

SAMPLES = REPOSITORY / "samples" / "higgs"
POLICY = DriftPolicy(cron="0 4 * * *")
#: Rows in each window -> repeats without drift: with 400 of them the standard error is a fifth of the rate itself.
REPEATS = {500: 3_000, 1_000: 2_000, 5_000: 1_000, 10_000: 300, 100_000: 100, 1_000_000: 40}
#: On how many of these a shift is planted as well, and on how many Evidently judges too, which takes seconds for each.
SHIFTED_REPEATS = 400
PEER_REPEATS = {500: 40, 1_000: 40, 5_000: 20}
SHIFTED = ("lepton_pt", "lepton_eta", "lepton_phi")
TRIFLE, SHIFT = 0.02, 0.3
CURVE_SHIFTS = (0.0, 0.02, 0.1, 0.3)
CURVE_REPEATS = {100: 400, 300: 400, 1_000: 400, 3_000: 300, 10_000: 200, 100_000: 60}
ROWS, COLUMNS = 1_000_000, 28


def main() -> None:
    measures: dict[str, Callable[[Figures], None]] = {
        "alarms": alarms,
        "curves": curves,
        "series": series,
        "rounding": rounding,
        "speed": speed,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(measures)} (default all)")
    parser.add_argument("--sizes", nargs="*", type=int, default=list(REPEATS), metavar="ROWS", help="of alarms")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(measures):
        parser.error(f"found the parts {sorted(unknown)}, required some of {', '.join(measures)}")
    if unknown_sizes := set(args.sizes) - set(REPEATS):
        parser.error(f"found the sizes {sorted(unknown_sizes)}, required some of {', '.join(map(str, REPEATS))}")
    figures = Figures()
    measures["alarms"] = partial(alarms, sizes=args.sizes)
    for part in args.parts or measures:
        measures[part](figures)
    print(f"written to {figures.write('drift').relative_to(REPOSITORY)}")


@dataclass
class Tally:
    """Checks of one kind, by rule: how many said drift, and which share of the shifted columns they found."""

    name: str
    said: dict[str, list[bool]]
    found: dict[str, list[float]]

    def add(self, rule: str, columns: set[str], shifted: tuple[str, ...] = ()) -> None:
        self.said.setdefault(rule, []).append(bool(columns))
        if shifted:
            self.found.setdefault(rule, []).append(len(columns & set(shifted)) / len(shifted))

    def report(self, figures: Figures, goals: dict[str, str], *, recall: bool = False) -> None:
        for rule, values in (self.found if recall else self.said).items():
            share = float(np.mean(values))
            error = (max(share * (1 - share), 1 / len(values) / 4) / len(values)) ** 0.5
            what = "recall" if recall else "share of checks"
            figures.add(f"{self.name}.{rule}", share, f"{what} ± {error:.3f}", goals.get(rule, ""))


def alarms(figures: Figures, sizes: list[int]) -> None:
    """Checks of 28 correlated columns without drift, with a shift, and with a trifle."""
    rows = _collisions()
    spread = {name: float(np.std(rows[name])) for name in SHIFTED}
    for n in sizes:
        repeats, random = REPEATS[n], np.random.default_rng([20, n])
        calm, shifted, trifle = (Tally(f"{kind}.{n}", {}, {}) for kind in ("calm", "shifted", "trifle"))
        pairs = []
        for repeat in range(repeats):
            before, now = _drawn(rows, n, random), _drawn(rows, n, random)
            plan = _plan(before)
            reference = _counted(before, plan)
            _judge(calm, reference, _counted(now, plan))
            if repeat >= SHIFTED_REPEATS:
                continue
            moved = {name: column + SHIFT * spread.get(name, 0.0) for name, column in now.items()}
            _judge(shifted, reference, _counted(moved, plan), SHIFTED)
            if n == max(REPEATS):
                nudged = {name: column + TRIFLE * spread.get(name, 0.0) for name, column in now.items()}
                _judge(trifle, reference, _counted(nudged, plan))
            if repeat < PEER_REPEATS.get(n, 0):
                pairs.append((before, now, moved))
        for (_, _, _), (quiet, loud) in zip(pairs, _evidently(pairs), strict=True):
            calm.add("evidently", quiet)
            shifted.add("evidently", loud, SHIFTED)
        limit = 0.05 + (0.05 * 0.95 / repeats) ** 0.5
        calm.report(figures, {"millrace": f"<= {limit:.3f} (.05 and its standard error)"})
        shifted.report(figures, {"millrace": ">= 0.95"}, recall=True)
        trifle.report(figures, {"millrace": "<= 0.05"})
        figures.write("drift")  # large sizes take long
    random = np.random.default_rng(20)
    few = _plan(_drawn(rows, 499, random))
    unjudged = judging.compare(*[_counted(_drawn(rows, 499, random), few) for _ in range(2)], POLICY)
    figures.add("calm.499.judged", sum(shift.p is not None for shift in unjudged), "columns", "<= 0")


def curves(figures: Figures) -> None:
    """One column from a normal distribution: how often each rule alarms, by the size of windows and of the shift."""
    random = np.random.default_rng(21)
    for n, repeats in CURVE_REPEATS.items():
        tallies = {shift: Tally(f"curve.{shift:g}.{n}", {}, {}) for shift in CURVE_SHIFTS}
        for _ in range(repeats):
            before = {"x": random.normal(size=n)}
            plan = _plan(before)
            reference = _counted(before, plan)
            for shift, tally in tallies.items():
                _judge(tally, reference, _counted({"x": random.normal(shift, 1, n)}, plan), few=True)
        for tally in tallies.values():
            tally.report(figures, {})


def series(figures: Figures) -> None:
    """Series whose rows depend on their neighbours: whole stretches against stretches as long."""
    drift_series.measure(figures)


def rounding(figures: Figures) -> None:
    """A file of three digits beside one of full precision, drawn from the same collisions."""
    with gzip.open(SAMPLES / "higgs_rows_0_9999_rounded.csv.gz") as file:
        frame = pd.read_csv(file)
    rounded = {name: frame.iloc[:, n + 1].to_numpy() for n, name in enumerate(HIGGS_FEATURES)}
    plan = _plan(rounded)
    found = judging.compare(_counted(rounded, plan), _counted(_collisions(), plan), POLICY)
    flagged = sum(shift.is_drift for shift in judging.corrected(found, POLICY))
    figures.add("rounding.columns_flagged", flagged, f"of {len(found)}", "<= 0")
    figures.add("rounding.largest_effect", max(shift.effect for shift in found), "KS distance", "")


def speed(figures: Figures) -> None:
    """28 columns of numbers in one pass, at two sizes, and 24 hours that are merged."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        settings = Settings(state=Path(folder), toolchain=Places(Settings()).settings.toolchain)
        spark = session.start(settings, "bench-drift", spark__master="local[2]", spark__driver__memory="2g")
        random, paths = np.random.default_rng(1), []
        for part in range(4):
            paths.append(f"{folder}/{part}.parquet")
            rows = {f"c{n}": random.normal(size=ROWS // 4) for n in range(COLUMNS)}
            pq.write_table(pa.table(rows | {"hour": random.integers(0, 24, ROWS // 4)}), paths[-1], compression="zstd")
        plan = Plan(columns=bins.of_sample(pq.read_table(paths[0]).slice(0, 50_000).drop(["hour"])))
        profiles.count_files(spark, paths, plan)  # Python workers start, classes are loaded
        _timed(figures, "files", ROWS, lambda: profiles.count_files(spark, paths, plan), ">= 10")
        _timed(figures, "files.10_times", 10 * ROWS, lambda: profiles.count_files(spark, paths * 10, plan), ">= 10")
        frame = spark.read.parquet(*paths)
        sketches.count(frame, plan)
        _timed(figures, "frame", ROWS, lambda: sketches.count(frame, plan), "")
        day = sketches.count(frame, plan)
        hours = [sketches.count(frame.where(f"hour = {hour}"), plan) for hour in range(24)]
        merged = hours[0]
        for hour in hours[1:]:
            merged = merged + hour
        same = all((merged.counts[key] == day.counts[key]).all() for key in day.counts)
        figures.add("speed.hours_merged_equal_the_day", float(same), "1: in every bin", ">= 1")
        spark.stop()


def _timed(figures: Figures, name: str, rows: int, count: Callable[[], Sketch], goal: str) -> None:
    before, started = cpu_s(), time.monotonic()
    with peak_mib() as peak:
        count()
    wall, spent = time.monotonic() - started, cpu_s() - before
    figures.add(f"speed.{name}.cells_per_core_second", rows * COLUMNS / spent / 1e6, "million, CPU seconds", goal)
    figures.add(f"speed.{name}.seconds", wall, "s wall", "")
    figures.add(f"speed.{name}.peak_memory", peak(), "MiB, all processes", "")


def _collisions() -> dict[str, np.ndarray]:
    """The 10,984 collisions of full precision, by the names of our features."""
    with gzip.open(SAMPLES / "higgs_random_10984_labelled_last.csv.gz") as file:
        frame = pd.read_csv(file)
    return {name: frame.iloc[:, n].to_numpy() for n, name in enumerate(HIGGS_FEATURES)}


def _drawn(rows: dict[str, np.ndarray], n: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Whole collisions drawn with replacement: columns stay correlated, and two draws have one distribution."""
    chosen = random.integers(0, len(next(iter(rows.values()))), n)
    return {name: column[chosen] for name, column in rows.items()}


def _plan(rows: dict[str, np.ndarray]) -> Plan:
    return Plan(columns=bins.of_sample(pa.table({name: column[:100_000] for name, column in rows.items()})))


def _counted(rows: dict[str, np.ndarray], plan: Plan) -> Sketch:
    return drift_series.counted(pa.table(rows), plan)


def _judge(
    tally: Tally, reference: Sketch, window: Sketch, shifted: tuple[str, ...] = (), *, few: bool = False
) -> None:
    """What each rule says; ``few``: also about fewer rows than the policy wants."""
    policy = POLICY.model_copy(update={"min_rows": 1}) if few else POLICY
    found = judging.corrected(judging.compare(reference, window, policy), policy)
    tally.add("millrace", {shift.column for shift in found if shift.is_drift}, shifted)
    tally.add("benjamini_hochberg_on_ks", set(_by_ks(found)), shifted)
    for limit in (0.1, 0.2):
        tally.add(f"psi_above_{limit:g}", {s.column for s in found if s.distances["psi"] > limit}, shifted)
    tally.add("any_ks_below_0.05", {s.column for s in found if s.distances.get("ks_p", 1.0) < 0.05}, shifted)


def _by_ks(found: list[Shift]) -> Iterator[str]:
    """The same rule over the p-values of Kolmogorov and Smirnov."""
    tested = [shift for shift in found if "ks_p" in shift.distances]
    adjusted = statistics.benjamini_hochberg([shift.distances["ks_p"] for shift in tested])
    for shift, p in zip(tested, adjusted, strict=True):
        if p <= POLICY.false_alarm_rate and shift.distances["ks"] >= POLICY.min_effect:
            yield shift.column


def _evidently(windows: list[tuple[dict[str, np.ndarray], ...]]) -> list[list[set[str]]]:
    """What Evidently's preset for data drift flags, without drift and with it, in an environment of its own."""
    if not windows:
        return []
    python = Places(Settings()).settings.toolchain / "env" / "peers" / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        for n, frames in enumerate(windows):
            for name, frame in zip(("before", "now", "moved"), frames, strict=True):
                pq.write_table(pa.table(frame), f"{folder}/{n}_{name}.parquet")
        script = str(REPOSITORY / "benchmarks" / "peer_drift.py")
        done = subprocess.run([str(python), script, folder], check=True, stdout=subprocess.PIPE, text=True)
    return [[set(quiet), set(loud)] for quiet, loud in json.loads(done.stdout.splitlines()[-1])]


if __name__ == "__main__":
    main()
