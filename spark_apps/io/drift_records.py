"""Checks of drift in the ops database: one row per check with its decision, one per compared column."""

import itertools
from datetime import datetime
from typing import cast

from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, Boolean, Column, Engine, Float, Index, Integer, String, Table, Text, delete, insert, select

from spark_apps.io.ops import UtcDateTime, metadata
from spark_apps.ml.drift.deciding import DriftDecision, State
from spark_apps.ml.drift.judging import Shift

decisions = Table(
    "drift_decisions", metadata,
    Column("run_key", String(500), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("pipeline", String(200), nullable=False),
    Column("champion_version", Integer, nullable=False),
    Column("reference", String(300), nullable=False, comment="training snapshot of the champion: name/hash"),
    Column("window", String(300), nullable=False, comment="rows that were judged"),
    Column("state", String(20), nullable=False),
    Column("action", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    Column("report", String(1000), nullable=False),
    Index("drift_decisions_by_champion", "pipeline", "champion_version"),
)  # fmt: skip

checks = Table(
    "drift_checks", metadata,
    Column("run_key", String(500), primary_key=True),
    Column("column", String(200), primary_key=True),
    Column("group", String(200), primary_key=True, comment="value of the policy's `by`; empty without one"),
    Column("kind", String(10), nullable=False),
    Column("reference_rows", Integer, nullable=False),
    Column("window_rows", Integer, nullable=False),
    Column("effect", Float, nullable=False),
    Column("p", Float, comment="null where there were too few rows or blocks"),
    Column("p_adjusted", Float),
    Column("is_drift", Boolean, nullable=False),
    Column("missing", Float, nullable=False, comment="share of the window's rows"),
    Column("distances", JSON, nullable=False),
)  # fmt: skip


begins = Table(
    "drift_window_begins", metadata,
    Column("run_key", String(500), primary_key=True),
    Column("begins", JSON, nullable=False, comment="the first rows of the window, as Begins says"),
)  # fmt: skip


class Begins(BaseModel):
    """With which rows a stretch of a table begins: landed files (hex SHA-256), or instants in a series, by group.

    The group of a series without groups is empty. Neither: no rows, or rows that have no such order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[str, ...] = ()
    at: dict[str, datetime] = {}


class DriftCheck(BaseModel):
    """Which rows were held against which champion, and what came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_key: str
    at: datetime
    pipeline: str
    champion_version: int
    reference: str
    window: str
    begins: Begins
    decision: DriftDecision
    report: str


def record(engine: Engine, check: DriftCheck, shifts: tuple[Shift, ...]) -> None:
    """Write a check and its columns; those of an earlier try of the same run are replaced."""
    said = check.model_dump(exclude={"decision", "begins"}) | check.decision.model_dump()
    rows = [
        shift.model_dump() | {"run_key": check.run_key, "group": "" if shift.group is None else shift.group}
        for shift in shifts
    ]
    with engine.begin() as connection:
        for table in (decisions, checks, begins):
            connection.execute(delete(table).where(table.c.run_key == check.run_key))
        connection.execute(insert(decisions).values(**said))
        connection.execute(insert(begins).values(run_key=check.run_key, begins=check.begins.model_dump(mode="json")))
        if rows:
            connection.execute(insert(checks), rows)


def earlier_states(engine: Engine, pipeline: str, champion_version: int, *, window: str) -> list[State]:
    """States of this champion's checks of other windows, the newest check of each window, newest first."""
    mine = (decisions.c.pipeline == pipeline) & (decisions.c.champion_version == champion_version)
    query = select(decisions.c.window, decisions.c.state).where(mine & (decisions.c.window != window))
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(decisions.c.at)).all()
    newest: dict[str, State] = {}
    for other, state in rows:
        newest.pop(other, None)
        newest[other] = cast("State", state)
    return list(newest.values())[::-1]


def open_drift(engine: Engine, pipeline: str, champion_version: int) -> list[Begins]:
    """Windows of the drift that this champion's newest check confirmed, newest first; empty where it saw none.

    It goes back to the last check that found none. Checks without enough rows, or of broken data, say neither.
    """
    mine = (decisions.c.pipeline == pipeline) & (decisions.c.champion_version == champion_version)
    query = select(decisions.c.state, decisions.c.action, begins.c.begins)
    query = query.join_from(decisions, begins, decisions.c.run_key == begins.c.run_key, isouter=True)
    with engine.connect() as connection:
        rows = connection.execute(query.where(mine).order_by(decisions.c.at.desc())).all()
    telling = [row for row in rows if row.state in ("stable", "drift")]
    if not telling or telling[0].action == "none":
        return []
    run = itertools.takewhile(lambda row: row.state == "drift", telling)
    # A check of an earlier version of the platform did not write down where its window begins.
    return [Begins.model_validate(row.begins) for row in run if row.begins]
