"""The application ``validate`` on real Delta tables: what it decides, what it says, and what it leaves behind."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from contracts.datasets import GOLD_ACCESS_LOG_1M, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.errors import ConfigurationError, ExitCode, ExpectationsFailedError, QualityGateError
from contracts.settings import Settings
from contracts.windows import Window
from expectations import rules
from expectations.compile import suite
from expectations.one_pass import tally
from expectations.stream import quarantining_rules
from spark_apps import validate
from spark_apps.io import data_docs, ops, runs, snapshots, tables, verdicts
from spark_apps.transforms import access_log, access_log_gold

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

GOOD_DAY, BAD_DAY, UNREADABLE_DAY, EMPTY_DAY = (date(2026, 3, n) for n in (1, 2, 3, 4))
LOG_START = datetime(1995, 7, 9, tzinfo=UTC)
MARKUP = "<script>alert(1)</script>"


def line(
    n: int, *, status: str = "200", size: str = "7074", host: str = "fix1.example.com", method: str = "GET "
) -> str:
    at = LOG_START + timedelta(seconds=7 * n)
    return f'{host} - - [{at:%d/%b/%Y:%H:%M:%S} -0400] "{method}/shuttle/ HTTP/1.0" {status} {size}'


def arrive(spark: SparkSession, settings: Settings, day: date, lines: list[str]) -> None:
    """What the stream does with lines: parse, apply the quarantining rules, store each where it belongs."""
    rows = [("topic", 0, day.day * 100_000 + n, f"{day} 12:00:00", text.encode()) for n, text in enumerate(lines)]
    raw = (
        spark.createDataFrame(rows, "topic_id string, kafka_partition int, kafka_offset bigint, at string, line binary")
        .withColumn("kafka_at", F.to_timestamp("at"))
        .withColumns(
            {"arrived_on": F.to_date("kafka_at"), "source": F.lit("log"), "byte_offset": F.col("kafka_offset")}
        )
    )
    parsed = access_log.parse(raw)
    rule = F.concat(F.lit("rule:"), F.try_element_at(quarantining_rules("silver.access_log"), F.lit(1)))
    judged = parsed.withColumn("reason", F.coalesce("reason", rule))
    for dataset, which in ((SILVER_ACCESS_LOG, "reason IS NULL"), (QUARANTINE_ACCESS_LOG, "reason IS NOT NULL")):
        tables.create_if_missing(spark, dataset, settings)
        tables.append(judged.where(which).select(*dataset.column_names), dataset, settings)


@pytest.fixture(scope="module")
def lake(_spark_session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Days of arrival: a good one with few odd rows, one with bad statuses, one that is half unreadable, none."""
    settings = Settings(state=tmp_path_factory.mktemp("lake") / "state")
    good = [line(n) for n in range(290)]
    good += [line(n, method="") for n in range(290, 330)]  # no method: a warning
    good += [line(330, status="999"), line(331, host="x" * 300), line(332, size="9" * 18)]  # quarantined, few enough
    good += [line(333, host=MARKUP), "\x16\x03\x01"]
    arrive(_spark_session, settings, GOOD_DAY, good)
    arrive(_spark_session, settings, BAD_DAY, [line(n, status="999" if n % 10 == 0 else "200") for n in range(400)])
    arrive(_spark_session, settings, UNREADABLE_DAY, [line(n) if n % 2 else "gibberish" for n in range(400)])
    silver = tables.read(_spark_session, SILVER_ACCESS_LOG, settings.lake)
    tables.create_if_missing(_spark_session, GOLD_ACCESS_LOG_1M, settings)
    tables.append(access_log_gold.minutes(silver), GOLD_ACCESS_LOG_1M, settings)
    return settings


def run(spark: SparkSession, settings: Settings, *arguments: str, run_id: str = "r1") -> runs.Outcome:
    return validate.main(validate.parse_args(["--run-id", run_id, *arguments]), settings, spark)


def window(tmp_path: Path, day: date) -> str:
    Window(first_day=day, last_day=day).write(tmp_path / "window.json")
    return str(tmp_path / "window.json")


def verdict_of(settings: Settings, day: date) -> verdicts.Verdict:
    return verdicts.of(ops.connect(settings.ops_database), "silver.access_log", Window(first_day=day, last_day=day))


def test_good_rows_pass_and_what_was_judged_is_on_record(spark: SparkSession, lake: Settings, tmp_path: Path) -> None:
    both = ("--dataset", "silver.access_log", "--dataset", "gold.access_log_1m")
    found = run(spark, lake, *both, "--window", window(tmp_path, GOOD_DAY))

    assert found.status == "done"
    assert found.rows["silver.access_log"] == 331
    assert found.facts["quarantined"]["silver.access_log"] == {
        "rule:status_is_http": 1, "rule:host_has_a_length": 1, "rule:bytes_are_plausible": 1, "tls_bytes": 1,
    }  # fmt: skip
    unexpected = found.facts["unexpected"]["silver.access_log"]
    assert (unexpected["status_is_http"], unexpected["method_is_known"], unexpected["quarantine_share"]) == (1, 40, 4)
    # Warnings are reported and pass.
    assert [sentence.split("[")[1].split("]")[0] for sentence in found.facts["broken"]["silver.access_log"]] == [
        "method_is_known, warning"
    ]
    verdict = verdict_of(lake, GOOD_DAY)
    assert (verdict.passed, verdict.worst, verdict.rows) == (True, "warning", 331)
    assert (verdict.id, verdict.content_hash) == (
        found.facts["verdicts"]["silver.access_log"],
        found.hashes["silver.access_log"],
    )
    assert verdict.table_version == tables.version(spark, SILVER_ACCESS_LOG, lake.lake)
    assert verdict.suite_hash == rules.load("silver.access_log").hash
    assert verdict.run_key == "cli/r1/validate/-1"
    assert found.facts["table_versions"]["gold.access_log_1m"] == 1
    assert len(found.artefacts) == 2
    json.dumps(found.model_dump(mode="json"))

    page = Path(verdict.report).read_text()
    assert lake.data_docs in Path(verdict.report).parents
    assert "holds: 1 of 335 rows break it (1 of them in quarantine)" in page
    assert "BROKEN: 40 of 335 rows break it" in page
    assert "Scanners and TLS on a plain port send no method" in page
    assert "tls_bytes" in page
    assert Path(verdict.report).name in (lake.data_docs / "index.html").read_text()
    # Hosts are personal and may be hostile: no page shows one.
    assert "alert(1)" not in page
    assert "fix1.example.com" not in page


def test_bad_rows_above_the_threshold_fail_though_they_left_silver(
    spark: SparkSession, lake: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ExpectationsFailedError) as failed:
        run(spark, lake, "--dataset", "silver.access_log", "--window", window(tmp_path, BAD_DAY))

    message, version = str(failed.value), tables.version(spark, SILVER_ACCESS_LOG, lake.lake)
    assert f"silver.access_log version {version}, arrived 2026-03-02 to 2026-03-02: 2 of 20 expectations" in message
    assert (
        "status: expect_column_values_to_be_between {'column': 'status', 'min_value': 100, 'max_value': 599, "
        "'mostly': 0.99} [status_is_http, critical], 40 of 400 rows break it (40 of them in quarantine)"
    ) in message
    assert "[quarantine_share, critical], 40 of 400 rows" in message
    assert failed.value.exit_code == ExitCode.EXPECTATIONS_FAILED

    outcome: Any = failed.value.outcome
    assert outcome.facts["unexpected"]["silver.access_log"]["status_is_http"] == 40
    report = Path(outcome.artefacts[0].path)
    assert str(report) in message
    assert "BROKEN: 40 of 400 rows break it (40 of them in quarantine)" in report.read_text()
    with pytest.raises(QualityGateError, match="which failed"):
        verdict_of(lake, BAD_DAY)


def test_too_many_unreadable_lines_fail(spark: SparkSession, lake: Settings, tmp_path: Path) -> None:
    with pytest.raises(ExpectationsFailedError, match=r"\[quarantine_share, critical\], 200 of 400 rows") as failed:
        run(spark, lake, "--dataset", "silver.access_log", "--window", window(tmp_path, UNREADABLE_DAY))
    assert "status_is_http" not in str(failed.value)


def test_an_empty_window_fails_and_says_what_to_look_at(spark: SparkSession, lake: Settings, tmp_path: Path) -> None:
    with pytest.raises(ExpectationsFailedError) as failed:
        run(spark, lake, "--dataset", "silver.access_log", "--window", window(tmp_path, EMPTY_DAY))
    assert "[enough_rows, critical], observed 0 rows" in str(failed.value)
    assert "There are no rows: check the window" in str(failed.value)
    with pytest.raises(QualityGateError):
        verdict_of(lake, EMPTY_DAY)


def test_days_that_nobody_judged_have_no_verdict(lake: Settings) -> None:
    with pytest.raises(QualityGateError, match="no verdict about these arrival days"):
        verdict_of(lake, date(2020, 1, 1))


def test_a_missing_table_is_named(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Reading silver\.access_log: found no table"):
        run(spark, settings, "--dataset", "silver.access_log", "--window", window(tmp_path, GOOD_DAY))


# ----- feature snapshots


def minutes(spark: SparkSession, *, shifted: bool = False) -> DataFrame:
    start = datetime(1995, 7, 9, 4, 0, tzinfo=UTC)
    counts = [10 + n % 7 for n in range(80)]
    rows = []
    for n in range(1, 80):
        lag = counts[n] if shifted else counts[n - 1]
        rows.append((start + timedelta(minutes=n), start, counts[n], float(lag), float(lag), float(lag), 0.5, 0.5, 7))
    return spark.createDataFrame(
        rows,
        "minute_at timestamp, fragment_at timestamp, requests bigint, lag_1 double, mean_5 double, mean_60 double, "
        "hour_sin double, hour_cos double, weekday int",
    )


def snapshot(frame: DataFrame, settings: Settings, tmp_path: Path) -> tuple[snapshots.Snapshot, str]:
    written = snapshots.write(frame, "features.access_log_volume", settings, key=("minute_at",), provenance={})
    written.write_pointer(tmp_path / "snapshot.json")
    return written, str(tmp_path / "snapshot.json")


def test_a_good_snapshot_may_be_trained_on(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    written, pointer = snapshot(minutes(spark), settings, tmp_path)
    run(spark, settings, "--snapshot", pointer)
    verdict = verdicts.passing(ops.connect(settings.ops_database), "features.access_log_volume", written.hash)
    assert verdict is not None
    assert (verdict.rows, verdict.table_version, verdict.worst) == (79, None, None)


def test_a_snapshot_whose_lag_is_the_label_may_not(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    written, pointer = snapshot(minutes(spark, shifted=True), settings, tmp_path)
    with pytest.raises(ExpectationsFailedError, match=r"lag_1_is_the_minute_before, critical\], observed 78"):
        run(spark, settings, "--snapshot", pointer)
    assert verdicts.passing(ops.connect(settings.ops_database), written.name, written.hash) is None


def test_not_a_number_is_a_missing_value(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    holes = minutes(spark).withColumn("lag_1", F.when(F.minute("minute_at") == 30, math.nan).otherwise(F.col("lag_1")))
    _, pointer = snapshot(holes, settings, tmp_path)
    with pytest.raises(ExpectationsFailedError, match=r"\[lag_1_is_set, critical\], 1 of 79 rows break it"):
        run(spark, settings, "--snapshot", pointer)


def test_a_missing_column_is_a_broken_contract_and_not_bad_data(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    written, pointer = snapshot(minutes(spark).drop("weekday"), settings, tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        run(spark, settings, "--snapshot", pointer)
    assert refused.value.exit_code == ExitCode.CONTRACT_BROKEN
    assert "[weekday_is_one_of_seven, critical], could not be judged: column 'weekday' does not exist" in str(
        refused.value
    )
    assert "weekday" in Path(refused.value.outcome.artefacts[0].path).read_text()  # type: ignore[union-attr]
    assert verdicts.passing(ops.connect(settings.ops_database), written.name, written.hash) is None


# ----- reports


def test_a_check_that_crashes_is_told_from_one_that_fails(spark: SparkSession) -> None:
    rule = {
        "id": "crashes", "type": "unexpected_rows_expectation", "severity": "info", "on_fail": "warn", "why": "w",
        "kwargs": {"unexpected_rows_query": "SELECT nothing FROM {batch}"},
    }  # fmt: skip
    report = data_docs.validate("x", [rules.Rule.model_validate(rule)], spark.range(3).toDF("n"))
    assert "nothing" in str(report.reported["crashes"].problem)
    assert not report.reported["crashes"].success


def test_every_result_of_the_shipped_rules_can_be_stored(spark: SparkSession) -> None:
    for name in rules.names():
        assert [each.type for each in rules.load(name).rules] == [
            each.expectation_type for each in suite(name, rules.load(name).rules).expectations
        ]


def test_old_pages_make_room(
    spark: SparkSession, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_docs, "KEEP_PAGES", 2)
    _, pointer = snapshot(minutes(spark), settings, tmp_path)
    kept = []
    for n in range(3):
        found = run(spark, settings, "--snapshot", pointer, run_id=f"run{n}")
        kept.append(Path(found.artefacts[0].path))
    assert [page.exists() for page in kept] == [False, True, True]
    assert len(list((settings.data_docs / ".results").rglob("*.json"))) == 2
    index = (settings.data_docs / "index.html").read_text()
    assert ["run0" in index, "run1" in index, "run2" in index] == [False, True, True]
    assert index.index("run2") < index.index("run1"), "the newest validation comes first"
    assert index.count("<td>Succeeded</td>") == 2


def test_no_page_asks_another_site_for_anything(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    _, pointer = snapshot(minutes(spark), settings, tmp_path)
    run(spark, settings, "--snapshot", pointer)
    pages = {page: page.read_text() for page in settings.data_docs.rglob("*.html")}
    assert len(pages) == 3, "a validation, its rules and the index"
    outside = re.compile(r"""(?:src|<link[^>]*href)=["']?https?://|url\(["']?https?://""")
    assert [page.name for page, text in pages.items() if outside.search(text)] == []
    assert all("data-of" in text for text in pages.values())


# ----- the rules and real lines


def test_no_line_of_the_real_logs_breaks_a_quarantining_rule(spark: SparkSession, samples: Path) -> None:
    nasa, other = samples / "nasa_http", samples / "apache_combined" / "apache_combined_first3000.log"
    logs = [other, nasa / "NASA_short.log", nasa / "access_09jul1995_am.log", nasa / "NASA_access_log_Aug95_sample.log"]
    lines = [text for log in logs for text in log.read_bytes().split(b"\n") if text]
    raw = spark.createDataFrame([(n, text) for n, text in enumerate(lines)], "n int, line binary")
    parsed = access_log.parse(raw.withColumn("kafka_at", F.current_timestamp()))
    away = parsed.withColumn("broken", quarantining_rules("silver.access_log")).where(
        "reason IS NULL AND size(broken) > 0"
    )
    assert away.count() == 0
    counted = tally(
        parsed.where("reason IS NULL"),
        [
            r
            for r in rules.load("silver.access_log").row_rules
            if r.columns[0] in parsed.columns and r.columns[-1] in parsed.columns
        ],
    )
    share = {name: count / counted.rows for name, count in counted.unexpected.items()}
    allowed = {rule.id: 1 - rule.mostly for rule in rules.load("silver.access_log").row_rules}
    assert {name: value for name, value in share.items() if value > allowed[name]} == {}


@pytest.mark.parametrize(
    "regex", [r.kwargs.regex for n in rules.names() for r in rules.load(n).rules if hasattr(r.kwargs, "regex")]
)
def test_the_shipped_expressions_survive_a_megabyte_of_hostile_text(spark: SparkSession, regex: str) -> None:
    hostile = spark.range(1).select(
        F.explode(F.array(*[F.expr(f"repeat('{part}', 500000)") for part in ("a.", "HTTP/", "1", ":%")])).alias("t")
    )
    assert hostile.select(F.rlike("t", F.lit(regex))).count() == 4


# ----- the content hash


def test_the_digest_does_not_depend_on_order_and_tells_nulls_apart(spark: SparkSession) -> None:
    def digest(rows: list[tuple[Any, ...]]) -> str:
        return tally(spark.createDataFrame(rows, "a string, b string"), []).digest

    assert digest([("x", None), ("y", "z")]) == digest([("y", "z"), ("x", None)])
    assert digest([("x", None)]) != digest([(None, "x")])
    assert digest([("x", "y")]) != digest([("x", "y"), ("x", "y")])
    assert digest([("x", "y"), ("x", "y")]) != digest([("x", "z"), ("x", "z")])
    assert digest([]) == digest([])


# ----- the command line


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--dataset", "silver.access_log"], ["--window", "w"], ["--dataset", "nope", "--window", "w"],
        ["--dataset", "silver.access_log", "--window", "w", "--snapshot", "s"], ["--snapshot", "s", "--window", "w"],
        ["--dataset", "bronze.higgs", "--at", "v", "--window", "w"], ["--snapshot", "s", "--at", "v"],
        ["--dataset", "bronze.higgs", "--dataset", "bronze.jobs", "--at", "v"],
        ["--dataset", "features.access_log_volume", "--window", "w"], ["--data", "silver.access_log", "--window", "w"],
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        validate.parse_args(arguments)
    assert refused.value.code == 2
    assert "usage: validate" in capsys.readouterr().err
