"""The page of figures: what the result files say, goals judged, nothing by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from contracts import pipelines
from infra.docs import figures_page, workloads_table

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_in_the_repository_is_the_one_that_the_results_make() -> None:
    assert figures_page.PAGE.read_text(encoding="utf-8") == figures_page.page(), "run: make docs"


def test_a_missed_goal_says_so(tmp_path: Path) -> None:
    figures = {
        "rate": {"value": 44_999.9, "unit": "lines/s", "goal": ">= 45,000"},
        "wait": {"value": 5.0, "unit": "s", "goal": "<= 6", "date": "2026-01-02"},
        "files": {"value": 36.0, "unit": "files", "goal": "bounded"},
    }
    found = {"machine": "2 cores", "versions": {"pyspark": "4"}, "date": "2026-01-01", "figures": figures}
    (tmp_path / "x.json").write_text(json.dumps(found))
    page = figures_page.page(tmp_path)
    assert "| `rate` | 44,999.9 | lines/s | >= 45,000: **missed** | 2026-01-01 |" in page
    assert "| `wait` | 5 | s | <= 6 | 2026-01-02 |" in page
    assert "| `files` | 36 | files | bounded | 2026-01-01 |" in page


def test_a_workload_is_a_line_with_its_baseline_its_best_and_the_tool_beside_it() -> None:
    measured = {
        "mae.persistence": 23.24, "mae.gbt": 18.26, "mae.xgboost": 17.5, "mae_of_lightgbm": 17.14,
        "mae_of_lightgbm_by_a_random_split": 16.75, "loss_less_that_of_persistence_low": -6.1334,
        "loss_less_that_of_persistence_high": -5.3467, "train_rows": 303_039, "holdout_rows": 75_753,
        "train_seconds": 967.4,
    }  # fmt: skip
    figures = {f"uk_traffic.{name}": {"value": value} for name, value in measured.items()}
    lines = workloads_table.table(figures, pipelines.load_all()).splitlines()
    assert lines[2:] == [
        "| `uk_traffic` | mae | persistence 23.24 | **xgboost 17.50** | lightgbm 17.14 | -6.13 to -5.35 | "
        "303,039, 75,753 | 967 s |"
    ]
