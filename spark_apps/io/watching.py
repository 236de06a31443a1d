"""What one check of drift reads and counts: the champion, its snapshot, and the rows that it does not know."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.datasets import dataset
from contracts.landed_files import landed_as
from contracts.pipelines import PipelineSpec
from contracts.pipelines.drift import PREDICTION, DriftPolicy
from contracts.settings import Settings
from contracts.windows import TableVersion, Window
from spark_apps.io import model_runs, profiles, regimes, snapshots, tables, verdicts, withdrawals
from spark_apps.io.drift_records import Begins
from spark_apps.io.registry import Version
from spark_apps.io.verdicts import Verdict
from spark_apps.ml import features
from spark_apps.ml.drift import champion as champions
from spark_apps.ml.drift import judging, rhythm, sketches, window
from spark_apps.ml.drift.deciding import Findings
from spark_apps.ml.drift.losses import Expected
from spark_apps.ml.drift.sketches import Sketch


@dataclass(frozen=True)
class Seen:
    """What was found about which rows. ``counts`` are the pairs of reference and window that were compared."""

    findings: Findings
    counts: list[tuple[Sketch, Sketch]]
    expected: Expected | None
    window: str
    begins: Begins
    rows: int

    @property
    def metrics(self) -> dict[str, float]:
        """For the run result."""
        found = {"largest_effect": max((shift.effect for shift in self.findings.shifts), default=0.0)}
        if self.findings.loss:
            found |= {"loss": self.findings.loss.now, "holdout_loss": self.findings.loss.holdout}
        if self.expected:
            found |= {f"expected_{name}": getattr(self.expected, name) for name in ("roc_auc", "log_loss", "brier")}
        return found


def look(
    spark: SparkSession, settings: Settings, engine: Engine, spec: PipelineSpec, champion: Version,
    asked: Window | TableVersion | None,
) -> Seen:  # fmt: skip
    """Compare rows of ``asked``, which must have a passing verdict (None: the newest verdict's), with the champion's
    snapshot.
    """
    policy, trained = _policy(spec), champion.as_trained(spec)
    snapshot = champion.snapshot(spec)
    verdict = verdicts.of(engine, spec.dataset, asked) if asked else verdicts.latest(engine, spec.dataset)
    reference = snapshots.read(spark, snapshot, settings)
    built = features.build(_rows(spark, settings, verdict), trained, _beside(spark, settings, engine, spec))
    # Read for what is missing, for the counts and for the model.
    rows = _judged(spark, settings, spec, built, reference).cache()
    n_rows = rows.count()
    columns = window.watched(trained, policy, reference.columns)
    breaks = window.changed_types(dict(reference.dtypes), dict(rows.dtypes), [*spec.key, *champion.columns, *columns])
    missing = window.missing_shares(rows, _present(columns, rows))
    breaks += window.more_missing(champion.missing, missing, policy, rows=n_rows)
    plan = window.plan(reference, _present(columns, rows), trained, policy)
    counts = [(profiles.of_snapshot(spark, snapshot, plan, settings), sketches.count(rows, plan))]
    breaks += window.changed_units(*counts[0], spec, policy)
    loss = expected = None
    if PREDICTION in (policy.columns or spec.watched_columns) and set(champion.columns) <= set(rows.columns):
        model = model_runs.load(settings, champion)
        then, now = (
            # Answers are read by the counts and by the losses.
            champions.answered(part, model, spec, champion.columns).cache()
            for part in (champion.split.holdout(reference), rows)
        )
        of_answers = window.plan(then, [PREDICTION], trained, policy)
        counts.append((sketches.count(then, of_answers), sketches.count(now, of_answers)))
        loss = champions.loss_growth(then, now, spec, policy)
        expected = champions.expected_quality(now, spec)
    shifts = [shift for pair in counts for shift in judging.compare(*pair, policy)]
    if policy.rhythm:
        before, after = (rhythm.of_cells(rhythm.cells(part, trained, policy), spec.label) for part in (reference, rows))
        shifts += rhythm.compare(before, after, policy)
        counts.append((before, after))
    return Seen(
        findings=Findings(shifts=tuple(judging.corrected(shifts, policy)), loss=loss, breaks=tuple(breaks)),
        counts=counts, expected=expected, window=_about(rows, spec, verdict), begins=regimes.begins(rows, spec),
        rows=n_rows,
    )  # fmt: skip


def _judged(
    spark: SparkSession, settings: Settings, spec: PipelineSpec, built: DataFrame, reference: DataFrame
) -> DataFrame:
    policy = _policy(spec)
    files = None
    if policy.window_files:
        files = withdrawals.by_landing(spark, settings, landed_as(spec.dataset))[: policy.window_files]
    return window.newest(window.unknown(built, reference, spec, policy), spec, policy, files)


def _policy(spec: PipelineSpec) -> DriftPolicy:
    if spec.drift is None:
        raise ValueError(f"{spec.name} has no drift policy")
    return spec.drift


def _rows(spark: SparkSession, settings: Settings, verdict: Verdict) -> DataFrame:
    """Exactly what was judged."""
    rows = tables.read(spark, dataset(verdict.dataset), settings.lake, at_version=verdict.table_version)
    if verdict.first_day and verdict.last_day:
        return rows.where(F.col("arrived_on").between(verdict.first_day, verdict.last_day))
    return rows


def _beside(spark: SparkSession, settings: Settings, engine: Engine, spec: PipelineSpec) -> DataFrame | None:
    return _rows(spark, settings, verdicts.newest(engine, spec.beside)) if spec.beside else None


def _present(columns: list[str], rows: DataFrame) -> list[str]:
    return [name for name in columns if name in rows.columns]


def _about(rows: DataFrame, spec: PipelineSpec, verdict: Verdict) -> str:
    """Which rows these are, the same for the same rows."""
    days = f"{verdict.first_day} to {verdict.last_day}" if verdict.first_day else f"version {verdict.table_version}"
    said = f"{spec.dataset}, {days}"
    if spec.ordered_by is None:
        return said
    at = F.col(spec.ordered_by).cast("string")
    ends = rows.agg(F.min(at).alias("first"), F.max(at).alias("last")).collect()[0]
    return f"{said}, {ends['first']} to {ends['last']}" if ends["first"] else said
