"""The page that says what a model is for, what it was made of and how good it is, to be read without Spark.

Sections as Mitchell et al. propose (Model Cards for Model Reporting, FAT* 2019), as far as a machine knows them.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from contracts.pipelines import PipelineSpec
from spark_apps.io.html import STYLE, number
from spark_apps.ml.clustering.profiles import Profile
from spark_apps.ml.fitted import Fitted
from spark_apps.ml.measuring import metrics
from spark_apps.ml.measuring.evidence import Evidence, gap


def page(spec: PipelineSpec, fitted: Fitted, origin: Mapping[str, str], pictures: Sequence[Path]) -> str:
    """The card as one HTML file that needs no other; whatever comes from data is escaped."""
    parts = [
        f"<h1>{escape(spec.name)}</h1><p>{escape(spec.about)}</p>",
        _section("What it is", _table(_what(spec, fitted))),
        _section("How good it is", _sentence(spec, fitted) + _measures(spec, fitted)),
        _subgroups(fitted.evidence) if fitted.evidence and fitted.evidence.subgroups else "",
        _section("What the groups are like", _profiles(fitted.profiles)) if fitted.profiles else "",
        _section("Pictures", "".join(map(_picture, pictures))) if pictures else "",
        _section("Where it comes from", _table(_origin(origin))),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(spec.name)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _what(spec: PipelineSpec, fitted: Fitted) -> dict[str, str]:
    said = {
        "task": spec.task, "answers": spec.label or "a group", "algorithm": fitted.algorithm,
        "hyperparameters": ", ".join(f"{name} {value}" for name, value in fitted.chosen.items()),
        "reads": ", ".join(fitted.columns), "trials": str(len(fitted.trials)),
    }  # fmt: skip
    said |= {"unequal classes": spec.imbalance.method} if spec.imbalance else {}
    return said | ({"calibration": spec.calibration.method} if spec.calibration else {})


def _sentence(spec: PipelineSpec, fitted: Fitted) -> str:
    if fitted.evidence is None:
        return ""
    found = fitted.evidence.interval
    return (
        f"<p>{escape(found.metric)} is between {number(found.low)} and {number(found.high)} in 95 % of 500 bootstrap "
        f"samples of the holdout; the gate asks for a skill of {spec.gate.min_skill:.1%} against "
        f"{escape(spec.gate.baseline)}.</p>"
    )


def _measures(spec: PipelineSpec, fitted: Fitted) -> str:
    rows = metrics.table(fitted.errors, spec)
    return _rows(list(rows[0]), [list(row.values()) for row in rows])


def _subgroups(evidence: Evidence) -> str:
    gaps = {column: gap(evidence.subgroups, column) for column in dict.fromkeys(g.column for g in evidence.subgroups)}
    said = "".join(
        f"<p>Between the values of {escape(column)} {escape(evidence.interval.metric)} differs by up to "
        f"{number(found)}.</p>"
        for column, found in gaps.items()
    )
    rows = [[each.column, each.value, each.rows, each.measure] for each in evidence.subgroups]
    return _section("For whom", said + _rows(["column", "value", "rows", evidence.interval.metric], rows))


def _profiles(profiles: Sequence[Profile]) -> str:
    """Means of each group, a column each, so that people can give it a name."""
    rows: list[list[Any]] = [["rows", *(each.rows for each in profiles)], ["share", *(each.share for each in profiles)]]
    rows += [[f"mean {name}", *(each.means[name] for each in profiles)] for name in profiles[0].means]
    return _rows(["", *(f"group {each.cluster}" for each in profiles)], rows)


def _origin(origin: Mapping[str, str]) -> dict[str, str]:
    said = {name: origin[name] for name in ("snapshot", "git_revision", "spec_hash", "seed", "fit_partitions")}
    provenance = json.loads(origin["snapshot_provenance"])
    return said | {
        name: str(provenance[name]) for name in ("dataset", "table_version", "verdict") if name in provenance
    }


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}"


def _table(said: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(text)}</code></td></tr>" for name, text in said.items()
    )
    return f"<table>{rows}</table>"


def _rows(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    names = "".join(
        f"<th>{escape(name)}</th>" if isinstance(value, str) else f'<th class="number">{escape(name)}</th>'
        for name, value in zip(head, rows[0], strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{names}</tr>{body}</table>"


def _cell(value: Any) -> str:  # noqa: ANN401 - a number, a text or nothing
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="number">{number(value)}</td>'


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'
