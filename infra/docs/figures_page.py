"""Write docs/figures.md from benchmarks/results/*.json: every number that the project reports, with what makes it.

python -m infra.docs.figures_page
"""

import json
import operator
import re
from pathlib import Path
from typing import Any

from contracts import pipelines
from contracts.files import write_atomically
from contracts.settings import REPOSITORY
from infra.docs import workloads_table

RESULTS = REPOSITORY / "benchmarks" / "results"
PAGE = REPOSITORY / "docs" / "figures.md"
_HEAD = """# Figures
Made from `benchmarks/results/*.json` by `make docs`. The machines are noisy: compare figures of one run, and measure on
your own. A goal that is missed says so.
"""
#: Targets that are called otherwise than ``bench-<name of the file>``.
_TARGETS = {"closed_loop": "bench-loop", "occupation": "occupation-study", "workloads": "workloads"}
_AT = {">=": operator.ge, "<=": operator.le}


def page(results: Path = RESULTS) -> str:
    """One table for each result file."""
    parts = [_HEAD]
    for path in sorted(results.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        rows = [_row(name, figure, found["date"]) for name, figure in sorted(found["figures"].items())]
        first = f"{workloads_table.table(found['figures'], pipelines.load_all())}\n" if path.stem == "workloads" else ""
        parts.append(
            f"## `make {_TARGETS.get(path.stem, f'bench-{path.stem}')}`\n{found['machine']}; {versions}.\n\n{first}"
            "| figure | value | unit | goal | measured |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(parts)


def _row(name: str, figure: dict[str, Any], date: str) -> str:
    value = f"{figure['value']:,.{2 if abs(figure['value']) >= 10 else 4}f}".rstrip("0").rstrip(".")
    return f"| `{name}` | {value} | {figure['unit']} | {_judged(figure)} | {figure.get('date', date)} |"


def _judged(figure: dict[str, Any]) -> str:
    """The goal, and whether the value reaches it; what is no number of its own is left as it is."""
    goal = str(figure["goal"])
    stated = re.match(r"(>=|<=) ([\d,.]+)", goal)
    if stated is None:
        return goal
    reached = _AT[stated.group(1)](float(figure["value"]), float(stated.group(2).replace(",", "")))
    return goal if reached else f"{goal}: **missed**"


if __name__ == "__main__":
    write_atomically(PAGE, page())
