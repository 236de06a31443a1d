"""`millrace new-pipeline`: the files of a pipeline over a landed table, to start from.

    bin/millrace new-pipeline job_salaries --dataset bronze.jobs --label average_salary

Writes the pipeline, the rules of its features, its runbook and its test; nothing where one of them exists already.
"""

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import yaml

from contracts.datasets import dataset
from contracts.errors import ConfigurationError, PlatformError
from contracts.files import write_atomically
from contracts.landed import PROVENANCE
from contracts.pipelines import PipelineSpec
from contracts.schema import Dataset
from contracts.settings import REPOSITORY

_NUMBERS = ("double", "float", "int", "bigint")
_KEY = ("source_sha256", "source_line")


def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    try:
        written = scaffold(args.name, dataset(args.dataset), args.label, args.task, args.repository)
    except PlatformError as error:
        print(f"new-pipeline: {error}", file=sys.stderr)
        return int(error.exit_code)
    for path in written:
        print(path.relative_to(args.repository))
    print("Say in the first what is trained on and what is judged on (split), then: make golden docs test-fast")
    return 0


def scaffold(name: str, table: Dataset, label: str, task: str, repository: Path) -> list[Path]:
    """Write the files and return their paths; a ConfigurationError where something does not fit, nothing is written."""
    if table.key != _KEY:
        raise _wrong(name, f"{table.name} with the key {', '.join(table.key)}", "a table of landed files")
    if label not in _columns(table):
        raise _wrong(name, f"label {label!r}", f"one of {', '.join(_columns(table))}")
    if table.types[label] not in _NUMBERS:
        raise _wrong(name, f"label {label}, a text", "a number to predict, or 0 and 1 for two classes")
    files = {
        repository / "pipelines" / f"{name}.yaml": _pipeline(name, table, label, task),
        repository / "expectations" / f"features.{name}.yaml": _rules(name, label),
        repository / "docs" / "runbooks" / f"retrain_{name}.md": _RUNBOOK.format(name=name, subject=table.subject),
        repository / "tests" / "unit" / f"test_pipeline_{name}.py": _TEST.format(name=name, label=label),
    }
    taken = [str(path.relative_to(repository)) for path in files if path.exists()]
    if taken:
        raise _wrong(name, f"{', '.join(taken)} already there", "a name that nothing has")
    # What cannot be read would stop every DAG.
    PipelineSpec.model_validate(yaml.safe_load(next(iter(files.values()))))
    for path, text in files.items():
        write_atomically(path, text)
    return list(files)


def _columns(table: Dataset) -> list[str]:
    where_from = {column.name for column in PROVENANCE}
    return [column.name for column in table.columns if column.name not in where_from]


def _pipeline(name: str, table: Dataset, label: str, task: str) -> str:
    types = table.types
    features = [column for column in _columns(table) if column != label]
    numeric = [column for column in features if types[column] in _NUMBERS]
    categories = [column for column in features if types[column] == "string"]
    is_classes = task == "classification"
    return _PIPELINE.format(
        name=name, task=task, dataset=table.name, label=label, numeric=", ".join(numeric),
        categories=", ".join(categories), linear="logistic_regression" if is_classes else "linear_regression",
        metric="log_loss" if is_classes else "mae", baseline="prior" if is_classes else "mean",
    )  # fmt: skip


def _rules(name: str, label: str) -> str:
    parts = [_RULES.format(name=name)]
    whys = {**dict.fromkeys(_KEY, "The key, and what the split goes by."), label: "What is learned."}
    parts += [_NOT_NULL.format(column=column, why=why) for column, why in whys.items()]
    return "".join(parts)


def _wrong(name: str, found: str, required: str) -> ConfigurationError:
    return ConfigurationError(
        f"Scaffolding the pipeline {name}", found=found, required=required,
        next_step="Correct the arguments, or land the table first (contracts/landed_files.py).",
    )  # fmt: skip


def _arguments(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="millrace new-pipeline", description=__doc__, allow_abbrev=False)
    parser.add_argument("name", type=_name, help="lower case, digits and _")
    parser.add_argument("--dataset", required=True, help="table of landed files, e.g. bronze.jobs")
    parser.add_argument("--label", required=True, help="column to predict; 0 and 1 for classification")
    parser.add_argument("--task", choices=("regression", "classification"), default="regression")
    parser.set_defaults(repository=REPOSITORY)
    return parser.parse_args(argv)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text):
        raise ValueError(text)
    return text


_PIPELINE = """\
# What is this good for? Fields and their meaning: docs/pipelines.md.
name: {name}
about: Say here what is predicted, for whom.
task: {task}
dataset: {dataset}
key: [source_sha256, source_line]
label: {label}

features:
  kind: table
  # Take out what is not known when the prediction is made, and what follows from the label.
  numeric: [{numeric}]
  categories: [{categories}]
  impute: median

split:
  kind: files
  # Names of the files to train on and to judge on, as a shell would match them.
  train: "train*"
  holdout: "holdout*"
  min_train_rows: 1000
  min_holdout_rows: 200

algorithms:
  - name: {linear}
  - name: random_forest
    num_trees: 100
    max_depth: [5, 10]
search:
  method: grid
  metric: {metric}
seed: 42
fit_partitions: 2

gate:
  metric: {metric}
  baseline: {baseline}
  # Say why this much is worth having.
  min_skill: 0.05
  min_gain: 0.01

compute_profile: small
schedule:
  cron: "0 5 * * 1"
  timezone: UTC
  deadline_min: 60
drift:
  # Half an hour before the weekly training: a file that the champion does not know is held against its own rows.
  # Rows are taken for independent of each other; those of a series are not, it says block_hours.
  cron: "30 4 * * 1"
  timezone: UTC
"""

_RULES = """\
# What must hold of a training snapshot of {name}. How a file is written: docs/runbooks/validation.md.
dataset: features.{name}
about: One row per example that can be trained on or judged on.
key: [source_sha256, source_line]

rules:
  - id: enough_rows
    type: expect_table_row_count_to_be_between
    kwargs: {{min_value: 1}}
    severity: critical
    on_fail: fail
    why: An empty snapshot passes the rest; whether there are enough rows to learn from is decided by train.
  - id: line_is_stored_once
    type: expect_compound_columns_to_be_unique
    kwargs: {{column_list: [source_sha256, source_line]}}
    severity: critical
    on_fail: fail
    why: A row on both sides of the split would leak its label.
"""
_NOT_NULL = """\
  - id: {column}_is_set
    type: expect_column_values_to_not_be_null
    kwargs: {{column: {column}}}
    severity: critical
    on_fail: fail
    why: {why}
"""

_RUNBOOK = """\
# Runbook: retrain_{name}

Say here what it trains, for whom. Step by step: [dags.md](../dags.md). The spec is `pipelines/{name}.yaml`.

## Before the first run
```
bin/millrace ingest {subject} FILE...
```

## Which task is red?
| task | means | do |
|---|---|---|
| `validate` (exit 3) | rows break a rule | withdraw the file, ingest the right one ([landed_files](landed_files.md)) |
| `validate_features` (exit 3) | a row lacks its label, or is there twice | correct the file |
| `train` (exit 4) | one class, a feature that alone tells the label, no good trial | the message says which |
| any (exit 5, 6) | MLflow or a lock: Airflow retries | `bin/millrace status` if it stays |
"""

_TEST = '''\
"""The pipeline {name}: what it must keep saying."""

from contracts import pipelines


def test_the_label_is_no_feature():
    spec = pipelines.load("{name}")
    assert spec.label == "{label}"
    assert spec.label not in spec.features.columns
'''

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
