"""Frames in the shape of Kafka's source, made from bytes: what a test feeds to the stream without a broker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KAFKA_SCHEMA = StructType(
    [
        StructField("key", BinaryType()),
        StructField("value", BinaryType()),
        StructField("topic", StringType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
        StructField("timestamp", TimestampType()),
        StructField("timestampType", IntegerType()),
        StructField(
            "headers",
            ArrayType(StructType([StructField("key", StringType()), StructField("value", BinaryType())])),
        ),
    ]
)
ARRIVED_AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
Record = tuple[object, ...]


def log_records(
    data: bytes, *, source: str | None = "log-g0", first_offset: int = 0, partition: int = 0, skip_bytes: int = 0
) -> list[Record]:
    """One record per line of ``data`` from byte ``skip_bytes`` on, as the replayer sends them."""
    rows: list[Record] = []
    start = 0
    for whole in _lines(data):
        headers = None
        if source is not None:
            pairs = {"source": source, "offset": str(start), "length": str(len(whole))}
            headers = [(name, value.encode()) for name, value in pairs.items()]
        if start >= skip_bytes:
            line = whole.removesuffix(b"\n")
            offset = first_offset + len(rows)
            rows.append((None, line, "web.access-log", partition, offset, ARRIVED_AT, 1, headers))
        start += len(whole)
    return rows


def kafka_frame(spark: SparkSession, rows: list[Record]) -> DataFrame:
    return spark.createDataFrame(rows, KAFKA_SCHEMA)


def _lines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
