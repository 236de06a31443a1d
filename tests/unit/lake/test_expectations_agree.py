"""Great Expectations and the row predicates judge every row alike: the suite and the stream share one rule."""

from __future__ import annotations

import math
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from expectations.compile import RULE, breaks, nan_as_null, suite, violations
from expectations.kinds import ROW_RULES
from expectations.one_pass import tally
from expectations.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("compiled")]

SCHEMA = (
    "id bigint, text string, small int, big bigint, real double, single float, cash decimal(12,2), "
    "instant timestamp, later timestamp, day date, truth boolean"
)
_START = datetime(1995, 7, 1, tzinfo=UTC)

TEXTS = ["", "GET", "get", "POST", "NaN", "null", "a b", "ä", "\n", "x" * 300, "1995", "<b>", "-", "G\u0000"]
REGEXES = ["^[A-Z]+$", "^[a-z ]*$", "[0-9]", "^$", r"^\S++ \S+", "(?i)^get$", "^(?:GET|POST)$", "<", r"^.{1,3}$"]
numbers = st.sampled_from([-1, 0, 1, 2, 99, 100, 101, 599, 600])
instants = st.sampled_from([_START + timedelta(seconds=s) for s in (-1, 0, 1, 60, 86_400)])
days = st.sampled_from([date(1995, 6, 30), date(1995, 7, 1), date(1995, 7, 2)])
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.sampled_from(TEXTS) | st.text(max_size=5).filter(lambda t: t.isprintable()),
    "small": numbers,
    "big": numbers | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1]),
    "real": numbers.map(float) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.1, 99.999]),
    "single": numbers.map(float) | st.sampled_from([math.nan, 0.5]),
    "cash": numbers.map(Decimal),
    "instant": instants,
    "later": instants,
    "day": days,
    "truth": st.booleans(),
}
rows = st.fixed_dictionaries({name: st.none() | values for name, values in COLUMNS.items()})
#: Several small frames in one: each row is compared by its id, so equal as a whole means equal one by one.
frames = st.lists(st.lists(rows, max_size=8), min_size=1, max_size=10).map(
    lambda many: [row for few in many for row in few]
)

NUMERIC = st.sampled_from(["small", "big", "real", "single", "cash"])
bounds = st.lists(numbers, min_size=2, max_size=2).map(sorted)


@st.composite
def between(draw: st.DrawFn) -> dict[str, Any]:
    column = draw(NUMERIC | st.sampled_from(["instant", "day"]))
    source = {"instant": instants | days, "day": days}.get(column, numbers)
    low = draw(source)
    high = draw(source.filter(lambda value: type(value) is type(low) and value >= low))
    given_bounds = draw(
        st.sampled_from([{"min_value": low}, {"max_value": high}, {"min_value": low, "max_value": high}])
    )
    return {"column": column, **given_bounds, "strict_min": draw(st.booleans()), "strict_max": draw(st.booleans())}


@st.composite
def lengths(draw: st.DrawFn) -> dict[str, Any]:
    low, high = sorted(draw(st.lists(st.sampled_from([0, 1, 3, 5, 300]), min_size=2, max_size=2)))
    ends = draw(st.sampled_from([{"min_value": low}, {"max_value": high}, {"min_value": low, "max_value": high}]))
    return {"column": "text", **ends, "strict_min": draw(st.booleans()), "strict_max": draw(st.booleans())}


@st.composite
def membership(draw: st.DrawFn) -> dict[str, Any]:
    column = draw(st.sampled_from(["text", "small", "big", "real", "truth"]))
    source = {"text": st.sampled_from(TEXTS), "truth": st.booleans()}.get(column, numbers)
    return {"column": column, "value_set": draw(st.lists(source, min_size=1, max_size=4))}


@st.composite
def pair(draw: st.DrawFn) -> dict[str, Any]:
    a, b = draw(
        st.sampled_from(
            [("small", "big"), ("real", "single"), ("small", "real"), ("instant", "later"), ("big", "cash")]
        )
    )
    return {"column_A": a, "column_B": b}


presence = st.sampled_from(list(COLUMNS)).map(lambda column: {"column": column})
matching = st.sampled_from(REGEXES).map(lambda regex: {"column": "text", "regex": regex})
KWARGS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "expect_column_values_to_not_be_null": presence,
    "expect_column_values_to_be_null": presence,
    "expect_column_values_to_be_between": between(),
    "expect_column_values_to_be_in_set": membership(),
    "expect_column_values_to_not_be_in_set": membership(),
    "expect_column_values_to_match_regex": matching,
    "expect_column_values_to_not_match_regex": matching,
    "expect_column_value_lengths_to_be_between": lengths(),
    "expect_column_value_lengths_to_equal": st.sampled_from([0, 3]).map(lambda n: {"column": "text", "value": n}),
    "expect_column_pair_values_a_to_be_greater_than_b": st.builds(
        lambda p, e: {**p, "or_equal": e}, pair(), st.booleans()
    ),
    "expect_column_pair_values_to_be_equal": pair(),
}


def rule(number: int, kind: str, kwargs: dict[str, Any]) -> Rule:
    fields = {"id": f"rule_{number}", "type": kind, "kwargs": kwargs, "severity": "info", "on_fail": "warn", "why": "-"}
    return Rule.model_validate(fields)


#: One rule of every sort, and a second one of the sort with the most cases.
rules = st.tuples(*KWARGS.values(), KWARGS["expect_column_values_to_be_between"]).map(
    lambda drawn: [
        rule(n, kind, kwargs)
        for n, (kind, kwargs) in enumerate(zip([*KWARGS, "expect_column_values_to_be_between"], drawn, strict=True))
    ]
)
EVERY_RULE = [
    rule(0, "expect_column_values_to_not_be_null", {"column": "real"}),
    rule(1, "expect_column_values_to_be_null", {"column": "single"}),
    rule(2, "expect_column_values_to_be_between", {"column": "real", "min_value": 0}),
    rule(3, "expect_column_values_to_be_between", {"column": "real", "max_value": 10}),
    rule(4, "expect_column_values_to_be_in_set", {"column": "real", "value_set": [1]}),
    rule(5, "expect_column_values_to_not_be_in_set", {"column": "text", "value_set": ["GET"]}),
    rule(6, "expect_column_values_to_match_regex", {"column": "text", "regex": "^G"}),
    rule(7, "expect_column_values_to_not_match_regex", {"column": "text", "regex": "^G"}),
    rule(8, "expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 1}),
    rule(9, "expect_column_value_lengths_to_equal", {"column": "text", "value": 3}),
    rule(10, "expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "real", "column_B": "small"}),
    rule(11, "expect_column_pair_values_to_be_equal", {"column_A": "real", "column_B": "single"}),
]
NULLS: dict[str, Any] = dict.fromkeys(COLUMNS)
NANS = {**NULLS, "real": math.nan, "single": math.nan}


def test_every_supported_row_rule_is_compared() -> None:
    assert set(KWARGS) == set(ROW_RULES)
    assert {each.type for each in EVERY_RULE} == set(ROW_RULES)


@settings(
    max_examples=10, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(frame=frames, drawn=rules)
@example(frame=[], drawn=EVERY_RULE)
@example(frame=[NULLS] * 3, drawn=EVERY_RULE)
@example(frame=[NANS, NULLS, {**NANS, "small": 1, "text": "NaN"}], drawn=EVERY_RULE)
def test_both_find_the_same_rows(spark: SparkSession, frame: list[dict[str, Any]], drawn: list[Rule]) -> None:
    numbered = [(n, *(row[name] for name in COLUMNS)) for n, row in enumerate(frame)]
    table = spark.createDataFrame(numbered, SCHEMA).coalesce(1)
    predicted = table.select("id", violations(drawn).alias("broken")).collect()
    by_predicate = {each.id: {row.id for row in predicted if each.id in row.broken} for each in drawn}

    with small_jobs(spark):
        reported = great_expectations_on(nan_as_null(table), drawn)
        counted = tally(table, drawn)

    assert {name: ids for name, (_, ids) in reported.items()} == by_predicate
    assert counted.unexpected == {name: count for name, (count, _) in reported.items()}
    assert counted.rows == len(frame)


def test_a_rule_that_is_broken_by_null_is_false_not_null(spark: SparkSession) -> None:
    table = spark.createDataFrame([(0, *NULLS.values())], SCHEMA)
    answers = table.select(*[breaks(each).alias(each.id) for each in EVERY_RULE]).first()
    assert answers is not None
    assert answers.asDict() == {each.id: each.id == "rule_0" for each in EVERY_RULE}


def test_a_row_that_breaks_nothing_has_an_empty_array(spark: SparkSession) -> None:
    good = spark.createDataFrame([(1,)], "small int").select(
        violations([rule(0, "expect_column_values_to_not_be_null", {"column": "small"})])
    )
    assert good.first()[0] == []  # type: ignore[index]
    assert spark.range(1).select(violations([])).first()[0] == []  # type: ignore[index]


def test_predicates_run_in_the_jvm_alone(spark: SparkSession) -> None:
    table = spark.createDataFrame([], SCHEMA)
    plan = table.select(violations(EVERY_RULE))._jdf.queryExecution().executedPlan().toString()
    assert "array_compact" in plan or "filter" in plan
    assert "Python" not in plan


@contextmanager
def small_jobs(spark: SparkSession) -> Iterator[None]:
    """Thirty jobs on a handful of rows: compiling each costs more than all of its work (17 s against 3 s)."""
    choices = {
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
    }
    before = {key: spark.conf.get(key) for key in choices}
    for key, value in choices.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            spark.conf.set(key, str(value))


def great_expectations_on(table: DataFrame, drawn: list[Rule]) -> dict[str, tuple[int, set[int]]]:
    """Rule id to (unexpected rows, their ids), as Great Expectations finds them."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    in_memory = InMemoryStoreBackendDefaults()
    quiet = DataContextConfig(store_backend_defaults=in_memory, progress_bars=ProgressBarsConfig(globally=False))
    source = gx.get_context(mode="ephemeral", project_config=quiet).data_sources.add_spark("spark", persist=True)
    definition = source.add_dataframe_asset("t").add_batch_definition_whole_dataframe("rows")
    by_id = {"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]}
    try:
        result = definition.get_batch({"dataframe": table}).validate(suite("t", drawn), result_format=by_id)
    finally:
        table.unpersist()
    found = {}
    for each in result.results:
        assert not each.exception_info.get("raised_exception", True), each.exception_info
        ids = {entry["id"] for entry in each.result.get("unexpected_index_list") or []}
        # A sum over no rows is None.
        found[each.expectation_config.meta[RULE]] = (each.result["unexpected_count"] or 0, ids)
    return found
