"""The rules of a dataset, read once from ``expectations/<dataset>.yaml``: typed, frozen, and complete or refused.

``load`` needs neither Spark nor Great Expectations; ``compile`` turns what it returns into both.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from contracts.datasets import DATASETS
from contracts.errors import ConfigurationError
from contracts.landed_files import LANDED
from expectations.kinds import NOT_NULL, ROW_COUNT, ROW_RULES, TABLE_RULES, Kwargs, Rows, family

FOLDER = Path(__file__).resolve().parent

#: What a broken rule means: ``critical`` stops everything downstream, the others are reported.
Severity = Literal["critical", "warning", "info"]
#: What a row that breaks the rule gets: it leaves silver, it stays and is counted, or it stays and the run fails.
OnFail = Literal["quarantine", "warn", "fail"]

#: Longest first, for "the worst severity that failed".
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
#: Id under which the limit on quarantined rows is reported; no rule may take it.
QUARANTINE_SHARE = "quarantine_share"

_Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,62}$")]
_Text = Annotated[str, Field(min_length=1)]
_KNOWN = ROW_RULES | TABLE_RULES


def _known_type(name: str) -> str:
    if name not in _KNOWN:
        raise ValueError(f"one of {', '.join(sorted(_KNOWN))}")
    return name


class Rule(BaseModel):
    """One expectation: ``type`` and ``kwargs`` are Great Expectations' own, ``why`` is shown in every report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Id
    type: Annotated[str, AfterValidator(_known_type)]
    kwargs: SerializeAsAny[Kwargs]
    severity: Severity
    on_fail: OnFail
    why: _Text

    @field_validator("kwargs", mode="before")
    @classmethod
    def _of_that_type(cls, value: Any, info: ValidationInfo) -> Kwargs:  # noqa: ANN401 - raw YAML
        """The class is chosen by the name, so that an error names the argument of that very expectation."""
        return _KNOWN[info.data["type"]].model_validate(value) if "type" in info.data else Kwargs()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.on_fail == "quarantine" and not self.is_row_rule:
            raise ValueError(f"on_fail is 'quarantine', which needs a row rule: one of {', '.join(sorted(ROW_RULES))}")
        if (self.on_fail == "fail") != (self.severity == "critical") and self.on_fail != "quarantine":
            raise ValueError(
                f"on_fail {self.on_fail!r} does not go with severity {self.severity!r}; "
                "fail goes with critical, warn with warning or info, quarantine with any"
            )
        return self

    @property
    def is_row_rule(self) -> bool:
        return self.kwargs.is_row_rule

    @property
    def mostly(self) -> float:
        return float(getattr(self.kwargs, "mostly", 1.0))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.kwargs.demands)

    @property
    def subject(self) -> str:
        """What a message calls the thing that is judged: the column, the columns or ``(table)``."""
        return ", ".join(self.columns) or "(table)"


class QuarantineLimit(BaseModel):
    """How many of all arrived rows may be in quarantine for any reason; fewer than ``min_rows`` are not judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_share: Annotated[float, Field(ge=0.0, lt=1.0)]
    min_rows: Annotated[int, Field(ge=1)]
    severity: Severity
    why: _Text


class RuleSet(BaseModel):
    """All rules of one dataset. ``key`` comes from contracts/datasets.py where the dataset is one of the lake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(pattern=r"^[a-z]+\.[a-z][a-z0-9_]*$")]
    about: _Text
    key: tuple[str, ...] = ()
    quarantine: QuarantineLimit | None = None
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _refuse_doubles(self.rules)
        if (self.dataset in DATASETS) == bool(self.key):
            raise ValueError("key is required for a dataset outside contracts/datasets.py, and for no other")
        has_quarantine = self.quarantine_dataset is not None
        if has_quarantine != (self.quarantine is not None):
            raise ValueError("quarantine is required for a dataset that has one, and for no other")
        if self.quarantining and not (has_quarantine and self.dataset.startswith("silver.")):
            raise ValueError(
                f"rule {self.quarantining[0].id}: on_fail is quarantine, but only the stream moves rows, and "
                f"{self.dataset} is not a table of silver that has a quarantine"
            )
        self._refuse_holes()
        return self

    def _refuse_holes(self) -> None:
        """An empty or all-null table passes every other rule."""
        critical = [rule for rule in self.rules if rule.severity == "critical"]
        if not any(isinstance(rule.kwargs, Rows) and rule.kwargs.min_value for rule in critical):
            raise ValueError(f"no critical {ROW_COUNT} with a min_value of 1 or more: an empty table passes the others")
        guarded = {rule.columns for rule in critical if rule.type == NOT_NULL and rule.mostly == 1.0}
        for column in self.key_columns:
            if (column,) not in guarded:
                raise ValueError(f"no critical {NOT_NULL} without mostly on key column {column}: nulls pass the others")

    @property
    def key_columns(self) -> tuple[str, ...]:
        return DATASETS[self.dataset].key if self.dataset in DATASETS else self.key

    @property
    def quarantine_dataset(self) -> str | None:
        """Where rows went that this table refused: lines of a log on their way to silver, of a file to bronze."""
        layer, subject = self.dataset.split(".", 1)
        name = f"quarantine.{subject}"
        has_one = layer == "silver" or (layer == "bronze" and subject in LANDED)
        return name if has_one and name in DATASETS else None

    @property
    def row_rules(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.is_row_rule)

    @property
    def quarantining(self) -> tuple[Rule, ...]:
        """Rules that decide in the stream whether a row may enter silver, in the order of the file."""
        return tuple(rule for rule in self.rules if rule.on_fail == "quarantine")

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what the rules demand; a better explanation does not change it."""
        prose: Any = {"about": True, "quarantine": {"why"}, "rules": {"__all__": {"why"}}}
        fields = self.model_dump(mode="json", exclude=prose)
        return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def misfits(self, types: Mapping[str, str]) -> dict[str, str]:
        """Rules that cannot be judged on columns of these Spark types: rule id to what is wrong."""
        found: dict[str, str] = {}
        for rule in self.rules:
            for column, families in rule.kwargs.demands.items():
                if column not in types:
                    found[rule.id] = f"column {column!r} does not exist; columns are {', '.join(types)}"
                elif families and family(types[column]) not in families:
                    allowed = " or ".join(sorted(families))
                    found[rule.id] = f"column {column!r} is {types[column]}, which is not of the sort {allowed}"
        return found


def load(dataset: str, folder: Path = FOLDER) -> RuleSet:
    """Rules of ``dataset``; a wrong file is a ConfigurationError naming file, rule, field, value and what is allowed.

    The feature snapshot of a pipeline is the dataset ``features.<pipeline>``.
    """
    path = folder / f"{dataset}.yaml"
    if not path.is_file():
        raise ConfigurationError(
            f"Reading the expectations of {dataset}", found=f"no file {path}",
            required=f"one; there are {', '.join(names(folder))}", next_step="Correct the name, or write the file.",
        )  # fmt: skip
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a subclass of SafeLoader
        ruleset = RuleSet.model_validate(raw)
        _check_name(ruleset, path)
        _check_columns(ruleset)
    except yaml.YAMLError as error:
        raise _wrong(path, " ".join(str(error).split()), "a YAML file") from error
    except ValidationError as error:
        raise _wrong(path, *_described(error, raw)) from error
    return ruleset


def names(folder: Path = FOLDER) -> list[str]:
    """Datasets that have rules."""
    return sorted(path.name.removesuffix(".yaml") for path in folder.glob("*.yaml"))


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key may stand once: the second of two would silently win."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key, (key_node, _) in zip(keys, node.value, strict=True):
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _refuse_doubles(rules: Iterable[Rule]) -> None:
    ids: set[str] = {QUARANTINE_SHARE}
    demands: dict[str, str] = {}
    for rule in rules:
        if rule.id in ids:
            raise ValueError(f"rule {rule.id}: id is taken; each id may stand once, {QUARANTINE_SHARE} never")
        ids.add(rule.id)
        demand = f"{rule.type} {sorted(rule.kwargs.given.items())}"
        if demand in demands:
            raise ValueError(f"rule {rule.id}: demands the same as {demands[demand]}")
        demands[demand] = rule.id


def _check_name(ruleset: RuleSet, path: Path) -> None:
    if path.name != f"{ruleset.dataset}.yaml":
        raise _wrong(path, f"dataset: {ruleset.dataset!r}", f"the file's own name, {path.name.removesuffix('.yaml')!r}")


def _check_columns(ruleset: RuleSet) -> None:
    if ruleset.dataset not in DATASETS:
        return  # columns of a feature snapshot are known when it is made
    for rule_id, problem in ruleset.misfits(DATASETS[ruleset.dataset].types).items():
        raise ConfigurationError(
            f"Reading the expectations of {ruleset.dataset}", found=f"rule {rule_id}: {problem}",
            required="columns of contracts/datasets.py, each of a sort that the expectation can judge",
            next_step=f"Correct rule {rule_id} in expectations/{ruleset.dataset}.yaml.",
        )  # fmt: skip


def _described(error: ValidationError, raw: Any) -> tuple[str, str]:  # noqa: ANN401 - raw YAML
    """(what was found, what is allowed) of the first mistake, with the rule's id in place of its number."""
    first = error.errors()[0]
    field = list(first["loc"])
    rule: Any = None
    where = ""
    if field[:1] == ["rules"] and len(field) > 1 and isinstance(field[1], int):
        rule = raw["rules"][field[1]]
        where = f"rule {rule.get('id', field[1]) if isinstance(rule, dict) else field[1]}: "
        field = field[2:]
    message = first["msg"].removeprefix("Value error, ")
    if not field:
        return f"{where}{message}", "a file as docs/runbooks/validation.md describes it"
    name = ".".join(str(part) for part in field)
    if first["type"] == "missing":
        return f"{where}no {name}", f"a value for {name}"
    if first["type"] == "extra_forbidden":
        return f"{where}{name}", f"one of the fields {', '.join(_fields(field, rule))}"
    return f"{where}{name} is {first['input']!r}", message


def _fields(location: list[Any], rule: Any) -> list[str]:  # noqa: ANN401 - raw YAML
    """Fields that may stand where the unknown one stood."""
    model: type[BaseModel] = QuarantineLimit if location[0] == "quarantine" else RuleSet
    if isinstance(rule, dict):
        model = _KNOWN[rule["type"]] if location[0] == "kwargs" else Rule
    return sorted(model.model_fields)


def _wrong(path: Path, found: str, required: str) -> ConfigurationError:
    return ConfigurationError(
        f"Reading {path.name}", found=found, required=required, next_step=f"Correct {path}.",
    )  # fmt: skip
