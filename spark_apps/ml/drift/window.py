"""Which rows a champion is held against, what is counted of them, and what is wrong with them before any test."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.pipelines import PipelineSpec
from contracts.pipelines.drift import PREDICTION, DriftPolicy
from spark_apps.ml.drift import bins, units
from spark_apps.ml.drift.bins import NumericBins, Plan
from spark_apps.ml.drift.sketches import Sketch

#: Rows of the reference whose quantiles become the bins.
_SAMPLE_ROWS = 100_000
_SAMPLE_SEED = 20


def unknown(built: DataFrame, reference: DataFrame, spec: PipelineSpec, policy: DriftPolicy) -> DataFrame:
    """Rows of ``built`` that the reference snapshot does not have: by key, or in a series those after its last one.

    A series has rows before and between those of its snapshot that lacked a lag or a label: they are old news.
    """
    if spec.ordered_by is None:
        return built.join(reference.select(*spec.key), on=list(spec.key), how="left_anti")
    at, groups = spec.ordered_by, [policy.by] if policy.by else []
    covered = reference.groupBy(*groups).agg(F.max(at).alias("_known"))
    joined = built.join(F.broadcast(covered), on=groups, how="left") if groups else built.crossJoin(covered)
    return joined.where(F.col("_known").isNull() | (F.col(at) > F.col("_known"))).select(*built.columns)


def newest(rows: DataFrame, spec: PipelineSpec, policy: DriftPolicy, files: Sequence[str] | None = None) -> DataFrame:
    """The last ``policy.window_days`` of event time, in each group apart.

    Of rows without an order those of ``files`` (hex SHA-256), all where none are given.
    """
    if spec.ordered_by is None:
        return rows if files is None else rows.where(F.col("source_sha256").isin(*files))
    at, groups = spec.ordered_by, [policy.by] if policy.by else []
    last = rows.groupBy(*groups).agg(F.max(at).alias("_last"))
    joined = rows.join(last, on=groups, how="inner") if groups else rows.crossJoin(last)
    reach = F.make_dt_interval(secs=F.lit(timedelta(days=policy.window_days).total_seconds()))
    return joined.where(F.col(at) > F.col("_last") - reach).select(*rows.columns)


def watched(spec: PipelineSpec, policy: DriftPolicy, columns: Sequence[str]) -> list[str]:
    """Columns that the policy compares, of those that a frame has, in the spec's order."""
    wanted = policy.columns or spec.watched_columns
    return [name for name in spec.watched_columns if name in wanted and name in columns]


def plan(reference: DataFrame, columns: Sequence[str], spec: PipelineSpec, policy: DriftPolicy) -> Plan:
    """Bins from at most about 100,000 rows of the reference, the same for the same frame."""
    rows = reference.count()
    chosen = reference.select(*columns)
    if rows > _SAMPLE_ROWS:
        chosen = chosen.sample(_SAMPLE_ROWS / rows, seed=_SAMPLE_SEED)
    names = [*spec.features.categories, *spec.features.codes, *([PREDICTION] if spec.task == "clustering" else [])]
    block_s = None if policy.block_hours is None else round(policy.block_hours * 3600)
    return Plan(
        columns=bins.of_sample(chosen.toArrow(), names), by=policy.by,
        ordered_by=spec.ordered_by if block_s else None, block_s=block_s,
    )  # fmt: skip


def changed_types(before: Mapping[str, str], now: Mapping[str, str], columns: Sequence[str]) -> list[str]:
    """Sentences about columns that are gone or have another type."""
    gone = [name for name in columns if name in before and name not in now]
    other = [name for name in columns if name in before and name in now and before[name] != now[name]]
    return [f"{name} is gone" for name in gone] + [f"{name} was {before[name]} and is {now[name]}" for name in other]


def missing_shares(built: DataFrame, columns: Sequence[str]) -> dict[str, float]:
    """Share of rows without a value, by column, not-a-number being none; zeros where there are no rows."""
    types = dict(built.dtypes)
    shares = [F.avg(_is_missing(name, types[name]).cast("double")).alias(name) for name in columns]
    found = built.agg(*shares).collect()[0].asDict() if shares else {}
    return {name: float(share or 0.0) for name, share in found.items()}


def _is_missing(column: str, kind: str) -> Column:
    empty = F.col(column).isNull()
    return empty | F.isnan(column) if kind in ("double", "float") else empty


def more_missing(before: Mapping[str, float], now: Mapping[str, float], policy: DriftPolicy, *, rows: int) -> list[str]:
    """Sentences about columns of which more is missing than the policy bears.

    Shares of fewer rows than ``min_rows`` say nothing: of a series that brought nothing new there is one row for each
    group, that of the next point in time, whose label nobody knows yet.
    """
    if rows < policy.min_rows:
        return []
    return [
        f"{name} is missing in {share:.1%} of the rows, before in {before.get(name, 0.0):.1%}"
        for name, share in now.items()
        if share - before.get(name, 0.0) > policy.max_missing_growth
    ]


def changed_units(reference: Sketch, window: Sketch, spec: PipelineSpec, policy: DriftPolicy) -> list[str]:
    """Sentences about columns whose shift a change of unit explains; what the platform counts itself has no other."""
    said: list[str] = []
    if spec.is_daily:
        return said
    for group in window.groups:
        for each in window.plan.columns:
            if not isinstance(each, NumericBins) or each.is_atomic or each.column == PREDICTION:
                continue
            before, now = (sketch.of(each.column, group)[:, :-1].sum(0) for sketch in (reference, window))
            if now.sum() < policy.min_rows:
                continue
            if change := units.changed(each, before, now, min_effect=policy.min_effect):
                of = "" if group is None else f" of {group}"
                said.append(f"{each.column}{of} looks as if its unit had changed: {change}")
    return said
