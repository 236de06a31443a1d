"""The rules that may be written: Great Expectations' own names, and for each the kwargs it takes.

A *row rule* is true or false of one row, so it can also decide whether that row may enter silver. A *table rule* is
about all rows together and runs in Great Expectations alone. Anything that is not listed here is refused when the file
is read: an expectation without a Spark twin would pass in the stream and fail in the report, or the other way round.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator

from expectations.regexes import check_linear

#: Great Expectations turns bounds into doubles, which hold every integer only up to here.
_LARGEST_EXACT = 2**53

_FAMILIES = {
    "tinyint": "number", "smallint": "number", "int": "number", "bigint": "number", "float": "number",
    "double": "number", "string": "text", "timestamp": "instant", "date": "day", "boolean": "truth",
}  # fmt: skip


def family(column_type: str) -> str:
    """Family of a Spark type in DDL form: ``number``, ``text``, ``instant``, ``day``, ``truth`` or ``other``."""
    if column_type.startswith("decimal"):
        return "number"
    return _FAMILIES.get(column_type, "other")


def _bound(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("an instant needs its time zone, e.g. 1995-07-01T00:00:00Z")
        return value.astimezone(UTC)
    if isinstance(value, date):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number, a day (1995-07-01) or an instant (1995-07-01T00:00:00Z) is allowed")  # noqa: TRY004 - pydantic collects it
    if abs(value) > _LARGEST_EXACT:
        raise ValueError("numbers from -2^53 to 2^53 are allowed: Great Expectations compares bounds as doubles")
    return value


def _sort(value: object) -> str:
    if isinstance(value, datetime):
        return "instant"
    return "day" if isinstance(value, date) else "number"


def _member(value: object) -> object:
    if not isinstance(value, str | int):
        raise ValueError("texts, whole numbers and true or false are allowed")  # noqa: TRY004 - pydantic collects it
    if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
        raise ValueError("whole numbers from -2^53 to 2^53 are allowed")
    return value


def _regex(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a regular expression (text) is allowed")  # noqa: TRY004 - pydantic collects it
    return check_linear(value)


Bound = Annotated[Any, BeforeValidator(_bound)]
Member = Annotated[Any, BeforeValidator(_member)]
Regex = Annotated[str, BeforeValidator(_regex)]
Name = Annotated[StrictStr, Field(min_length=1)]
Length = Annotated[StrictInt, Field(ge=0)]
Share = Annotated[float, Field(gt=0.0, le=1.0, strict=True)]


class Kwargs(BaseModel):
    """Arguments of one expectation. ``is_row_rule`` says which of the two sorts it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_row_rule: ClassVar[bool] = False

    @property
    def given(self) -> dict[str, Any]:
        """The arguments that differ from Great Expectations' defaults, in the order in which a person reads them."""
        given = self.model_dump(exclude_defaults=True)
        rank = {"column": 0, "column_A": 0, "column_B": 1, "mostly": 9}
        return {name: given[name] for name in sorted(given, key=lambda name: rank.get(name, 5))}

    @property
    def demands(self) -> dict[str, frozenset[str]]:
        """Families that each column may have; an empty set stands for any."""
        return {}


class _Bounds(Kwargs):
    """At least one bound, the lower not above the upper."""

    min_value: Bound = None
    max_value: Bound = None
    strict_min: StrictBool = False
    strict_max: StrictBool = False

    @model_validator(mode="before")
    @classmethod
    def _no_empty_bound(cls, data: Any) -> Any:  # noqa: ANN401 - raw input
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_value is None and self.max_value is None:
            raise ValueError("min_value, max_value or both are required")
        if self.min_value is not None and self.max_value is not None:
            if _sort(self.min_value) != _sort(self.max_value):
                raise ValueError("min_value and max_value must be of the same sort")
            if self.min_value > self.max_value:
                raise ValueError(f"min_value {self.min_value} is above max_value {self.max_value}")
        return self

    @property
    def sort(self) -> str:
        return _sort(self.min_value if self.min_value is not None else self.max_value)


class _OneColumn(Kwargs):
    column: Name

    @property
    def demands(self) -> dict[str, frozenset[str]]:
        return {self.column: self.families}

    @property
    def families(self) -> frozenset[str]:
        return frozenset()


class _RowRule(Kwargs):
    """``mostly`` is the share of all rows of the window, quarantined ones included, that must keep the rule."""

    is_row_rule: ClassVar[bool] = True

    mostly: Share = 1.0


class Presence(_OneColumn, _RowRule):
    """A value is there, or is not."""


class Between(_OneColumn, _Bounds, _RowRule):
    """Numbers against numbers, instants against instants or days, days against days."""

    @property
    def families(self) -> frozenset[str]:
        return frozenset({"day", "instant"}) if self.sort == "day" else frozenset({self.sort})


class Membership(_OneColumn, _RowRule):
    """Values of one sort: all texts, all whole numbers or all true/false."""

    value_set: list[Member] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_sort(self) -> Self:
        if len({type(value) for value in self.value_set}) > 1:
            raise ValueError("values of one sort are required; YAML reads NO, ON and 7 as text only in quotes")
        return self

    @property
    def families(self) -> frozenset[str]:
        sorts = {str: "text", bool: "truth", int: "number"}
        return frozenset({sorts[type(self.value_set[0])]})


class Matching(_OneColumn, _RowRule):
    """Java's regular expressions, found anywhere in the text unless anchored."""

    regex: Regex

    @property
    def families(self) -> frozenset[str]:
        return frozenset({"text"})


class LengthsBetween(_OneColumn, _RowRule):
    """Lengths in characters."""

    min_value: Length | None = None
    max_value: Length | None = None
    strict_min: StrictBool = False
    strict_max: StrictBool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_value is None and self.max_value is None:
            raise ValueError("min_value, max_value or both are required")
        if self.min_value is not None and self.max_value is not None and self.min_value > self.max_value:
            raise ValueError(f"min_value {self.min_value} is above max_value {self.max_value}")
        return self

    @property
    def families(self) -> frozenset[str]:
        return frozenset({"text"})


class LengthIs(_OneColumn, _RowRule):
    """One length in characters."""

    value: Length

    @property
    def families(self) -> frozenset[str]:
        return frozenset({"text"})


class Pair(_RowRule):
    """Two columns of one row; where either is null the row passes."""

    column_A: Name  # noqa: N815 - Great Expectations' own name
    column_B: Name  # noqa: N815 - Great Expectations' own name

    @property
    def demands(self) -> dict[str, frozenset[str]]:
        return dict.fromkeys((self.column_A, self.column_B), frozenset({"number", "instant", "day"}))


class Greater(Pair):
    """A above B, or equal where ``or_equal`` is set."""

    or_equal: StrictBool = False


class Rows(_Bounds):
    """Rows of the table in the window."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = [value for value in (self.min_value, self.max_value) if value is not None]
        if not all(isinstance(value, int) and value >= 0 for value in given):
            raise ValueError("whole numbers from 0 are required")
        return self


class Unique(_OneColumn):
    """No value twice; nulls are not compared."""


class UniqueTogether(Kwargs):
    """No combination of values twice."""

    column_list: list[Name] = Field(min_length=2)

    @property
    def demands(self) -> dict[str, frozenset[str]]:
        return {column: frozenset() for column in self.column_list}


class Aggregate(_OneColumn, _Bounds):
    """A number computed from one column."""

    @property
    def families(self) -> frozenset[str]:
        return frozenset({"number"})


class NoRows(Kwargs):
    """A query over ``{batch}`` that finds what must not be there."""

    unexpected_rows_query: Annotated[StrictStr, Field(pattern=r"(?is)^\s*select\b[^;]*\{batch\}[^;]*$")]


ROW_RULES: dict[str, type[_RowRule]] = {
    "expect_column_values_to_not_be_null": Presence,
    "expect_column_values_to_be_null": Presence,
    "expect_column_values_to_be_between": Between,
    "expect_column_values_to_be_in_set": Membership,
    "expect_column_values_to_not_be_in_set": Membership,
    "expect_column_values_to_match_regex": Matching,
    "expect_column_values_to_not_match_regex": Matching,
    "expect_column_value_lengths_to_be_between": LengthsBetween,
    "expect_column_value_lengths_to_equal": LengthIs,
    "expect_column_pair_values_a_to_be_greater_than_b": Greater,
    "expect_column_pair_values_to_be_equal": Pair,
}

ROW_COUNT = "expect_table_row_count_to_be_between"
NOT_NULL = "expect_column_values_to_not_be_null"

TABLE_RULES: dict[str, type[Kwargs]] = {
    ROW_COUNT: Rows,
    "expect_column_values_to_be_unique": Unique,
    "expect_compound_columns_to_be_unique": UniqueTogether,
    "expect_column_min_to_be_between": Aggregate,
    "expect_column_max_to_be_between": Aggregate,
    "expect_column_mean_to_be_between": Aggregate,
    "expect_column_sum_to_be_between": Aggregate,
    "unexpected_rows_expectation": NoRows,
}
