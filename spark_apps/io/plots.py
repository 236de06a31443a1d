"""Pictures of a model's evidence, as PNG files for the model card and for whoever reports about it."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spark_apps.ml.measuring.evidence import Evidence, Point, Subgroup

_INK, _GUIDE = "#1f5fa8", "#9aa5b1"
_INCHES = (4.2, 3.4)
_LABELS = {
    "reliability": ("what the model says (mean of a tenth)", "what was the case"),
    "roc": ("false positives", "true positives"),
    "precision_recall": ("recall", "precision"),
}


def draw(evidence: Evidence, folder: Path) -> list[Path]:
    """One PNG for each curve and each column of subgroups, named after it; the paths in that order."""
    made = [_saved(_curve(name, points), folder / f"{name}.png") for name, points in evidence.curves.items()]
    columns = dict.fromkeys(each.column for each in evidence.subgroups)
    for column in columns:
        groups = [each for each in evidence.subgroups if each.column == column and each.measure is not None]
        if groups:
            made.append(_saved(_bars(groups, evidence.interval.metric), folder / f"by_{column}.png"))
    return made


def _curve(name: str, points: tuple[Point, ...]) -> Figure:
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes: Axes = figure.add_subplot()
    x, y = [point.x for point in points], [point.y for point in points]
    if name != "precision_recall":
        ends = [0, 1] if name == "roc" else [min(x), max(x)]
        axes.plot(ends, ends, color=_GUIDE, linewidth=1, linestyle="--")
    axes.plot(x, y, color=_INK, linewidth=1.6, marker="o" if name == "reliability" else None, markersize=4)
    axes.set_xlabel(_LABELS[name][0])
    axes.set_ylabel(_LABELS[name][1])
    return figure


def _bars(groups: list[Subgroup], metric: str) -> Figure:
    figure = Figure(figsize=(_INCHES[0], max(1.6, 0.28 * len(groups) + 0.9)), layout="constrained")
    axes: Axes = figure.add_subplot()
    ordered = sorted(groups, key=lambda each: each.measure or 0.0)
    axes.barh([each.value for each in ordered], [each.measure or 0.0 for each in ordered], color=_INK)
    axes.set_xlabel(metric)
    axes.set_ylabel(groups[0].column)
    return figure


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    return path
