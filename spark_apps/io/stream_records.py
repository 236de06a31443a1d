"""Operational records of the streaming application: source marks, registry, batch counts."""

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, Engine, Integer, String, Table, Text, delete, func, insert, or_, select

from spark_apps.io.ops import UtcDateTime, metadata

source_marks = Table(
    "source_marks", metadata,
    Column("query_id", String(64), primary_key=True),
    Column("batch_id", BigInteger, primary_key=True),
    Column("source", String(200), primary_key=True),
    Column("covered", Text, nullable=False, comment="JSON list of half-open byte intervals"),
)  # fmt: skip

stream_registry = Table(
    "stream_registry", metadata,
    Column("name", String(100), primary_key=True),
    Column("checkpoint", String(500), nullable=False, comment="checkpoint location in use"),
    Column("query_id", String(64), comment="null until the first micro-batch"),
    Column("topic_id", String(64), comment="null until the first micro-batch"),
    Column("last_batch", BigInteger, nullable=False, comment="last micro-batch written to every table"),
    Column("starting_offsets", Text, comment="JSON for Kafka's startingOffsets, set by recover"),
    Column("updated_at", UtcDateTime, nullable=False),
)  # fmt: skip

stream_batches = Table(
    "stream_batches", metadata,
    Column("query_id", String(64), primary_key=True),
    Column("batch_id", BigInteger, primary_key=True),
    Column("bronze", Integer, nullable=False),
    Column("silver", Integer, nullable=False),
    Column("quarantine", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("committed_at", UtcDateTime, nullable=False),
)  # fmt: skip

Covered = dict[str, list[tuple[int, int]]]


@dataclass(frozen=True)
class Registration:
    """What the stream registry knows of a query."""

    name: str
    checkpoint: str
    query_id: str | None
    topic_id: str | None
    last_batch: int
    starting_offsets: str | None


@dataclass(frozen=True)
class BatchCounts:
    """Rows that one micro-batch added; ``bronze = silver + quarantine + duplicates`` always."""

    bronze: int
    silver: int
    quarantine: int
    duplicates: int


def registration(engine: Engine, name: str) -> Registration | None:
    with engine.connect() as connection:
        row = connection.execute(select(stream_registry).where(stream_registry.c.name == name)).mappings().first()
    return None if row is None else Registration(**{k: row[k] for k in Registration.__dataclass_fields__})


def register(engine: Engine, entry: Registration) -> None:
    """Insert or replace the registry's entry of a query."""
    with engine.begin() as connection:
        connection.execute(delete(stream_registry).where(stream_registry.c.name == entry.name))
        connection.execute(insert(stream_registry).values(**entry.__dict__, updated_at=datetime.now(UTC)))


def covered_before(engine: Engine, query_id: str, batch_id: int) -> Covered:
    """Byte intervals per source that micro-batches before ``batch_id`` of this query, and other queries, covered."""
    earlier = or_(source_marks.c.query_id != query_id, source_marks.c.batch_id < batch_id)
    result: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    with engine.connect() as connection:
        for source, text in connection.execute(select(source_marks.c.source, source_marks.c.covered).where(earlier)):
            result[source] += [(start, end) for start, end in json.loads(text)]
    return dict(result)


def finish_batch(engine: Engine, entry: Registration, counts: BatchCounts, covered: Covered) -> None:
    """Record a micro-batch that is in every table: its marks, its counts, and that it is the last one."""
    batch = {"query_id": entry.query_id, "batch_id": entry.last_batch}
    with engine.begin() as connection:
        for table in (source_marks, stream_batches):
            mine = (table.c.query_id == entry.query_id) & (table.c.batch_id == entry.last_batch)
            connection.execute(delete(table).where(mine))
        marks = [{**batch, "source": source, "covered": json.dumps(parts)} for source, parts in covered.items()]
        if marks:
            connection.execute(insert(source_marks), marks)
        connection.execute(insert(stream_batches).values(**batch, **counts.__dict__, committed_at=datetime.now(UTC)))
        connection.execute(delete(stream_registry).where(stream_registry.c.name == entry.name))
        connection.execute(insert(stream_registry).values(**entry.__dict__, updated_at=datetime.now(UTC)))


def replace_marks(engine: Engine, query_id: str, batch_id: int, covered: Covered) -> None:
    """Replace every mark up to ``batch_id`` by one per source: fewer rows, the same bytes.

    Marks of later micro-batches of the query stay.
    """
    rows = [
        {"query_id": query_id, "batch_id": batch_id, "source": source, "covered": json.dumps(parts)}
        for source, parts in covered.items()
    ]
    with engine.begin() as connection:
        old = or_(source_marks.c.query_id != query_id, source_marks.c.batch_id <= batch_id)
        connection.execute(delete(source_marks).where(old))
        if rows:
            connection.execute(insert(source_marks), rows)


def totals(engine: Engine) -> BatchCounts:
    """Rows that all micro-batches added."""
    columns = [func.coalesce(func.sum(stream_batches.c[name]), 0) for name in BatchCounts.__dataclass_fields__]
    with engine.connect() as connection:
        return BatchCounts(*[int(n) for n in connection.execute(select(*columns)).one()])
