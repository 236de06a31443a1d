"""Housekeeping of the stream's own tables, by the one process that writes them: compaction, vacuum, retention."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import time

from pyspark.sql import SparkSession

from contracts.datasets import BRONZE_ACCESS_LOG, GOLD_OF_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.schema import Dataset
from contracts.settings import Settings
from spark_apps.io import tables
from streaming import retention

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
    retained_on: date | None = None

    def tidy(self) -> None:
        """Do what is due. Micro-batches go on beside it; other processes wait for the tables' locks."""
        for dataset in STREAM_TABLES:
            self._compact_if_due(dataset)
        self.clean_up()

    def clean_up(self) -> None:
        """Retention once a day, a vacuum now and then, also where no driver lives for as long as that."""
        self._apply_retention()
        last = self.settings.state / "stream" / "vacuumed"
        if not last.exists():
            last.parent.mkdir(parents=True, exist_ok=True)
        elif time() - last.stat().st_mtime < VACUUM_EVERY_S:
            return
        else:
            for dataset in STREAM_TABLES:
                # `recover` removes gold, and a drain is the first to make it anew.
                if tables.exists(self.spark, dataset, self.settings.lake):
                    tables.vacuum(self.spark, dataset, self.settings)
        last.touch()

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
        today = datetime.now(UTC).date()
        if self.retained_on == today:
            return
        for dataset in retention.LAYERS:
            if (oldest := retention.oldest_kept(dataset, self.settings)) is not None:
                # Gold follows silver in the next step: it is always a function of what silver holds.
                tables.delete(self.spark, dataset, self.settings, f"arrived_on < DATE'{oldest}'")
        self.retained_on = today
