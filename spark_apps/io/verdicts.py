"""Verdicts: which content of which dataset was judged by which rules in which run, and whether it passed."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, Boolean, Column, Date, Engine, Index, Integer, String, Table, insert, select
from sqlalchemy.sql import Select

from contracts.errors import QualityGateError
from contracts.windows import TableVersion, Window
from spark_apps.io.ops import UtcDateTime, metadata

_table = Table(
    "verdicts", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("dataset", String(100), nullable=False),
    Column("content_hash", String(64), nullable=False, comment="SHA-256 that stands for the rows that were judged"),
    Column("suite_hash", String(64), nullable=False, comment="SHA-256 of the rules"),
    Column("passed", Boolean, nullable=False),
    Column("worst", String(10), comment="highest severity among the broken rules; null when all hold"),
    Column("run_key", String(500), nullable=False),
    Column("table_version", BigInteger, comment="Delta version that was judged; null for a snapshot"),
    Column("first_day", Date, comment="first arrival day that was judged; null for a whole table or a snapshot"),
    Column("last_day", Date),
    Column("rows", BigInteger, nullable=False),
    Column("report", String(1000), nullable=False, comment="page of the Data Docs"),
    Column("judged_at", UtcDateTime, nullable=False),
    Index("verdicts_by_content", "dataset", "content_hash"),
)  # fmt: skip


class Verdict(BaseModel):
    """The outcome of one validation. ``id`` is given by ``record``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    content_hash: str
    suite_hash: str
    passed: bool
    run_key: str
    judged_at: datetime
    report: str
    rows: int
    worst: str | None = None
    table_version: int | None = None
    first_day: date | None = None
    last_day: date | None = None
    id: int | None = None


def record(engine: Engine, verdict: Verdict) -> Verdict:
    """Add the verdict and return it with its id; earlier ones stay, the newest counts."""
    with engine.begin() as connection:
        done = connection.execute(insert(_table).values(**verdict.model_dump(exclude={"id"})))
        key: Any = done.inserted_primary_key
        return verdict.model_copy(update={"id": int(key[0])})


def passing(engine: Engine, dataset: str, content_hash: str) -> Verdict | None:
    """The newest verdict about exactly this content, if it passed; None when it failed or there is none."""
    mine = (_table.c.dataset == dataset) & (_table.c.content_hash == content_hash)
    verdict = _first(engine, select(_table).where(mine).order_by(_table.c.id.desc()))
    return verdict if verdict and verdict.passed else None


def of(engine: Engine, dataset: str, rows: Window | TableVersion) -> Verdict:
    """The newest verdict about exactly these rows of the table; QualityGateError unless it passed."""
    if isinstance(rows, Window):
        mine = (_table.c.first_day == rows.first_day) & (_table.c.last_day == rows.last_day)
    else:
        mine = (_table.c.table_version == rows.table_version) & _table.c.first_day.is_(None)
    query = select(_table).where((_table.c.dataset == dataset) & mine).order_by(_table.c.id.desc())
    what = "these arrival days" if isinstance(rows, Window) else "this version"
    return _required(_first(engine, query), dataset, f"{dataset}, {rows.about}", what)


def newest(engine: Engine, dataset: str) -> Verdict:
    """The newest verdict about any version of a table that is taken whole; QualityGateError unless it passed."""
    mine = (_table.c.dataset == dataset) & _table.c.table_version.is_not(None) & _table.c.first_day.is_(None)
    verdict = _first(engine, select(_table).where(mine).order_by(_table.c.id.desc()))
    return _required(verdict, dataset, dataset, "a version of it")


def latest(engine: Engine, dataset: str) -> Verdict:
    """The newest verdict about the dataset, whichever rows it is about; QualityGateError unless it passed."""
    mine = (_table.c.dataset == dataset) & _table.c.table_version.is_not(None)
    verdict = _first(engine, select(_table).where(mine).order_by(_table.c.id.desc()))
    return _required(verdict, dataset, dataset, "rows of it")


def _required(verdict: Verdict | None, dataset: str, used: str, what: str) -> Verdict:
    if verdict is None or not verdict.passed:
        found = f"no verdict about {what}" if verdict is None else f"verdict {verdict.id}, which failed"
        raise QualityGateError(
            f"Using {used}", found=found, required=f"a validation of exactly {what} that passed",
            next_step=f"Run validate --dataset {dataset} on them; if it fails, correct the data, not the rule.",
        )  # fmt: skip
    return verdict


def _first(engine: Engine, query: Select[Any]) -> Verdict | None:
    with engine.connect() as connection:
        row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else Verdict(**row)
