"""The table of the workloads in docs/figures.md: a line for each pipeline, made of the figures of `make workloads`."""

from collections.abc import Mapping
from typing import Any

from contracts.pipelines import PipelineSpec
from contracts.pipelines.parts import AREAS

_COLUMNS = (
    "pipeline", "judged by", "baseline", "the best of ours", "outside Spark",
    "loss a row of the one chosen, less the baseline's: 95 %", "rows to train, to judge", "training",
)  # fmt: skip


def table(figures: Mapping[str, Mapping[str, Any]], specs: Mapping[str, PipelineSpec]) -> str:
    """Markdown; a pipeline without the figures that its file asks for has no line. ``figures`` have a ``value``."""
    values = {name: float(figure["value"]) for name, figure in figures.items()}
    lines = [_line(spec, values) for _, spec in sorted(specs.items()) if _is_measured(spec, values)]
    head = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"
    return "\n".join([head, *lines]) + "\n"


def _is_measured(spec: PipelineSpec, values: Mapping[str, float]) -> bool:
    gate, names = spec.gate, [algorithm.name for algorithm in spec.algorithms]
    needed = {f"{gate.metric}.{gate.baseline}", f"loss_less_that_of_{gate.baseline}_low", "train_seconds"}
    is_any = any(f"{spec.name}.{gate.metric}.{name}" in values for name in names)
    return is_any and all(f"{spec.name}.{name}" in values for name in needed)


def _line(spec: PipelineSpec, values: Mapping[str, float]) -> str:
    metric, prefix = spec.gate.metric, f"{spec.name}."
    measured = {algorithm.name: values.get(f"{prefix}{metric}.{algorithm.name}") for algorithm in spec.algorithms}
    known = {name: value for name, value in measured.items() if value is not None}
    best = (max if metric in AREAS else min)(known, key=lambda name: known[name])
    beside = f"{prefix}{metric}_of_"
    peers = {
        name.removeprefix(beside): value
        for name, value in values.items()
        if name.startswith(beside) and "random_split" not in name
    }
    low, high = (values[f"{prefix}loss_less_that_of_{spec.gate.baseline}_{end}"] for end in ("low", "high"))
    cells = [
        f"`{spec.name}`", metric, _named(spec.gate.baseline, values[f"{prefix}{metric}.{spec.gate.baseline}"]),
        f"**{_named(best, known[best])}**", ", ".join(_named(name, value) for name, value in peers.items()),
        f"{low:.3g} to {high:.3g}",
        f"{values[f'{prefix}train_rows']:,.0f}, {values[f'{prefix}holdout_rows']:,.0f}",
        f"{values[f'{prefix}train_seconds']:,.0f} s",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _named(name: str, value: float) -> str:
    return f"{name} {value:.4f}" if abs(value) < 1 else f"{name} {value:.2f}"
