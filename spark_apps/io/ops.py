"""The ops database: operational records through SQLAlchemy, a SQLite file by default, Postgres where it is set."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Engine, MetaData, create_engine, event
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: stored in UTC, always read back with its zone (SQLite forgets it)."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401, ARG002 - SQLAlchemy's signature
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401, ARG002 - SQLAlchemy's signature
        return None if value is None else value.replace(tzinfo=UTC)


def connect(url: str) -> Engine:
    """Open the database of ``url`` and create the tables that are missing.

    Import the module that declares a table before connecting. SQLite runs in WAL mode and waits 30 s for a writer.
    """
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _patient_sqlite)
    metadata.create_all(engine)
    return engine


def _patient_sqlite(connection: Any, _record: Any) -> None:  # noqa: ANN401 - DBAPI objects
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()
