"""From counts to a judgement: pure, so that the decision to stop a run can be read and tested without Spark."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from expectations.kinds import Rows
from expectations.one_pass import Tally
from expectations.rules import QUARANTINE_SHARE, SEVERITIES, QuarantineLimit, Rule, RuleSet, Severity


class Reported(BaseModel):
    """What Great Expectations said of one rule on the table alone. ``problem``: the check itself failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    success: bool
    unexpected: int | None = None
    observed: Any = None
    problem: str | None = None


class Finding(BaseModel):
    """One rule, judged: ``unexpected`` of ``of`` rows break it, ``quarantined`` of them are in quarantine for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    type: str
    subject: str
    kwargs: dict[str, Any]
    severity: Severity
    why: str
    passed: bool
    unexpected: int | None = None
    of: int | None = None
    quarantined: int = 0
    observed: Any = None
    problem: str | None = None

    @property
    def stops(self) -> bool:
        """Nothing downstream may run: a critical rule is broken, or nobody knows because the check failed."""
        return self.problem is not None or (not self.passed and self.severity == "critical")

    @property
    def sentence(self) -> str:
        """One line for a person: what was demanded, how strictly, what was found."""
        return f"{self.subject}: {self.type} {self.kwargs} [{self.rule}, {self.severity}], {self.observation}"

    @property
    def outcome(self) -> str:
        """Whether the rule holds, and what was found."""
        if self.problem:
            return self.observation
        return f"{'holds' if self.passed else 'BROKEN'}: {self.observation}"

    @property
    def observation(self) -> str:
        """What was found: rows that break the rule, a value of the whole table, or why nobody knows."""
        if self.problem:
            return f"could not be judged: {self.problem}"
        if self.unexpected is None:
            return f"observed {self.observed}"
        total = f" of {self.of:,}" if self.of is not None else ""
        away = f" ({self.quarantined:,} of them in quarantine)" if self.quarantined else ""
        return f"{self.unexpected:,}{total} rows break it{away}"


class Judgement(BaseModel):
    """All findings about one dataset, in the order of its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return not any(finding.stops for finding in self.findings)

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Rules that do not hold or could not be judged, the worst first."""
        broken = [finding for finding in self.findings if not finding.passed]
        return tuple(sorted(broken, key=lambda finding: SEVERITIES.index(finding.severity)))

    @property
    def worst(self) -> Severity | None:
        """Highest severity among the broken rules."""
        return self.broken[0].severity if self.broken else None


def judge(
    ruleset: RuleSet,
    counted: Tally,
    quarantined: Mapping[str, int],
    reported: Mapping[str, Reported],
) -> Judgement:
    """Judge a table together with its quarantine (rows by reason) of the same window.

    Row rules are decided by ``counted``: their ``mostly`` is a share of all rows that arrived, and a row that is in
    quarantine for a rule breaks it. Table rules are decided by ``reported``, but for the row count. A row rule that
    Great Expectations counts differently is a failed check: one of the two is wrong, and nobody knows which.
    """
    everything = counted.rows + sum(quarantined.values())
    findings = [_finding(rule, counted, quarantined, everything, reported.get(rule.id)) for rule in ruleset.rules]
    if ruleset.quarantine:
        findings.append(_share(ruleset.quarantine, sum(quarantined.values()), everything))
    return Judgement(findings=tuple(findings))


def _finding(
    rule: Rule, counted: Tally, quarantined: Mapping[str, int], everything: int, reported: Reported | None
) -> Finding:
    about = {
        "rule": rule.id, "type": rule.type, "subject": rule.subject, "kwargs": rule.kwargs.given,
        "severity": rule.severity, "why": rule.why,
    }  # fmt: skip
    if reported is None:
        return Finding(**about, passed=False, problem="Great Expectations returned no result for it")
    if reported.problem is not None:
        return Finding(**about, passed=False, problem=reported.problem)
    if isinstance(rule.kwargs, Rows):
        return Finding(**about, passed=_within(counted.rows, rule.kwargs), observed=f"{counted.rows:,} rows")
    if not rule.is_row_rule:
        facts = {"unexpected": reported.unexpected, "of": counted.rows if reported.unexpected is not None else None}
        return Finding(**about, passed=reported.success, observed=reported.observed, **facts)
    here, away = counted.unexpected[rule.id], quarantined.get(f"rule:{rule.id}", 0)
    if reported.unexpected != here:
        differ = f"Great Expectations counts {reported.unexpected} rows that break it, the one pass {here}"
        return Finding(**about, passed=False, problem=differ)
    passed = _is_mostly(here + away, everything, rule.mostly)
    return Finding(**about, passed=passed, unexpected=here + away, of=everything, quarantined=away)


def _share(limit: QuarantineLimit, away: int, everything: int) -> Finding:
    judged = everything >= limit.min_rows
    return Finding(
        rule=QUARANTINE_SHARE, type="rows in quarantine, share of all that arrived", subject="(table)",
        kwargs={"max_share": limit.max_share, "min_rows": limit.min_rows}, severity=limit.severity, why=limit.why,
        passed=not judged or _is_mostly(away, everything, 1 - Decimal(repr(limit.max_share))),
        unexpected=away, of=everything, quarantined=away,
    )  # fmt: skip


def _within(rows: int, bounds: Rows) -> bool:
    low = bounds.min_value is None or rows > bounds.min_value or (rows == bounds.min_value and not bounds.strict_min)
    high = bounds.max_value is None or rows < bounds.max_value or (rows == bounds.max_value and not bounds.strict_max)
    return low and high


def _is_mostly(unexpected: int, of: int, mostly: float | Decimal) -> bool:
    # Decimals, because 1 - 0.9 is below 0.1 in doubles and one row in ten would fail "mostly 0.9".
    share = mostly if isinstance(mostly, Decimal) else Decimal(repr(mostly))
    return unexpected <= (1 - share) * of
