"""Housekeeping of the stream's own tables, by the one process that writes them: compaction, vacuum, retention."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from pyspark.sql import SparkSession

from contracts.datasets import (
    BRONZE_ACCESS_LOG,
    GOLD_OF_ACCESS_LOG,
    QUARANTINE_ACCESS_LOG,
    SILVER_ACCESS_LOG,
    Dataset,
)
from contracts.settings import Settings
from spark_apps.io import tables

log = logging.getLogger("millrace")

STREAM_TABLES = (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG, *GOLD_OF_ACCESS_LOG)
#: A vacuum lists every file of a table; once in this time is plenty.
VACUUM_EVERY_S = 900.0


@dataclass
class Maintenance:
    """Remembers what was done when; one per driver, used by one thread."""

    spark: SparkSession
    settings: Settings
    compacted_at: dict[str, int] = field(default_factory=dict)
    vacuumed_at: float = field(default_factory=monotonic)
    retained_on: datetime | None = None

    def tidy(self) -> None:
        """Do what is due. Each table's lock is held while it is worked on, so micro-batches wait their turn."""
        for dataset in STREAM_TABLES:
            self._compact_if_due(dataset)
        if monotonic() - self.vacuumed_at >= VACUUM_EVERY_S:
            for dataset in STREAM_TABLES:
                tables.vacuum(self.spark, dataset, self.settings)
            self.vacuumed_at = monotonic()
        self._apply_retention()

    def _compact_if_due(self, dataset: Dataset) -> None:
        version = tables.version(self.spark, dataset, self.settings.lake)
        # Every commit adds a file or two, so versions count files without listing any.
        if version - self.compacted_at.setdefault(dataset.name, version) < self.settings.stream.compact_after_files:
            return
        where = None
        if "arrived_on" in dataset.partitioned_by:
            where = f"arrived_on >= DATE'{datetime.now(UTC).date() - timedelta(days=1)}'"
        tables.compact(self.spark, dataset, self.settings, where)
        self.compacted_at[dataset.name] = tables.version(self.spark, dataset, self.settings.lake)
        log.info("compacted dataset=%s version=%d", dataset.name, self.compacted_at[dataset.name])

    def _apply_retention(self) -> None:
        now = datetime.now(UTC)
        if self.retained_on is not None and self.retained_on.date() == now.date():
            return
        stream = self.settings.stream
        kept_days = (
            (BRONZE_ACCESS_LOG, stream.bronze_retention_days),
            (SILVER_ACCESS_LOG, stream.silver_retention_days),
            (QUARANTINE_ACCESS_LOG, stream.quarantine_retention_days),
        )
        for dataset, days in kept_days:
            if days is not None:
                # Gold follows silver in the next step: it is always a function of what silver holds.
                oldest = now.date() - timedelta(days=days)
                tables.delete(self.spark, dataset, self.settings, f"arrived_on < DATE'{oldest}'")
        self.retained_on = now
