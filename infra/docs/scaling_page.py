"""Write docs/scaling.md from benchmarks/results/scaling/tables.json.

python -m infra.docs.scaling_page
"""

import json
from typing import Any

from contracts.files import write_atomically
from contracts.settings import REPOSITORY

RESULT = REPOSITORY / "benchmarks" / "results" / "scaling" / "tables.json"
PAGE = REPOSITORY / "docs" / "scaling.md"
_WORK = {
    "parse": "parse log lines and make gold's minutes of them",
    "train": "a random forest of 20 trees on HIGGS rows in memory",
}
_HEAD = """# What more cores, workers and data do
Made by `make docs` from `benchmarks/results/scaling/tables.json`, which `make bench-scaling` writes. Each figure is one
Spark application on a cluster of that shape (`local-cluster`: a master, workers and executors as processes of their
own), {repeats} runs after one that compiles; ± is half of a 95 % interval. The machine has two cores, which the driver,
the shuffle and whatever else runs there share: speed-up is bounded by that, so CPU seconds of the tasks stand beside.
"""


def page(tables: dict[str, list[dict[str, Any]]]) -> str:
    """A section for each part that was measured."""
    sections = {"shapes": _shapes, "spill": _spill, "skew": _skew, "broadcast": _broadcast}
    repeats = 5
    parts = [_HEAD.format(repeats=repeats)]
    parts += [section(tables[name]) for name, section in sections.items() if name in tables]
    return "\n".join(parts)


def _shapes(rows: list[dict[str, Any]]) -> str:
    lines = ["## More cores, more workers, ten times the data", ""]
    for work, title in _WORK.items():
        lines += [f"**{title[0].upper()}{title[1:]}**", ""]
        lines += [
            "| rows | cluster | seconds | speed-up | efficiency | CPU s of tasks | GC s | shuffle MiB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in (each for each in rows if each["work"] == work):
            cores = 1 if row["shape"] == "1 worker, 1 core" else 2
            up, half = row["speed_up"]
            use = row["use"]
            gain = "" if cores == 1 else f"{up:.2f} ± {half:.2f}"
            efficiency = "" if cores == 1 else f"{up / cores:.0%}"
            lines.append(
                f"| {row['rows']:,} | {row['shape']} | {_interval(row['seconds'])} | {gain} | {efficiency} "
                f"| {use['cpu_s']:.1f} | {use['gc_s']:.2f} | {use['shuffle_written_mib']:.2f} |"
            )
        lines.append("")
    lines.append(limits(rows))
    return "\n".join(lines) + "\n"


def limits(rows: list[dict[str, Any]]) -> str:
    """One sentence on what limits it, from the figures."""
    by = {(row["work"], row["times"], row["shape"]): row for row in rows}
    said = []
    for work in _WORK:
        small, large = (by[work, times, "1 worker, 2 cores"] for times in ("x1", "x10"))
        apart = by[work, "x10", "2 workers, 1 core each"]
        tasks = large["use"]["cpu_s"] / (2 * large["seconds"][0])
        said.append(
            f"`{work}`: two cores are {small['speed_up'][0]:.2f} times as fast on the small rows and "
            f"{large['speed_up'][0]:.2f} times on ten times as many ({apart['speed_up'][0]:.2f} as two workers); the "
            f"tasks keep {tasks:.0%} of both cores busy there"
        )
    return (
        "**What limits it.** " + "; ".join(said) + ". The rest is what is done once whatever the number of cores: "
        "planning, scheduling, collecting, and on this machine the driver's own share of the same two cores."
    )


def _spill(rows: list[dict[str, Any]]) -> str:
    lines = ["## More data than memory", ""]
    lines += ["A sort, on one executor of one core; what comes out is looked through: in order, and complete.", ""]
    lines += ["| heap MiB | data MiB | seconds | spilled to disk MiB | CPU s | GC s |", "|---|---|---|---|---|---|"]
    for row in rows:
        use, seconds = row["use"], sum(row["seconds"]) / len(row["seconds"])
        lines.append(
            f"| {row['heap_mib']:,} | {row['data_mib']:,.0f} | {seconds:.1f} | {use['spilled_mib']:,.0f} "
            f"| {use['cpu_s']:.1f} | {use['gc_s']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _skew(rows: list[dict[str, Any]]) -> str:
    lines = ["## A join of which one key has most rows", ""]
    lines += ["Three million rows, six of ten with one key, sorted and merged on two executors of one core.", ""]
    lines += ["| adaptive execution | seconds | longest task s | CPU s | tasks |", "|---|---|---|---|---|"]
    for row in rows:
        use = row["use"]
        lines.append(
            f"| {row['adaptive']} | {_interval(row['seconds'])} | {use['longest_task_s']:.2f} | {use['cpu_s']:.1f} "
            f"| {use['tasks']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _broadcast(rows: list[dict[str, Any]]) -> str:
    lines = ["## Sending one side of a join to every executor", ""]
    lines += [
        "Three million rows joined with names, on two executors of 512 MiB: the names sent to both, or both sides "
        "sorted.", "", "| names | broadcast s | its heap MiB | sorted s |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        sent = _interval(row["broadcast"]) if row["broadcast"] else "fails: no room"
        merged = _interval(row["shuffled"]) if row["shuffled"] else "fails"
        heap = f"{row['broadcast_heap_mib']:.0f}" if row["broadcast"] else ""
        lines.append(f"| {row['names']:,} | {sent} | {heap} | {merged} |")
    return "\n".join(lines) + "\n"


def _interval(found: list[float]) -> str:
    mean, half = found
    return f"{mean:.2f} ± {half:.2f}"


if __name__ == "__main__":
    write_atomically(PAGE, page(json.loads(RESULT.read_text(encoding="utf-8"))))
