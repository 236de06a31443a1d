"""Sketches of plain columns, counted as a Spark task would, without Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from spark_apps.ml.drift import bins, sketches
from spark_apps.ml.drift.bins import Plan

if TYPE_CHECKING:
    from spark_apps.ml.drift.sketches import Sketch


def plan_of(sample: dict[str, Any], **how: Any) -> Plan:
    return Plan(columns=bins.of_sample(pa.table(sample)), **how)


def counted(columns: dict[str, Any], plan: Plan) -> Sketch:
    found = [sketches.tallied([sketches.with_keys(b, plan)], plan) for b in pa.table(columns).to_batches(1000)]
    rows = [row for batch in found for row in batch.to_pylist()]
    return sketches.added(rows, plan)  # type: ignore[arg-type]
