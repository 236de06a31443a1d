"""The page about a pipeline's file: made from the code, so that it cannot say less than the code takes."""

from __future__ import annotations

import re

from contracts.pipelines import PipelineSpec, algorithms
from infra.docs import pipelines_page


def test_the_page_in_the_repository_is_the_one_that_the_code_makes() -> None:
    assert pipelines_page.PAGE.read_text(encoding="utf-8") == pipelines_page.page(), "run: make docs"


def test_every_model_of_the_spec_has_its_table() -> None:
    page = pipelines_page.page()
    models = PipelineSpec.model_json_schema()["$defs"]
    rows = set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))
    for name, model in models.items():
        if "Range_" not in name:
            assert set(model["properties"]) - {"name"} <= rows, name
    for name in algorithms.TASKS:
        assert f"### `{name}`: " in page


def test_a_field_says_what_it_may_be_and_the_comment_above_it() -> None:
    page = pipelines_page.page()
    assert "| `folds` | whole number from 2 to 20 | `3` |" in page
    assert "| `liked_from` | number | required | Ratings of so much and more are likes" in page
    assert "| `stop_hopeless` | `true`, `false` | `false` |" in page
