"""Which rows are of the present regime: those since the last drift that was confirmed."""

from collections.abc import Sequence
from datetime import UTC
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sqlalchemy import Engine

from contracts.landed_files import landed_as
from contracts.pipelines import PipelineSpec
from contracts.settings import Settings
from spark_apps.io import drift_records, registry, snapshots, tracking, withdrawals
from spark_apps.io.drift_records import Begins

#: In the provenance of a snapshot that lacks what was before the last drift.
SINCE_DRIFT = "since_drift"


def begins(rows: DataFrame, spec: PipelineSpec) -> Begins:
    """With which files, or instants of each group, these rows begin."""
    if spec.ordered_by:
        by = F.col(spec.drift.by).cast("string") if spec.drift and spec.drift.by else F.lit("")
        first = rows.groupBy(by.alias("group")).agg(F.min(spec.ordered_by).alias("at")).collect()
        return Begins(at={row["group"]: row["at"].replace(tzinfo=UTC) for row in first if row["at"]})
    if "source_sha256" not in spec.key:
        return Begins()
    files = rows.select("source_sha256").distinct().orderBy("source_sha256").collect()
    return Begins(files=tuple(row["source_sha256"] for row in files))


def since_drift(
    spark: SparkSession, settings: Settings, engine: Engine, spec: PipelineSpec, usable: DataFrame
) -> DataFrame | None:
    """Rows of ``usable`` since the last drift; None where the champion knows of none.

    While drift goes on that no champion was made of, its first window is the beginning; else, of a champion that was
    made since a drift, its own snapshot is.
    """
    with tracking.connected(settings) as client:
        champion = registry.by_alias(client, spec.name, registry.CHAMPION)
    if champion is None:
        return None
    first = drift_records.open_drift(engine, spec.name, champion.version)
    if not first and champion.provenance.get(SINCE_DRIFT):
        first = [begins(snapshots.read(spark, champion.snapshot(spec), settings), spec)]
    if spec.ordered_by:
        return _from_instants(usable, first, spec)
    files = {file for each in first for file in each.files}
    if not files:
        return None
    return _from_files(usable, withdrawals.by_landing(spark, settings, landed_as(spec.dataset)), files)


def _from_files(usable: DataFrame, newest_first: Sequence[str], files: set[str]) -> DataFrame | None:
    oldest = max((n for n, file in enumerate(newest_first) if file in files), default=None)
    return None if oldest is None else usable.where(F.col("source_sha256").isin(*newest_first[: oldest + 1]))


def _from_instants(usable: DataFrame, first: Sequence[Begins], spec: PipelineSpec) -> DataFrame | None:
    """Of a group that no window has, every row."""
    at = {group: min(each.at[group] for each in first if group in each.at) for each in first for group in each.at}
    if not at:
        return None
    group = F.col(spec.drift.by).cast("string") if spec.drift and spec.drift.by else F.lit("")
    known = [(group == name) & (F.col(str(spec.ordered_by)) >= F.lit(instant)) for name, instant in at.items()]
    return usable.where(reduce(or_, known, ~group.isin(*at)))
