"""Compare a streamed gold table with a batch recomputation from exactly the silver version it says it covers."""

import json
from collections.abc import Callable

from delta.tables import DeltaTable
from pydantic import BaseModel, ConfigDict
from pyspark.sql import DataFrame, SparkSession

from contracts.datasets import SILVER_ACCESS_LOG
from contracts.errors import ReconciliationError
from contracts.schema import Dataset
from contracts.settings import Settings
from spark_apps.io import tables

#: Keys named in the message; the rest is counted.
_SHOWN = 10


class Comparison(BaseModel):
    """Rows of both sides, and keys (as JSON) of rows that only one side has."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    table_version: int
    silver_version: int
    rows: int
    only_streamed: int
    only_batch: int
    keys: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        return not self.only_streamed and not self.only_batch


def covered_silver_version(spark: SparkSession, dataset: Dataset, settings: Settings) -> tuple[int, int]:
    """(newest gold version, the silver version that it covers)."""
    tables.read(spark, dataset, settings.lake)
    # The rows are those of the newest version: what came after the commit that is looked for, compactions, moved none.
    # And an older version cannot be read any more once its files' retention is over.
    newest = tables.version(spark, dataset, settings.lake)
    history = DeltaTable.forPath(spark, str(dataset.path(settings.lake))).history()
    for row in history.where("userMetadata IS NOT NULL").select("version", "userMetadata").limit(50).collect():
        metadata = json.loads(row.userMetadata)
        if int(row.version) <= newest and "silver_version" in metadata:
            return newest, int(metadata["silver_version"])
    if newest == 0 and tables.version(spark, SILVER_ACCESS_LOG, settings.lake) == 0:
        return 0, 0  # both have only been created
    raise ReconciliationError(
        f"Reconciling {dataset.name}", found="no commit that names the silver version it covers",
        required="a table written by the streaming application",
        next_step="Drain the stream (bin/millrace drain), then try again.",
    )  # fmt: skip


def compare(
    spark: SparkSession, dataset: Dataset, settings: Settings, recompute: Callable[[DataFrame], DataFrame]
) -> Comparison:
    """Compare all rows of both sides; equal means equal in every column."""
    version, silver_version = covered_silver_version(spark, dataset, settings)
    streamed = tables.read(spark, dataset, settings.lake, at_version=version).persist()
    batch = recompute(tables.read(spark, SILVER_ACCESS_LOG, settings.lake, at_version=silver_version)).persist()
    try:
        more, fewer = streamed.exceptAll(batch), batch.exceptAll(streamed)
        counts = {"only_streamed": more.count(), "only_batch": fewer.count()}
        keys = more.unionByName(fewer).select(*dataset.key).distinct().limit(_SHOWN).toJSON().collect()
        return Comparison(
            dataset=dataset.name, table_version=version, silver_version=silver_version,
            rows=streamed.count(), keys=tuple(sorted(keys)), **counts,
        )  # fmt: skip
    finally:
        streamed.unpersist()
        batch.unpersist()
