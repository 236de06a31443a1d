"""A year in fast-forward: drift checks against retraining at every window and never. `make bench-loop`.

    make bench-loop YEARS="higgs uk_traffic"

Real rows land window by window with planted events. Each way of retraining runs the applications' own entry functions
on tables, registry and ledger of its own, in one Spark session. A champion is measured on the true rows of a window
before anything is done about that window.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.figures import RESULTS, Figures
from benchmarks.loop import strategies
from benchmarks.loop.strategies import STRATEGIES, Story
from benchmarks.loop.years import YEARS, Year
from contracts.settings import Settings
from contracts.spark_conf import COMPILE_ALL
from spark_apps.io import session

#: An event is handled when the platform answers to it in its first window or the next one.
PATIENCE = 2
_QUARTERS = 4
#: Windows are small: generating code and planning anew cost more than counting.
_SMALL = {
    "spark__master": "local[2]", "spark__driver__memory": "3g", "spark__sql__shuffle__partitions": "2",
    "spark__sql__adaptive__enabled": "false", "spark__sql__codegen__wholeStage": "false",
    "spark__sql__codegen__factoryMode": "NO_CODEGEN", "spark__ui__enabled": "false",
    "spark__driver__extraJavaOptions": f"{COMPILE_ALL} -XX:+UseSerialGC -Xss4m",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("years", nargs="*", metavar="YEAR", help=f"some of {', '.join(YEARS)}")
    parser.add_argument("--windows", type=int, help="only the first so many, to try it out: nothing is written")
    args = parser.parse_args()
    if unknown := set(args.years) - set(YEARS):
        parser.error(f"found the years {sorted(unknown)}, required some of {', '.join(YEARS)}")
    figures = Figures()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with tempfile.TemporaryDirectory(prefix="millrace-loop-") as home:
        spark = session.start(Settings(state=Path(home) / "session"), "closed_loop", **_SMALL)
        for name in args.years or YEARS:
            year = YEARS[name]()
            stories = live(spark, Path(home) / name, year, args.windows or len(year.windows))
            report(year, stories, figures)
            if not args.windows:
                figures.write("closed_loop")
                keep(year, stories)
        spark.stop()


def live(spark: SparkSession, folder: Path, year: Year, n_windows: int) -> dict[str, list[Story]]:
    """What each way of retraining did in each window, with the losses of the champion that it came into it with."""
    folder.mkdir(parents=True)
    truth = year.true_features(spark, folder)
    platforms = {name: strategies.begin(spark, folder / name, year) for name in STRATEGIES}
    stories: dict[str, list[Story]] = {name: [] for name in STRATEGIES}
    for window in range(1, n_windows + 1):
        rows = truth.where(F.col("window") == window).cache()
        for name, platform in platforms.items():
            losses = platform.losses(rows)
            story = {"window": window, "losses": losses, **STRATEGIES[name](platform, window)}
            stories[name].append(story)
            print(json.dumps({"year": year.name, "strategy": name, **story}), flush=True)
        rows.unpersist()
    return stories


def report(year: Year, stories: dict[str, list[Story]], figures: Figures) -> None:
    """Losses beside each other, what became of every event, and trainings that nothing called for."""
    n_windows = len(stories["with_checks"])
    for loss in year.losses:
        total = {name: sum(story["losses"][loss] for story in told) for name, told in stories.items()}
        for name, value in total.items():
            figures.add(f"{year.name}.{loss}.{name}", value / n_windows, "mean loss of a window")
        goal = ">= 0.3" if loss == year.losses[0] else ""
        for other in ("every_window", "never"):
            less = 1 - total["with_checks"] / total[other]
            figures.add(f"{year.name}.{loss}.less_than_{other}", less, "share", goal if other == "every_window" else "")
    handled = {f"{event.kind} {event.first}": became(event, stories["with_checks"]) for event in year.events
               if event.first <= n_windows}  # fmt: skip
    for name, done in handled.items():
        figures.add(f"{year.name}.event.{name.replace(' ', '_')}", float(done), "handled in two windows")
    figures.add(f"{year.name}.handled", sum(handled.values()) / len(handled), "share of events", ">= 0.9")
    needless = [story["window"] for story in stories["with_checks"] if is_needless(story, year, stories["with_checks"])]
    per_quarter = len(needless) / (n_windows * year.window_hours / (365 * 24 / _QUARTERS))
    figures.add(f"{year.name}.needless_trainings", per_quarter, "a quarter", "<= 1")
    for name, told in stories.items():
        figures.add(f"{year.name}.trainings.{name}", sum(story["did"] == "trained" for story in told), "trainings")
    drifts = sum(bool(story.get("drift")) for story in stories["with_checks"])
    figures.add(f"{year.name}.trainings.because_of_drift", drifts, "trainings")
    figures.add(f"{year.name}.asked", sum(bool(story.get("asked")) for story in stories["with_checks"]), "questions")


def keep(year: Year, stories: dict[str, list[Story]]) -> None:
    """Everything that happened, for the page about it."""
    planted = [event._asdict() | {"change": ""} for event in year.events]
    told = {"about": year.about, "events": planted, "stories": stories}
    path = RESULTS / "loop" / f"{year.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n")


def became(event: Any, told: list[Story]) -> bool:  # noqa: ANN401
    """Whether the event was answered in time: trained on, or kept away from every training for as long as it lasted."""
    if event.expected == "trained":
        near = told[event.first - 1 : event.first - 1 + PATIENCE]
        return any(story.get("drift") for story in near)
    during = [story for story in told if event.holds(story["window"])]
    return all(story["did"] == "held back" for story in during)


def is_needless(story: Story, year: Year, told: list[Story]) -> bool:
    """A training because of drift although nothing in the world had changed since the last one that was promoted."""
    if not story.get("drift"):
        return False
    promoted = [s["window"] for s in told if s["window"] < story["window"] and s.get("said", "").startswith("promoted")]
    since = max(promoted, default=0)
    return not any(since < event.first <= story["window"] for event in year.events if not event.is_fault)


if __name__ == "__main__":
    main()
