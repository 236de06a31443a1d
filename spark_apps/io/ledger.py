"""The promotion ledger in the ops database: who was champion when, why, and who said so. It asks MLflow nothing."""

import getpass
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, Column, Engine, Integer, String, Table, Text, insert, select, update

from spark_apps.io.ops import UtcDateTime, metadata

EVER = datetime.max.replace(tzinfo=UTC)

promotions = Table(
    "promotions",
    metadata,
    Column("decision", String(64), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("pipeline", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("action", String(10), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("why", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("run_key", String(500), nullable=False),
    Column("who", String(200), nullable=False),
    #: Null while a decision is written down and the aliases are not moved yet.
    Column("applied_at", UtcDateTime),
)


class Entry(BaseModel):
    """One row: a decision about the champion, written down ``at``, in force since ``applied_at``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: str
    at: datetime
    pipeline: str
    model: str
    action: Literal["promote", "keep", "rollback"]
    from_version: int | None
    to_version: int | None
    why: str
    evidence: dict[str, Any]
    run_key: str
    who: str
    applied_at: datetime | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What a later row says about this one."""
        fields = {"decision", "action", "from_version", "to_version", "run_key", "applied_at"}
        return self.model_dump(mode="json", include=fields)


def write(engine: Engine, entry: Entry) -> Entry:
    """Add the row and return it."""
    with engine.begin() as connection:
        connection.execute(insert(promotions).values(**entry.model_dump()))
    return entry


def mark_applied(engine: Engine, entry: Entry) -> None:
    """What the row says has been done."""
    done = update(promotions).where(promotions.c.decision == entry.decision).values(applied_at=datetime.now(UTC))
    with engine.begin() as connection:
        connection.execute(done)


def find(engine: Engine, decision: str) -> Entry | None:
    """The row about this decision."""
    with engine.connect() as connection:
        row = connection.execute(select(promotions).where(promotions.c.decision == decision)).mappings().first()
    return Entry.model_validate(dict(row)) if row else None


def history(engine: Engine, pipeline: str | None = None) -> list[Entry]:
    """Every row of the pipeline, or of all, in the order they were written."""
    query = select(promotions).order_by(promotions.c.at)
    if pipeline:
        query = query.where(promotions.c.pipeline == pipeline)
    with engine.connect() as connection:
        return [Entry.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def champion(entries: Iterable[Entry], at: datetime) -> Entry | None:
    """The row that made the version which was champion of one pipeline at that instant."""
    found = [entry for entry in _in_force(entries) if _is_done(entry, at)]
    return found[-1] if found else None


def line(entries: Iterable[Entry]) -> list[Entry]:
    """The rows that made the present champion of one pipeline (last) and those that a rollback goes back through.

    A version that was rolled back is not among them: going back twice goes back two promotions.
    """
    found: list[Entry] = []
    for entry in _in_force(entries):
        if entry.action == "rollback":
            earlier = [place for place, each in enumerate(found[:-1]) if each.to_version == entry.to_version]
            found = found[: earlier[-1]] if earlier else found
        found.append(entry)
    return found


def promotion_of(entries: Iterable[Entry], version: int) -> Entry | None:
    """The newest promotion of that version which was in force once."""
    found = [each for each in _in_force(entries) if each.action == "promote" and each.to_version == version]
    return found[-1] if found else None


def unfinished(entries: Iterable[Entry], at: datetime = EVER) -> list[Entry]:
    """Changes of one pipeline's champion that were written down last at that instant, and not marked as done."""
    changes = [each for each in entries if each.action != "keep" and each.at <= at]
    done = [each.applied_at for each in changes if each.applied_at and _is_done(each, at)]
    return [each for each in changes if not _is_done(each, at) and (not done or each.at > max(done))]


def who() -> str:
    """Who this process belongs to."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _is_done(entry: Entry, at: datetime) -> bool:
    return entry.applied_at is not None and entry.applied_at <= at


def _in_force(entries: Iterable[Entry]) -> list[Entry]:
    """Changes that were carried out, in that order: a crash can leave a long time between the two."""
    changes = [(entry.applied_at, entry) for entry in entries if entry.applied_at and entry.action != "keep"]
    return [entry for _, entry in sorted(changes, key=lambda change: change[0])]
