"""Validating one dataset: count it, run Great Expectations over it, judge, write the report and the verdict."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.datasets import dataset as dataset_named
from contracts.errors import ConfigurationError, ExpectationsFailedError, PlatformError
from contracts.results import Artefact, RunContext
from contracts.settings import Settings
from contracts.windows import TableVersion, Window
from expectations import compile as compiled
from expectations import rules
from expectations.judging import Judgement, Reported, judge
from expectations.one_pass import Tally, reasons, tally
from spark_apps.io import data_docs, locks, runs, snapshots, tables, verdicts
from spark_apps.io.data_docs import Run
from spark_apps.io.verdicts import Verdict

log = logging.getLogger("millrace")

#: How long a validation waits for another one that writes its page.
_DOCS_WAIT_S = 120.0


@dataclass(frozen=True)
class Subject:
    """What is judged: rows, where they come from, and the quarantine (with ``reason``) that belongs to them.

    ``content_hash`` is known for a snapshot; for a table it follows from the rows, the version and the window.
    """

    dataset: str
    frame: DataFrame
    quarantined: DataFrame | None = None
    table_version: int | None = None
    window: Window | None = None
    content_hash: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How a message calls it."""
        version = "" if self.table_version is None else f" version {self.table_version}"
        days = f", arrived {self.window.first_day} to {self.window.last_day}" if self.window else ""
        return f"{self.dataset}{version}{days}"


@dataclass(frozen=True)
class Judged:
    """A subject with its judgement and the verdict that was recorded."""

    subject: Subject
    judgement: Judgement
    verdict: Verdict
    quarantined: dict[str, int]


def of_table(spark: SparkSession, settings: Settings, name: str, asked: Window | TableVersion | None) -> Subject:
    """Rows of the table: those that arrived in the window, or all of it at the version that is asked for.

    Without a version that is its current one. Its quarantine is taken as it is now.
    """
    if isinstance(asked, TableVersion) and asked.dataset != name:
        raise ConfigurationError(
            f"Validating {name}", found=asked.about, required=f"a version of {name}",
            next_step="Pass the version.json of a run about this table.",
        )  # fmt: skip
    frame, version = _pinned(spark, settings, name, asked.table_version if isinstance(asked, TableVersion) else None)
    quarantine = rules.load(name).quarantine_dataset
    away, facts = None, {}
    if quarantine is not None:
        away, facts["quarantine_version"] = _pinned(spark, settings, quarantine)
    if "arrived_on" not in frame.columns:
        return Subject(name, frame, away, version, facts=facts)
    if not isinstance(asked, Window):
        raise ConfigurationError(
            f"Validating {name}", found="no window", required="the days of arrival to judge",
            next_step="Pass --window: this table grows by the day.",
        )  # fmt: skip
    in_window = F.col("arrived_on").between(asked.first_day, asked.last_day)
    of_days = away.where(in_window) if away is not None else None
    return Subject(name, frame.where(in_window), of_days, version, asked, facts=facts)


def of_snapshot(spark: SparkSession, settings: Settings, pointer: Path) -> Subject:
    """The feature snapshot that a pointer file names; its name is its dataset, its hash its content hash."""
    snapshot = snapshots.Snapshot.read_pointer(pointer)
    return Subject(snapshot.name, snapshots.read(spark, snapshot, settings), content_hash=snapshot.hash)


def run(subject: Subject, settings: Settings, engine: Engine, context: RunContext, judged_at: datetime) -> Judged:
    """Judge the subject; write its page and record its verdict, whatever the judgement says."""
    ruleset = rules.load(subject.dataset)
    # One frame for both engines, without NaN.
    frame = compiled.nan_as_null(subject.frame)
    misfits = ruleset.misfits(dict(frame.dtypes))
    fitting = [rule for rule in ruleset.rules if rule.id not in misfits]
    counted = tally(frame, [rule for rule in fitting if rule.is_row_rule])
    away = reasons(subject.quarantined) if subject.quarantined is not None else {}
    report = data_docs.validate(subject.dataset, fitting, frame)
    problems = {rule_id: Reported(success=False, problem=problem) for rule_id, problem in misfits.items()}
    judgement = judge(ruleset, counted, away, report.reported | problems)
    attempted = f"Writing the report on {subject.dataset}"
    with locks.exclusive(frame.sparkSession, settings.locks / "data_docs.lock", attempted, wait_s=_DOCS_WAIT_S):
        page = data_docs.publish(report, judgement, away, settings.data_docs, Run(context.key, judged_at, subject.name))
    window = subject.window
    verdict = verdicts.record(
        engine,
        Verdict(
            dataset=subject.dataset, content_hash=subject.content_hash or _content_hash(subject, counted, away),
            suite_hash=ruleset.hash, passed=judgement.passed, worst=judgement.worst, run_key=context.key,
            judged_at=judged_at, report=str(page), rows=counted.rows, table_version=subject.table_version,
            first_day=window.first_day if window else None, last_day=window.last_day if window else None,
        ),
    )  # fmt: skip
    log.info(
        "dataset=%s version=%s rows=%d quarantined=%d passed=%s broken=%d verdict=%d report=%s",
        subject.dataset, subject.table_version, counted.rows, sum(away.values()), judgement.passed,
        len(judgement.broken), verdict.id, page,
    )  # fmt: skip
    return Judged(subject, judgement, verdict, away)


def outcome(all_judged: list[Judged]) -> runs.Outcome:
    """The run result: rows, hashes and per rule the rows that break it; ``facts`` by dataset."""
    kinds = ("verdicts", "table_versions", "quarantined", "unexpected", "broken")
    result = runs.Outcome(facts={kind: {} for kind in kinds})
    for judged in all_judged:
        name, verdict = judged.subject.dataset, judged.verdict
        findings = judged.judgement.findings
        result.rows[name] = verdict.rows
        result.hashes[name] = verdict.content_hash
        result.hashes[f"{name}.rules"] = verdict.suite_hash
        page = Path(verdict.report).read_bytes()
        result.artefacts.append(Artefact(path=verdict.report, sha256=sha256(page).hexdigest()))
        result.facts["verdicts"][name] = verdict.id
        result.facts["table_versions"][name] = verdict.table_version
        result.facts["quarantined"][name] = judged.quarantined
        result.facts["unexpected"][name] = {f.rule: f.unexpected for f in findings if f.unexpected is not None}
        result.facts["broken"][name] = [finding.sentence for finding in judged.judgement.broken]
    return result


def require_passed(all_judged: list[Judged], found_so_far: runs.Outcome) -> None:
    """Raise unless every judgement passed: ExpectationsFailedError for bad rows, exit 2 when only a check is wrong.

    The outcome travels with the error, so that the run result holds the counts also then.
    """
    failed = [judged for judged in all_judged if not judged.judgement.passed]
    if failed:
        error = _error(failed)
        error.outcome = found_so_far
        raise error


def _pinned(spark: SparkSession, settings: Settings, name: str, at: int | None = None) -> tuple[DataFrame, int]:
    table = dataset_named(name)
    tables.read(spark, table, settings.lake)  # a missing table is named before its version is asked for
    version = tables.version(spark, table, settings.lake) if at is None else at
    return tables.read(spark, table, settings.lake, at_version=version), version


def _content_hash(subject: Subject, counted: Tally, away: Mapping[str, int]) -> str:
    content = f"{subject.name};{subject.facts};{counted.digest};{sorted(away.items())}"
    return sha256(content.encode()).hexdigest()


def _error(failed: list[Judged]) -> PlatformError:
    findings = [finding for judged in failed for finding in judged.judgement.broken]
    found = "".join(f"\n{_story(judged)}" for judged in failed)
    what = "Validating " + " and ".join(judged.subject.dataset for judged in failed)
    written = "Verdict and report were written, nothing else; nothing downstream runs."
    if any(finding.stops and finding.problem is None for finding in findings):
        return ExpectationsFailedError(
            what, found=found, required="every critical rule to hold", changed=written, next_step=_advice(failed),
        )  # fmt: skip
    return ConfigurationError(
        what, found=found, required="rules that can be judged on this table", changed=written,
        next_step="Correct the rule in expectations/, or what makes the table: bad rows are not the cause.",
    )  # fmt: skip


def _story(judged: Judged) -> str:
    broken, total = judged.judgement.broken, len(judged.judgement.findings)
    lines = [f"{judged.subject.name}: {len(broken)} of {total} expectations do not hold:"]
    lines += [f"  report: {judged.verdict.report}"]
    return "\n".join([*lines, *[f"  {finding.sentence}" for finding in broken]])


def _advice(failed: list[Judged]) -> str:
    if any(judged.verdict.rows == 0 for judged in failed):
        return "There are no rows: check the window, and that a log was replayed and drained (bin/millrace status)."
    return "Look at the report and at the quarantine; correct the data, not the rule (docs/runbooks/validation.md)."
