"""Draw docs/images/drift_curves.svg from benchmarks/results/drift.json: how often each rule alarms.

python -m infra.docs.drift_curves
"""

import json
import re
from io import StringIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contracts.files import write_atomically
from contracts.settings import REPOSITORY

RESULT = REPOSITORY / "benchmarks" / "results" / "drift.json"
PICTURE = REPOSITORY / "docs" / "images" / "drift_curves.svg"
_TITLES = {"0": "no shift", "0.02": "0.02 sd (a trifle)", "0.1": "0.1 sd", "0.3": "0.3 sd"}
_RULES = {
    "millrace": ("this platform", "#1f5fa8", "-"), "any_ks_below_0.05": ("KS p < .05", "#c2571a", "--"),
    "psi_above_0.1": ("PSI > .1", "#5b8c3e", "-."), "psi_above_0.2": ("PSI > .2", "#9aa5b1", ":"),
}  # fmt: skip


def shares(result: Path = RESULT) -> dict[tuple[str, str], dict[int, float]]:
    """(shift, rule) -> rows in each window -> share of checks that said drift."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for name, figure in json.loads(result.read_text(encoding="utf-8"))["figures"].items():
        if known := re.fullmatch(r"curve\.([\d.]+)\.(\d+)\.(.+)", name):
            shift, rows, rule = known.groups()
            found.setdefault((shift, rule), {})[int(rows)] = float(figure["value"])
    return found


def picture(found: dict[tuple[str, str], dict[int, float]]) -> str:
    """One panel for each shift, as SVG; the same text for the same figures."""
    mpl.rcParams["svg.hashsalt"] = "millrace"
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    panels = figure.subplots(1, len(_TITLES), sharey=True)
    for axes, (shift, title) in zip(panels, _TITLES.items(), strict=True):
        _panel(axes, {rule: found.get((shift, rule), {}) for rule in _RULES})
        axes.set_title(title, fontsize=10)
    panels[0].set_ylabel("share of checks that say drift")
    panels[0].legend(fontsize=8)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _panel(axes: Axes, by_rule: dict[str, dict[int, float]]) -> None:
    for rule, points in by_rule.items():
        label, color, style = _RULES[rule]
        rows = sorted(points)
        axes.plot(rows, [points[n] for n in rows], style, color=color, label=label, marker="o", markersize=3)
    axes.axhline(0.05, color="#d5dbe1", linewidth=1)
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("rows in each window")


if __name__ == "__main__":
    write_atomically(PICTURE, picture(shares()))
