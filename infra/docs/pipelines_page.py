"""Write docs/pipelines.md from contracts/pipelines: every field of a pipeline's file, what it may be and what it means.

python -m infra.docs.pipelines_page
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from contracts.files import write_atomically
from contracts.pipelines import PipelineSpec, algorithms, drift, features, parts
from contracts.pipelines.checks import KINDS
from contracts.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "pipelines.md"
_HEAD = """<!-- Made by `make docs` from contracts/pipelines/. Edit the code, not this page. -->
# A pipeline's file
`pipelines/<name>.yaml` describes one workload; `retrain_<name>` in Airflow is made from it. `bin/millrace new-pipeline`
writes the first version of one with its expectations and runbook. A wrong value stops before Spark starts and names
file, field, value and what is allowed; so does a field that is not on this page. Read those in `pipelines/` first.
"""
_NUMBERS = {"integer": "whole number", "number": "number"}
#: Sections under a field of the spec: the field, and what may stand there.
_SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "features": (
        features.TableColumns, features.Selection, features.RegularSeries, features.MinuteSeries, features.Visitors,
        features.Ratings, features.GenreTastes,
    ),
    "split": (parts.FileSplit, parts.RandomSplit, parts.TimeSplit, parts.UserSplit),
    "algorithms": (
        algorithms.LogisticRegression, algorithms.LinearSvc, algorithms.NaiveBayes, algorithms.RandomForest,
        algorithms.Gbt, algorithms.Xgboost, algorithms.LinearRegression, algorithms.GeneralizedLinear,
        algorithms.KMeans, algorithms.BisectingKMeans, algorithms.GaussianMixture, algorithms.ImplicitAls,
        algorithms.ResidualAls,
    ),
    "search": (parts.Search, parts.RollingOrigin),
    "imbalance": (parts.Imbalance,),
    "calibration": (parts.Calibration,),
    "gate": (parts.Gate,),
    "schedule": (parts.Schedule,),
    "drift": (drift.DriftPolicy, drift.Confirmation),
}  # fmt: skip
#: Sections within a section, by where they stand in the file.
_WITHIN = {"Selection": "features.select", "RollingOrigin": "search.rolling_origin", "Confirmation": "drift.confirm"}
_NOTES = {
    "features": "| kind | for the task | split |\n|---|---|---|\n"
    + "\n".join(
        f"| `{kind}` | {', '.join(tasks)} | {', '.join(f'`{split}`' for split in splits)} |"
        for kind, (tasks, splits) in KINDS.items()
    ),
    "algorithms": "A hyperparameter is one value, a list to choose from, or a range `{low: 0.01, high: 1, log: true}`.",
}


def page() -> str:
    """The whole page."""
    blocks = [_HEAD, _table(PipelineSpec)]
    for field, models in _SECTIONS.items():
        blocks.append(f"## `{field}`\n{_NOTES.get(field, '')}".rstrip() + "\n")
        blocks += [f"{_heading(model)}{_about(model)}\n\n{_table(model)}" for model in models]
    return "\n".join(blocks)


def _heading(model: type[BaseModel]) -> str:
    properties = model.model_json_schema()["properties"]
    named = properties.get("kind") or properties.get("name")
    if model.__name__ in _WITHIN:
        return f"### `{_WITHIN[model.__name__]}`\n"
    if named is None:
        return ""
    values = " or ".join(f"`{value}`" for value in named.get("enum", [named.get("const")]))
    tasks = algorithms.TASKS.get(str(named.get("const")), ())
    return f"### {values}" + (f": {', '.join(tasks)}" if tasks else "") + "\n"


def _about(model: type[BaseModel]) -> str:
    return _code(inspect.cleandoc(model.__doc__ or "").replace("\n\n", " ").replace("\n", " "))


def _table(model: type[BaseModel]) -> str:
    schema, said = model.model_json_schema(), dict(_comments(model))
    rows = []
    for name, field in schema["properties"].items():
        if name == "name" and model is not PipelineSpec:
            continue  # an algorithm's own name is its heading
        default = "required" if name in schema.get("required", ()) else _value(field.get("default"))
        allowed = _allowed(name, field)
        rows.append(f"| `{name}` | {allowed} | {default} | {_code(said.get(name, ''))} |")
    return "| field | allowed | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _comments(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Each field with the ``#:`` lines above it, which no schema holds; of several fields below them, the first."""
    waiting: list[str] = []
    for line in inspect.getsource(model).splitlines():
        if remark := re.match(r" {4}#: ?(.*)", line):
            waiting.append(remark[1])
            continue
        if (field := re.match(r" {4}(\w+): ", line)) and waiting:
            yield field[1], " ".join(waiting)
        waiting = []


def _allowed(name: str, field: dict[str, Any]) -> str:
    if name in _SECTIONS and ("oneOf" in field or "$ref" in str(field)):
        return f"[below](#{name})" + (", a list" if field.get("type") == "array" else "")
    if "anyOf" in field:
        # Lists and ranges of a hyperparameter are explained once.
        kinds = [each for each in field["anyOf"] if each.get("type") not in ("null", "array")]
        return " or ".join(dict.fromkeys(_kind(each) for each in kinds if "Range" not in each.get("$ref", "")))
    return _kind(field)


def _kind(schema: dict[str, Any]) -> str:
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        place = _WITHIN[schema["$ref"].rsplit("/", 1)[-1]]
        return f"[below](#{place.replace('.', '')})"
    kind = str(schema.get("type"))
    if kind == "array":
        inside = _kind(schema["items"]) if "items" in schema else "two"
        return "list of " + re.sub(r"^(text|whole number|number)\b", r"\1s", inside).replace("list of", "lists of")
    if kind == "object":
        return "names with values"
    if kind in _NUMBERS:
        signs = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
        limits = [f"{sign} {schema[key]:,}" for key, sign in signs.items() if key in schema]
        return " ".join([_NUMBERS[kind], *limits])
    return {"boolean": "`true`, `false`", "string": "text"}.get(kind, kind)


def _value(default: Any) -> str:  # noqa: ANN401 - whatever a field has
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "none" if default in (None, "", [], {}) else f"`{default}`"


def _code(text: str) -> str:
    """Markdown of a docstring."""
    return text.replace("``", "`").replace("|", "\\|")


def main() -> None:
    write_atomically(PAGE, page())
    print(f"wrote {PAGE.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
