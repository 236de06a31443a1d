"""Great Expectations over one frame, and its Data Docs: one site, one page per validation, the newest pages only.

The pages hold counts and no values: a host in a report would outlive its erasure from the lake.
"""

import html
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pyspark.sql import DataFrame

from expectations.compile import RULE, suite
from expectations.judging import Finding, Judgement, Reported
from expectations.kinds import NoRows
from expectations.rules import QUARANTINE_SHARE, Rule
from spark_apps.io import data_docs_site

#: Pages that stay; older ones are deleted. One is about 50 kB, and the verdicts outlive them.
KEEP_PAGES = 100

_SITE = "millrace"
#: Counts of everything, not one value: neither on the pages nor in Spark jobs that look for them (29 jobs became 19).
_RESULT_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": 0}


@dataclass(frozen=True)
class Report:
    """What Great Expectations found on the table alone: its own result, and the same by rule id."""

    result: Any
    rules: Sequence[Rule]
    reported: dict[str, Reported]


@dataclass(frozen=True)
class Run:
    """Which validation a page is about."""

    key: str
    judged_at: datetime
    subject: str


def validate(name: str, rules: Sequence[Rule], frame: DataFrame) -> Report:
    """Run the rules over the frame, which must hold no NaN."""
    # Great Expectations reads it about twenty times, and needs few of the columns.
    needed = frame.select(_columns(rules, frame)).persist()
    try:
        source = _context(None).data_sources.add_spark("spark", persist=False)
        definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("rows")
        batch = definition.get_batch({"dataframe": needed})
        result = batch.validate(suite(name, rules), result_format=_RESULT_FORMAT)
    finally:
        needed.unpersist()
    return Report(result, rules, {each.expectation_config.meta[RULE]: _reported(each) for each in result.results})


def publish(report: Report, judgement: Judgement, away: Mapping[str, int], folder: Path, run: Run) -> Path:
    """Write the page of one validation, that of its rules and the index; returns the first.

    The page shows what the judgement says: counts that include ``away``, the quarantined rows by reason. Pages beyond
    KEEP_PAGES are deleted. The caller sees to it that nobody else writes to ``folder``.
    """
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    context = _context(folder)
    name = report.result.suite_name
    page_of_rules = ExpectationSuiteIdentifier(name=name)
    run_id = RunIdentifier(run_name=run.key.replace("/", "."), run_time=run.judged_at)
    page = ValidationResultIdentifier(
        expectation_suite_identifier=page_of_rules, run_id=run_id, batch_identifier="rows"
    )
    context.suites.add_or_update(suite(name, report.rules))
    store = context.validation_results_store
    store.set(page, _as_judged(report, judgement, away, run, run_id))
    for old in sorted(store.list_keys(), key=lambda each: each.run_id.run_time, reverse=True)[KEEP_PAGES:]:
        store.remove_key(old)
    context.build_data_docs(site_names=[_SITE], resource_identifiers=[page_of_rules, page])
    data_docs_site.make_stand_alone(folder)
    address = context.get_docs_sites_urls(resource_identifier=page, site_names=[_SITE])[0]["site_url"]
    if address is None:
        # Great Expectations logs what went wrong while it rendered, and goes on without the page.
        raise RuntimeError(f"no page was rendered for {run.subject}; the log says why")
    return Path(unquote(urlparse(address).path))


def _context(folder: Path | None) -> Any:  # noqa: ANN401 - great_expectations is not typed here
    """A context in memory; with a folder its results and its site are there."""
    import great_expectations
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # At INFO it writes a line per argument that it does not know, a hundred and more in each run.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    defaults = InMemoryStoreBackendDefaults()
    sites: dict[str, Any] = {}
    if folder is not None:
        stores = defaults.stores
        stores[defaults.validation_results_store_name]["store_backend"] = _files(folder / ".results")
        stores[defaults.expectations_store_name]["store_backend"] = _files(folder / ".rules")
        sites[_SITE] = {
            "class_name": "SiteBuilder",
            "store_backend": _files(folder),
            "show_how_to_buttons": False,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "site_section_builders": {"profiling": "None"},
        }
    config = DataContextConfig(
        store_backend_defaults=defaults, data_docs_sites=sites, progress_bars=ProgressBarsConfig(globally=False)
    )
    return great_expectations.get_context(mode="ephemeral", project_config=config)


def _files(folder: Path) -> dict[str, str]:
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}


def _columns(rules: Sequence[Rule], frame: DataFrame) -> list[str]:
    if any(isinstance(rule.kwargs, NoRows) for rule in rules):
        return list(frame.columns)  # a query may name any of them
    named = {column for rule in rules for column in rule.columns}
    return [column for column in frame.columns if column in named] or list(frame.columns)


def _reported(result: Any) -> Reported:  # noqa: ANN401 - an ExpectationValidationResult
    counts = result.result or {}
    # On an empty table the count is a sum of no rows: None.
    unexpected = int(counts["unexpected_count"] or 0) if "unexpected_count" in counts else None
    return Reported(
        success=bool(result.success),
        unexpected=unexpected,
        observed=_plain(counts.get("observed_value")),
        problem=_problem(result.exception_info or {}),
    )


def _problem(info: Mapping[str, Any]) -> str | None:
    """Message of a check that failed itself: flat, or one per metric, as Great Expectations pleases."""
    if info.get("raised_exception"):
        return str(info.get("exception_message"))
    parts = [part for part in info.values() if isinstance(part, dict) and part.get("raised_exception")]
    return str(parts[0].get("exception_message")) if parts else None


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a metric returns
    """Python's own type for numpy's scalars, which no JSON holds."""
    return value.item() if hasattr(value, "item") else value


def _as_judged(report: Report, judgement: Judgement, away: Mapping[str, int], run: Run, run_id: Any) -> Any:  # noqa: ANN401
    """The result with the judgement's counts and outcomes in place of those of the table alone."""
    from great_expectations.core import ExpectationSuiteValidationResult

    by_rule = {each.expectation_config.meta[RULE]: each for each in report.result.results}
    shown = []
    for finding in judgement.findings:
        each = by_rule.get(finding.rule) or _own_result(finding, away)
        each.success = finding.passed
        if finding.problem is not None:
            each.exception_info = _exception(finding.problem)
        elif finding.of is not None:
            each.result = each.result | _counts(finding)
        each.expectation_config.description = _described(finding)
        shown.append(each)
    passed = sum(each.success for each in shown)
    return ExpectationSuiteValidationResult(
        success=judgement.passed,
        results=shown,
        suite_name=report.result.suite_name,
        statistics={
            "evaluated_expectations": len(shown),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(shown) - passed,
            "success_percent": 100.0 * passed / len(shown),
        },
        meta={
            "great_expectations_version": report.result.meta["great_expectations_version"],
            "run_id": run_id,
            "validation_time": run.judged_at.isoformat(),
            "batch_spec": {"data_asset_name": run.subject},
        },
    )


def _described(finding: Finding) -> str:
    """What stands on the page instead of Great Expectations' phrase, which knows neither rule nor judgement.

    In words, because without the internet the page has neither icons nor colors. It is markup to the renderer.
    """
    demand = f"{finding.type} {finding.kwargs}"
    return html.escape(f"{finding.outcome}\n{finding.rule} ({finding.severity}): {demand}\n{finding.why}", quote=False)


def _counts(finding: Finding) -> dict[str, Any]:
    unexpected, total = finding.unexpected or 0, finding.of or 0
    percent = 100.0 * unexpected / total if total else 0.0
    return {
        "element_count": total, "unexpected_count": unexpected, "unexpected_percent": percent,
        "unexpected_percent_total": percent, "unexpected_percent_nonmissing": percent,
        "missing_count": 0, "missing_percent": 0.0,
    }  # fmt: skip


def _own_result(finding: Finding, away: Mapping[str, int]) -> Any:  # noqa: ANN401
    """A result for what Great Expectations was not asked: the quarantined share, or a rule that does not fit."""
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    kind, kwargs = finding.type, finding.kwargs
    counts: dict[str, Any] = {}
    if finding.rule == QUARANTINE_SHARE:
        kind = "expect_column_values_to_be_in_set"
        kwargs = {"column": "(where a row went)", "value_set": ["silver"], "mostly": 1 - finding.kwargs["max_share"]}
        counts["partial_unexpected_list"] = sorted(away)
        counts["partial_unexpected_counts"] = [{"value": reason, "count": n} for reason, n in sorted(away.items())]
    return ExpectationValidationResult(
        success=finding.passed,
        expectation_config=ExpectationConfiguration(
            type=kind, kwargs=kwargs, severity=finding.severity, meta={RULE: finding.rule}
        ),
        result=counts,
        meta={},
        exception_info=_exception(finding.problem),
    )


def _exception(problem: str | None) -> dict[str, Any]:
    return {"raised_exception": problem is not None, "exception_message": problem, "exception_traceback": problem}
