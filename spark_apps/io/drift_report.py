"""The page of one check of drift: what was decided, every comparison, and pictures of those that shifted most."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contracts.files import write_atomically
from spark_apps.io.drift_records import DriftCheck
from spark_apps.io.html import STYLE, number, probability, table
from spark_apps.ml.drift.bins import CategoryBins
from spark_apps.ml.drift.deciding import Findings
from spark_apps.ml.drift.judging import Shift
from spark_apps.ml.drift.losses import Expected
from spark_apps.ml.drift.sketches import Sketch

#: Comparisons that get a picture.
_PICTURES = 6
#: Pages of a pipeline that stay.
KEEP_PAGES = 100
_INCHES = (4.4, 2.8)
_REFERENCE, _WINDOW = "#9aa5b1", "#1f5fa8"
_MOST_BARS = 15
_DISTANCES = ("psi", "psi_limit", "ks", "ks_p", "jensen_shannon", "wasserstein")


def write(path: Path, page: str) -> Path:
    """Store the page; the oldest beyond ``KEEP_PAGES`` in its folder are deleted."""
    write_atomically(path, page)
    pages = sorted(path.parent.glob("*.html"), key=lambda each: each.stat().st_mtime)
    for old in pages[:-KEEP_PAGES]:
        old.unlink()
    return path


def page(check: DriftCheck, found: Findings, counts: Sequence[tuple[Sketch, Sketch]], expected: Expected | None) -> str:
    """One HTML file that needs no other. ``counts`` are pairs of reference and window that were compared.

    Categories come from the data, and are escaped.
    """
    worst = sorted(found.shifts, key=lambda shift: (not shift.is_drift, -shift.effect))
    parts = [
        f"<h1>Drift of {escape(check.pipeline)}: {escape(check.decision.state)}</h1>"
        f"<p><b>{escape(check.decision.reason)}</b></p>",
        table(_origin(check)), _breaks(found), _loss(found), _quality(expected),
        "<h2>Comparisons</h2><p>A shift is drift when its corrected p is small enough <em>and</em> its effect large "
        "enough; both limits stand in the pipeline's file. The other distances are for you to look at.</p>",
        _comparisons(worst),
        "<h2>The largest</h2>" + "".join(_picture(shift, counts) for shift in worst[:_PICTURES]),
    ]  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Drift of {escape(check.pipeline)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _origin(check: DriftCheck) -> list[list[str]]:
    return [
        ["what to do", check.decision.action], ["champion", f"version {check.champion_version}"],
        ["trained on", check.reference], ["judged rows", check.window],
        ["checked at", f"{check.at:%Y-%m-%d %H:%M} UTC"], ["run", check.run_key],
    ]  # fmt: skip


def _breaks(found: Findings) -> str:
    if not found.breaks:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in found.breaks)
    return f"<h2>What is wrong with the data</h2><ul>{items}</ul>"


def _loss(found: Findings) -> str:
    if found.loss is None:
        return ""
    loss = found.loss
    return "<h2>The champion's own errors</h2>" + table(
        [
            ["mean loss on the holdout", number(loss.holdout)],
            ["mean loss on new rows", f"{number(loss.now)} ({loss.growth:+.1%})"],
            ["new rows with labels", f"{loss.rows:,} in {loss.blocks:,} blocks"],
            ["e-value", f"{number(loss.evidence)} ({'drift' if loss.is_drift else 'no drift'})"],
        ]
    )


def _quality(expected: Expected | None) -> str:
    if expected is None:
        return ""
    said = [[name.replace("_", " "), number(value)] for name, value in expected.model_dump().items()]
    about = "<p>From its calibrated probabilities alone, without labels; blind to a changed relation to the label.</p>"
    return f"<h2>What the champion expects of itself</h2>{about}{table(said)}"


def _comparisons(shifts: Sequence[Shift]) -> str:
    head = ["column", "", "rows then", "rows now", "missing", "effect", "p", "corrected p"]
    rows = [
        [
            shift.name, "drift" if shift.is_drift else "", f"{shift.reference_rows:,}", f"{shift.window_rows:,}",
            f"{shift.missing:.1%}", number(shift.effect), probability(shift.p), probability(shift.p_adjusted),
            *[_said(name, shift.distances.get(name)) for name in _DISTANCES],
        ]
        for shift in shifts
    ]  # fmt: skip
    return table([[*head, *(name.replace("_", " ") for name in _DISTANCES)], *rows], has_head=True)


def _said(distance: str, value: float | None) -> str:
    return probability(value) if distance.endswith("_p") else number(value)


def _picture(shift: Shift, counts: Sequence[tuple[Sketch, Sketch]]) -> str:
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes: Axes = figure.add_subplot()
    for reference, window in counts:
        bins = next((each for each in reference.plan.columns if each.column == shift.column), None)
        if bins is None:
            continue
        pairs = [sketch.of(shift.column, shift.group)[:, :-1].sum(0) for sketch in (reference, window)]
        if isinstance(bins, CategoryBins):
            _bars(axes, [*bins.values, "(other)"], pairs)
        elif bins.is_atomic:
            _bars(axes, [f"< {edge:.4g}" for edge in bins.edges] + ["above"], pairs)
        else:
            _functions(axes, bins.edges, pairs)
    axes.set_title(shift.name, fontsize=9)
    axes.legend(fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, dpi=100, format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(shift.name)}" src="data:image/png;base64,{data}">'


def _functions(axes: Axes, edges: Sequence[float], pairs: Sequence[np.ndarray]) -> None:
    """Distribution functions: the largest vertical distance of the two lines is the effect."""
    for counts, color, label in zip(pairs, (_REFERENCE, _WINDOW), ("trained on", "now"), strict=True):
        total = max(int(counts.sum()), 1)
        axes.step(edges, np.cumsum(counts)[:-1] / total, where="post", color=color, label=label, linewidth=1.6)
    axes.set_ylabel("share below")


def _bars(axes: Axes, names: Sequence[str], pairs: Sequence[np.ndarray]) -> None:
    """Shares of the most frequent values, beside each other."""
    order = np.argsort(-(pairs[0] + pairs[1]))[:_MOST_BARS]
    for n, (counts, color, label) in enumerate(zip(pairs, (_REFERENCE, _WINDOW), ("trained on", "now"), strict=True)):
        total = max(int(counts.sum()), 1)
        axes.bar(np.arange(len(order)) + 0.4 * n, counts[order] / total, 0.4, color=color, label=label)
    axes.set_xticks(np.arange(len(order)) + 0.2, [names[i][:16] for i in order], rotation=40, ha="right", fontsize=7)
    axes.set_ylabel("share")
