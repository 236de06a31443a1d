"""The decision itself: counts in, a judgement out, without Spark."""

from __future__ import annotations

from typing import Any

import pytest

from expectations.judging import Judgement, Reported, judge
from expectations.one_pass import Tally
from expectations.rules import RuleSet

STATUS = {
    "id": "status_is_http",
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "status", "min_value": 100, "max_value": 599, "mostly": 0.9},
    "severity": "critical",
    "on_fail": "quarantine",
    "why": "w",
}
FLOOR = {
    "id": "enough",
    "type": "expect_table_row_count_to_be_between",
    "kwargs": {"min_value": 10},
    "severity": "critical",
    "on_fail": "fail",
    "why": "w",
}
ODD_METHOD = {
    "id": "method_is_known",
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "method"},
    "severity": "warning",
    "on_fail": "warn",
    "why": "w",
}
ONCE = {
    "id": "stored_once",
    "type": "expect_compound_columns_to_be_unique",
    "kwargs": {"column_list": ["topic_id", "kafka_offset"]},
    "severity": "critical",
    "on_fail": "fail",
    "why": "w",
}
KEY = ("topic_id", "kafka_partition", "kafka_offset")


def ruleset(*rules: dict[str, Any]) -> RuleSet:
    keys = [
        {"id": f"key_{column}", "type": "expect_column_values_to_not_be_null", "kwargs": {"column": column},
         "severity": "critical", "on_fail": "fail", "why": "w"}
        for column in KEY
    ]  # fmt: skip
    limit = {"max_share": 0.05, "min_rows": 20, "severity": "critical", "why": "w"}
    fields = {"dataset": "silver.access_log", "about": "a", "quarantine": limit, "rules": [FLOOR, *keys, *rules]}
    return RuleSet.model_validate(fields)


def judged(
    rows: int, rule: dict[str, Any] = STATUS, *, here: int = 0, away: dict[str, int] | None = None, **reported: Any
) -> Judgement:
    """``rows`` rows in silver, ``here`` of them break ``rule``, ``away`` are in quarantine by reason."""
    rules = ruleset(rule)
    unexpected = {each.id: 0 for each in rules.row_rules} | ({rule["id"]: here} if rule != ONCE else {})
    said = {each.id: Reported(success=True, unexpected=unexpected.get(each.id)) for each in rules.rules}
    if reported:
        said[rule["id"]] = Reported(**reported)
    return judge(rules, Tally(rows=rows, unexpected=unexpected, digest=""), away or {}, said)


def sentences(judgement: Judgement) -> str:
    return "\n".join(finding.sentence for finding in judgement.broken)


def test_a_quarantined_row_breaks_its_rule_though_it_is_no_longer_in_the_table() -> None:
    found = judged(1000, away={"rule:status_is_http": 112})
    assert not found.passed
    assert found.worst == "critical"
    assert (
        "status: expect_column_values_to_be_between {'column': 'status', 'min_value': 100, 'max_value': 599, "
        "'mostly': 0.9} [status_is_http, critical], 112 of 1,112 rows break it (112 of them in quarantine)"
    ) in sentences(found)


def test_mostly_is_a_share_of_all_rows_to_the_last_one() -> None:
    # 10 of 100 is exactly the tenth that may break it, with limits that doubles get wrong.
    assert judged(100, here=10).passed
    assert not judged(100, here=11).passed
    assert judged(91, here=1, away={"rule:status_is_http": 9}).findings[-2].passed
    assert not judged(90, here=1, away={"rule:status_is_http": 10}).findings[-2].passed


def test_rows_of_other_reasons_count_as_rows_that_keep_the_rule() -> None:
    found = judged(100, away={"bad_time": 5, "rule:another": 5, "rule:status_is_http": 1})
    status = next(finding for finding in found.findings if finding.rule == "status_is_http")
    assert (status.unexpected, status.of, status.quarantined) == (1, 111, 1)


@pytest.mark.parametrize(
    ("rows", "away", "passes"),
    [(95, 5, True), (94, 6, False), (0, 19, True), (0, 20, False), (19, 1, True), (18, 2, False), (17, 2, True)],
)
def test_the_share_of_quarantined_rows_is_limited_once_there_are_enough(rows: int, away: int, passes: bool) -> None:
    share = judged(rows, away={"no_request": away}).findings[-1]
    assert (share.rule, share.passed) == ("quarantine_share", passes)
    assert f"{away} of {rows + away} rows" in share.sentence


def test_an_empty_table_fails_on_its_floor_alone() -> None:
    found = judged(0)
    assert [finding.rule for finding in found.broken] == ["enough"]
    assert "observed 0 rows" in sentences(found)


def test_the_floor_counts_rows_of_the_table_and_not_what_was_refused() -> None:
    assert [finding.rule for finding in judged(9, away={"rule:status_is_http": 1}).broken] == ["enough"]


def test_a_warning_is_reported_and_passes() -> None:
    found = judged(100, ODD_METHOD, here=3)
    assert found.passed
    assert found.worst == "warning"
    assert "3 of 100 rows break it" in sentences(found)


def test_a_table_rule_is_decided_by_great_expectations() -> None:
    found = judged(100, ONCE, success=False, unexpected=4)
    assert not found.passed
    assert "topic_id, kafka_offset: expect_compound_columns_to_be_unique" in sentences(found)
    assert "4 of 100 rows break it" in sentences(found)


def test_two_engines_that_disagree_are_a_failed_check_and_not_bad_data() -> None:
    found = judged(100, here=3, success=True, unexpected=2)
    assert not found.passed
    assert "could not be judged: Great Expectations counts 2 rows that break it, the one pass 3" in sentences(found)


def test_a_check_that_crashed_stops_the_run_even_if_it_is_only_a_warning() -> None:
    found = judged(100, ODD_METHOD, success=False, problem="The column does not exist.")
    assert not found.passed
    assert "could not be judged: The column does not exist." in sentences(found)


def test_a_rule_without_a_result_is_a_failed_check() -> None:
    rules = ruleset(STATUS)
    found = judge(rules, Tally(rows=100, unexpected={}, digest=""), {}, {})
    assert not found.passed
    assert all("returned no result" in str(finding.problem) for finding in found.findings[:-1])
