"""What an expectations file may say, and that every dataset which others rely on has a complete one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from contracts import pipelines
from contracts.datasets import DATASETS
from contracts.errors import ConfigurationError
from contracts.landed_files import LANDED
from expectations import rules
from expectations.kinds import NOT_NULL, ROW_COUNT, ROW_RULES
from expectations.regexes import check_linear

#: Datasets of silver and gold that are used without a suite of their own, and why that is safe.
EXEMPT = {
    "gold.access_log_hourly": "recomputed from silver by reconcile and compared as a whole",
    "gold.resource_popularity": "recomputed from silver by reconcile and compared as a whole",
    "gold.sessions": "recomputed from silver by reconcile and compared as a whole",
    "gold.access_log_volume_forecast": "an end product: nothing is trained on it or computed from it",
}

COMPLETE = """
dataset: silver.access_log
about: For tests.
quarantine: {max_share: 0.05, min_rows: 20, severity: critical, why: w}
rules:
  - {id: enough, type: expect_table_row_count_to_be_between, kwargs: {min_value: 1}, severity: critical, on_fail: fail, why: w}
  - {id: topic, type: expect_column_values_to_not_be_null, kwargs: {column: topic_id}, severity: critical, on_fail: fail, why: w}
  - {id: part, type: expect_column_values_to_not_be_null, kwargs: {column: kafka_partition}, severity: critical, on_fail: fail, why: w}
  - {id: offset, type: expect_column_values_to_not_be_null, kwargs: {column: kafka_offset}, severity: critical, on_fail: fail, why: w}
"""  # noqa: E501 - one rule a line
BETWEEN = "expect_column_values_to_be_between"


def rule(kind: str, kwargs: str, severity: str = "critical", on_fail: str = "quarantine", name: str = "new") -> str:
    return f"  - {{id: {name}, type: {kind}, kwargs: {kwargs}, severity: {severity}, on_fail: {on_fail}, why: w}}\n"


def load(folder: Path, text: str, dataset: str = "silver.access_log") -> rules.RuleSet:
    (folder / f"{dataset}.yaml").write_text(text)
    return rules.load(dataset, folder)


def test_a_complete_file_is_read(tmp_path: Path) -> None:
    found = load(tmp_path, COMPLETE + rule(BETWEEN, "{column: status, min_value: 100, max_value: 599, mostly: 0.99}"))
    assert [each.id for each in found.quarantining] == ["new"]
    assert found.rules[-1].mostly == 0.99
    assert found.rules[-1].kwargs.given == {"column": "status", "min_value": 100, "max_value": 599, "mostly": 0.99}
    assert found.key_columns == ("topic_id", "kafka_partition", "kafka_offset")


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        (rule("expect_column_quantile_values_to_be_between", "{column: status}"), ["rule new", "type is", ROW_COUNT]),
        (rule(BETWEEN, "{column: status, min_value: x}"), ["rule new", "kwargs.min_value is 'x'", "a number, a day"]),
        (rule(BETWEEN, "{column: status, min_value: 9, max_value: 1}"), ["min_value 9 is above max_value 1"]),
        (rule(BETWEEN, "{column: status, min_value: 1, max_value: 1991-01-01}"), ["of the same sort"]),
        (rule(BETWEEN, "{column: status}"), ["min_value, max_value or both"]),
        (rule(BETWEEN, "{column: status, min_value: 99999999999999999}"), ["-2^53 to 2^53"]),
        (rule(BETWEEN, "{column: status, min_value: true}"), ["kwargs.min_value is True"]),
        (rule(BETWEEN, "{column: status, mosty: 1, min_value: 1}"), ["rule new: kwargs.mosty", "mostly, strict_max"]),
        (
            rule(BETWEEN, "{column: status, min_value: 1, mostly: 1.5}"),
            ["kwargs.mostly is 1.5", "less than or equal to 1"],
        ),
        (rule(BETWEEN, "{column: nope, min_value: 1}"), ["rule new: column 'nope' does not exist", "requested_at"]),
        (rule(BETWEEN, "{column: host, min_value: 1}"), ["column 'host' is string", "number"]),
        (rule(BETWEEN, "{column: requested_at, min_value: 1991-01-01 00:00:00}"), ["needs its time zone"]),
        (rule(BETWEEN, "{column: arrived_on, min_value: 1991-01-01T00:00:00Z}"), ["'arrived_on' is date", "instant"]),
        (
            rule(BETWEEN, "{column: status, min_value: 1}", severity="high"),
            ["severity is 'high'", "'warning' or 'info'"],
        ),
        (rule(BETWEEN, "{column: status, min_value: 1}", on_fail="drop"), ["on_fail is 'drop'", "'warn' or 'fail'"]),
        (rule(BETWEEN, "{column: status, min_value: 1}", "warning", "fail"), ["does not go with severity 'warning'"]),
        (rule(BETWEEN, "{column: status, min_value: 1}", "critical", "warn"), ["does not go with severity 'critical'"]),
        (rule(ROW_COUNT, "{min_value: 7}"), ["needs a row rule", "expect_column_values_to_match_regex"]),
        (rule(ROW_COUNT, "{min_value: -1}", on_fail="fail"), ["whole numbers from 0"]),
        (rule("expect_column_values_to_be_in_set", "{column: method, value_set: [GET, NO]}"), ["of one sort"]),
        (rule("expect_column_values_to_be_in_set", "{column: method, value_set: []}"), ["at least 1 item"]),
        (
            rule("expect_column_values_to_be_in_set", "{column: method, value_set: [1]}"),
            ["'method' is string", "number"],
        ),
        (rule("expect_column_values_to_match_regex", "{column: host, regex: '(a+)+$'}"), ["not repeated", "(a+)+$"]),
        (
            rule("unexpected_rows_expectation", "{unexpected_rows_query: DROP TABLE x}", on_fail="fail"),
            ["should match"],
        ),
        (rule(NOT_NULL, "{column: host}", on_fail="fail", name="topic"), ["rule topic: id is taken"]),
        (rule(NOT_NULL, "{column: host}", on_fail="fail", name="quarantine_share"), ["quarantine_share never"]),
        (rule(NOT_NULL, "{column: topic_id}", on_fail="fail"), ["demands the same as topic"]),
        (rule(NOT_NULL, "{column: host}", on_fail="fail", name="X"), ["rule X: id is 'X'"]),
        (rule(NOT_NULL, "{column: host}", on_fail="fail").replace(", why: w", ""), ["rule new: no why"]),
        (rule(NOT_NULL, "{column: host}", on_fail="fail").replace("why: w", "wy: w"), ["rule new"]),
        ("  - {id: a, id: b}\n", ["'id' stands twice"]),
        ("  - 7\n", ["rule 4"]),
        ("rule: 7\n", ["rule", "about, dataset, key, quarantine, rules"]),
        ("]\n", ["a YAML file"]),
        ("key: [host]\n", ["key is required for a dataset outside"]),
    ],
)
def test_a_wrong_file_is_refused_by_name_with_what_is_allowed(tmp_path: Path, addition: str, said: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, COMPLETE + addition)
    message = str(refused.value)
    assert "silver.access_log" in message
    assert "Nothing was changed." in message
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{min_value: 1}", "{max_value: 9}"), f"no critical {ROW_COUNT}"),
        (
            ("{min_value: 1}, severity: critical, on_fail: fail", "{min_value: 1}, severity: info, on_fail: warn"),
            ROW_COUNT,
        ),
        (("{column: kafka_offset}", "{column: host}"), "key column kafka_offset"),
        (("{column: kafka_offset}", "{column: kafka_offset, mostly: 0.9}"), "key column kafka_offset"),
        (("quarantine: {max_share", "# {max_share"), "quarantine is required"),
        (("max_share: 0.05", "max_share: 5"), "max_share is 5"),
        (("dataset: silver", "dataset: gold"), "silver.access_log"),
    ],
)
def test_an_incomplete_file_is_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in COMPLETE
    with pytest.raises(ConfigurationError, match=said.replace("(", "[(]")):
        load(tmp_path, COMPLETE.replace(*change))


def test_a_dataset_without_a_file_is_refused_with_the_names_that_exist(tmp_path: Path) -> None:
    load(tmp_path, COMPLETE)
    with pytest.raises(
        ConfigurationError, match=r"no file .*gold\.nothing.*; required one; there are silver\.access_log"
    ):
        rules.load("gold.nothing", tmp_path)


def test_the_hash_follows_what_is_demanded_and_not_why(tmp_path: Path) -> None:
    before = load(tmp_path, COMPLETE).hash
    assert (
        load(tmp_path, COMPLETE.replace("why: w", "why: a better reason").replace("For tests", "Really")).hash == before
    )
    assert load(tmp_path, COMPLETE.replace("min_value: 1", "min_value: 2")).hash != before
    assert load(tmp_path, COMPLETE.replace("max_share: 0.05", "max_share: 0.06")).hash != before


def test_columns_of_a_snapshot_are_judged_when_it_is_there(tmp_path: Path) -> None:
    text = """
dataset: features.x
about: For tests.
key: [at]
rules:
  - {id: enough, type: expect_table_row_count_to_be_between, kwargs: {min_value: 1}, severity: critical, on_fail: fail, why: w}
  - {id: at, type: expect_column_values_to_not_be_null, kwargs: {column: at}, severity: critical, on_fail: fail, why: w}
  - {id: low, type: expect_column_values_to_be_between, kwargs: {column: lag, min_value: 0}, severity: info, on_fail: warn, why: w}
"""  # noqa: E501 - one rule a line
    found = load(tmp_path, text, "features.x")
    assert found.misfits({"at": "timestamp", "lag": "double"}) == {}
    assert "lag" in found.misfits({"at": "timestamp"})["low"]
    assert "string" in found.misfits({"at": "timestamp", "lag": "string"})["low"]
    with pytest.raises(
        ConfigurationError, match=r"rule low: on_fail is quarantine.*features\.x is not a table of silver"
    ):
        load(
            tmp_path, text.replace("severity: info, on_fail: warn", "severity: info, on_fail: quarantine"), "features.x"
        )


# ----- the files that ship


def test_every_dataset_that_something_is_made_of_has_rules_or_a_reason() -> None:
    needed = {name for name in DATASETS if name.split(".")[0] in ("silver", "gold")}
    needed |= {contract.bronze.name for contract in LANDED.values()}
    assert set(EXEMPT) <= needed, "an exemption for a dataset that is no more"
    assert not set(EXEMPT) & set(rules.names()), "an exemption for a dataset that has rules"
    assert needed - set(EXEMPT) <= set(rules.names())


def test_every_pipeline_has_rules_for_its_features() -> None:
    assert {f"features.{name}" for name in pipelines.names()} <= set(rules.names())


@pytest.mark.parametrize("dataset", rules.names())
def test_every_suite_has_a_floor_and_guards_its_key(dataset: str) -> None:
    # Read apart from the loader, which refuses such files too.
    raw = yaml.safe_load((rules.FOLDER / f"{dataset}.yaml").read_text())
    critical = [each for each in raw["rules"] if each["severity"] == "critical"]
    assert any(each["type"] == ROW_COUNT and each["kwargs"]["min_value"] >= 1 for each in critical)
    guarded = {
        each["kwargs"]["column"] for each in critical if each["type"] == NOT_NULL and "mostly" not in each["kwargs"]
    }
    assert set(raw.get("key") or DATASETS[dataset].key) <= guarded
    assert rules.load(dataset).dataset == dataset


@pytest.mark.parametrize("dataset", rules.names())
def test_every_rule_says_why(dataset: str) -> None:
    for each in rules.load(dataset).rules:
        assert each.why.endswith("."), each.id


def test_a_file_that_belongs_to_no_dataset_would_be_noticed() -> None:
    known = set(DATASETS) | {f"features.{name}" for name in pipelines.names()}
    assert set(rules.names()) <= known


# ----- regular expressions that meet hostile text


@pytest.mark.parametrize(
    "regex",
    [
        "^[A-Z]+$",
        r"^\S++ \S+",
        "[0-9]",
        "^$",
        "(?i)^get$",
        r"^HTTP/\d(?:\.\d)?$",
        "<|>",
        "^a{1,3}+b*",
        r"\A\p{L}++x?$",
        "^(?:a++)?b",
    ],
)
def test_a_linear_expression_is_allowed(regex: str) -> None:
    assert check_linear(regex) == regex


@pytest.mark.parametrize(
    ("regex", "said"),
    [
        ("(a+)+$", "not repeated"),
        ("^(?:a|b)*$", "not repeated"),
        ("^(?:ab){2,}$", "not repeated"),
        ("a+", "must begin with"),
        ("^a|b+", "must begin with"),
        (".*x", "must begin with"),
        ("^a+b+$", "possessive"),
        ("^a*?b+$", "possessive"),
        ("^(?:a+)?$", "possessive"),
        (r"^(a)\1$", "references back"),
        (r"^\Qa\E", "quoting"),
        ("^(?=a)", "groups may begin"),
        ("^(?<n>a)", "groups may begin"),
        ("^(?m)^a+", "groups may begin"),
        ("^[a-z&&x]+$", "no intersections"),
        ("^[a[b]]", "begins nothing"),
        ("^(a", "brackets"),
        ("^a)", "brackets"),
        ("*a", "repeats nothing"),
        ("^+", "repeats nothing"),
    ],
)
def test_an_expression_that_may_backtrack_is_refused(regex: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_linear(regex)


def test_refusing_takes_no_time_either() -> None:
    started = time.monotonic()
    for regex in ("[" * 5_000, "(" * 5_000, "\\" * 5_001, "a{" * 2_500, "^" + "a++" * 2_000):
        try:
            check_linear(regex)
        except ValueError:
            continue
    assert time.monotonic() - started < 2


def test_the_supported_row_rules_are_named_in_the_runbook() -> None:
    runbook = (Path(rules.FOLDER).parent / "docs" / "runbooks" / "validation.md").read_text()
    assert [name for name in ROW_RULES if name not in runbook] == []
