"""Rules to what runs them: Spark predicates for rows, a Great Expectations suite for the report.

Both see null the same way: a null passes every rule but not-null, and NaN counts as null. ``tests/unit`` proves on
random frames that both find the same rows.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from expectations import kinds
from expectations.rules import Rule

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

#: Key in an expectation's ``meta`` that holds the id of the rule it was made from.
RULE = "rule"


def violations(rules: Sequence[Rule]) -> Column:
    """Ids of the row rules that the row breaks, in their order; an empty array for a good row. JVM expressions only."""
    empty = F.array().cast("array<string>")
    if not rules:
        return empty
    broken = [(rule.id, breaks(rule)) for rule in rules]
    ids = F.array_compact(F.array(*[F.when(test, F.lit(rule_id)) for rule_id, test in broken]))
    # Nearly every row is good: no array is built for it.
    return F.when(reduce(or_, [test for _, test in broken]), ids).otherwise(empty)


def breaks(rule: Rule) -> Column:
    """True where the row breaks the rule, else false; never null. A table rule is a ValueError."""
    if type(rule.kwargs) not in _HOLDS:
        raise ValueError(f"{rule.id}: {rule.type} is not a rule about one row")
    return F.coalesce(~_HOLDS[type(rule.kwargs)](rule, rule.kwargs), F.lit(False))  # noqa: FBT003 - a Spark literal


def nan_as_null(frame: DataFrame) -> DataFrame:
    """The frame with NaN replaced by null: Great Expectations lets NaN pass not-null and ``>= 0``, fail ``<= 10``."""
    doubtful = [name for name, kind in frame.dtypes if kind in ("float", "double")]
    return frame.withColumns({name: F.when(~F.isnan(_named(name)), _named(name)) for name in doubtful})


def suite(name: str, rules: Iterable[Rule]) -> "ExpectationSuite":
    """The rules as a Great Expectations suite; ``meta["rule"]`` is the rule's id, ``notes`` its reason."""
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    expectations = [
        ExpectationConfiguration(
            type=rule.type, kwargs=_gx_kwargs(rule), severity=rule.severity, meta={RULE: rule.id}, notes=rule.why
        )
        for rule in rules
    ]
    return ExpectationSuite(name=name, expectations=expectations)


def _gx_kwargs(rule: Rule) -> dict[str, Any]:
    given = rule.kwargs.given
    # By default a pair with one null breaks "equal"; here null passes everywhere.
    return given | {"ignore_row_if": "either_value_is_missing"} if isinstance(rule.kwargs, kinds.Pair) else given


def _named(column: str) -> Column:
    return F.col(f"`{column}`")


def _value(column: str) -> Column:
    """The column with NaN as null. ``typeof`` is folded, so only floating columns pay for the question."""
    value = _named(column)
    is_nan = F.typeof(value).isin("float", "double") & (value.cast("string") == "NaN")
    return F.when(~is_nan | value.isNull(), value)


def _present(rule: Rule, kwargs: kinds.Presence) -> Column:
    value = _value(kwargs.column)
    return value.isNotNull() if rule.type == kinds.NOT_NULL else value.isNull()


def _between(_: Rule, kwargs: kinds.Between) -> Column:
    return _within(_value(kwargs.column), kwargs)


def _lengths_between(_: Rule, kwargs: kinds.LengthsBetween) -> Column:
    return _within(F.length(_value(kwargs.column)), kwargs)


def _within(value: Column, bounds: kinds.Between | kinds.LengthsBetween) -> Column:
    tests = []
    if bounds.min_value is not None:
        low = _literal(bounds.min_value)
        tests.append(value > low if bounds.strict_min else value >= low)
    if bounds.max_value is not None:
        high = _literal(bounds.max_value)
        tests.append(value < high if bounds.strict_max else value <= high)
    return reduce(lambda left, right: left & right, tests)


def _literal(bound: float | date) -> Column:
    # A double, as in Great Expectations: beyond 2^53 both round alike.
    return F.lit(bound if isinstance(bound, date) else float(bound))


def _member(rule: Rule, kwargs: kinds.Membership) -> Column:
    inside = _value(kwargs.column).isin(kwargs.value_set)
    return ~inside if rule.type == "expect_column_values_to_not_be_in_set" else inside


def _matching(rule: Rule, kwargs: kinds.Matching) -> Column:
    found = F.rlike(_value(kwargs.column), F.lit(kwargs.regex))
    return ~found if rule.type == "expect_column_values_to_not_match_regex" else found


def _length_is(_: Rule, kwargs: kinds.LengthIs) -> Column:
    return F.length(_value(kwargs.column)) == kwargs.value


def _greater(_: Rule, kwargs: kinds.Greater) -> Column:
    a, b = _value(kwargs.column_A), _value(kwargs.column_B)
    return a >= b if kwargs.or_equal else a > b


def _equal(_: Rule, kwargs: kinds.Pair) -> Column:
    return _value(kwargs.column_A) == _value(kwargs.column_B)


#: How each sort of row rule reads as "the row keeps it": true, false, or null for a null.
_HOLDS: dict[type[kinds.Kwargs], Callable[[Rule, Any], Column]] = {
    kinds.Presence: _present,
    kinds.Between: _between,
    kinds.Membership: _member,
    kinds.Matching: _matching,
    kinds.LengthsBetween: _lengths_between,
    kinds.LengthIs: _length_is,
    kinds.Greater: _greater,
    kinds.Pair: _equal,
}
