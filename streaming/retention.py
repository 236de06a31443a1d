"""How long a layer keeps rows, counted in days of arrival (UTC)."""

from datetime import UTC, date, datetime, timedelta

from contracts.datasets import BRONZE_ACCESS_LOG, QUARANTINE_ACCESS_LOG, SILVER_ACCESS_LOG
from contracts.schema import Dataset
from contracts.settings import Settings

LAYERS = (BRONZE_ACCESS_LOG, SILVER_ACCESS_LOG, QUARANTINE_ACCESS_LOG)


def oldest_kept(dataset: Dataset, settings: Settings) -> date | None:
    """First day of arrival that the layer keeps today; None where it keeps all."""
    stream = settings.stream
    days = {
        BRONZE_ACCESS_LOG.name: stream.bronze_retention_days,
        SILVER_ACCESS_LOG.name: stream.silver_retention_days,
        QUARANTINE_ACCESS_LOG.name: stream.quarantine_retention_days,
    }[dataset.name]
    return None if days is None else datetime.now(UTC).date() - timedelta(days=days)


def still_kept(dataset: Dataset, settings: Settings) -> str:
    """SQL predicate of the rows that the layer keeps today."""
    oldest = oldest_kept(dataset, settings)
    return "true" if oldest is None else f"arrived_on >= DATE'{oldest}'"
