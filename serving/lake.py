"""Reading the lake without a JVM: Delta tables through delta-rs and DataFusion, nothing cached but what a commit voids.

Only the columns and files that a query needs are read: predicates on event time reach the files' statistics, and counts
and newest times of whole tables come from the Delta log alone.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from contracts.datasets import DATASETS, OF_ACCESS_LOG
from serving.errors import TableAbsentError, TableUnreadableError

Row = dict[str, Any]
#: Tag of the newest version of every table, None for a table that is not there: equal tags, equal rows. A tag is the
#: version and when it was written, so that a table made anew is another one although its versions begin at 0 again.
Versions = dict[str, str | None]

#: A dataset at its newest version, or (dataset, version).
Source = str | tuple[str, int]

_SESSION = {"datafusion.execution.target_partitions": "2"}
_LATE = {
    "datafusion.execution.target_partitions": "1",
    "datafusion.execution.parquet.pushdown_filters": "true",
    "datafusion.execution.batch_size": "64",
}
_COMMIT = re.compile(r"^(\d{20})\.(?:json|checkpoint\..*parquet)$")
#: How many commits back the newest one of the streaming application is looked for; maintenance writes few in a row.
_HISTORY_DEPTH = 20
_ABSENT = -1


@dataclass(frozen=True)
class TableFacts:
    """What the Delta log says about one version of a table; ``newest`` has the largest value of a time column."""

    version: int
    rows: int
    files: int
    newest: dict[str, datetime]


@dataclass
class _Newest:
    version: int
    written_ns: int

    @property
    def tag(self) -> str:
        return f"{self.version}-{self.written_ns:x}"


class Lake:
    """The tables under one folder, each opened once per version. Safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[str, _Newest] = {}
        self._open: dict[tuple[str, int], DeltaTable] = {}
        self._covers: dict[tuple[str, int], int | None] = {}
        self._lock = threading.Lock()

    def versions(self) -> Versions:
        """Tag of each table's newest version. Two ``stat`` calls a table: it can be asked twice a second for ever."""
        with self._lock:
            newest = {dataset.name: self._newest(dataset.name) for dataset in OF_ACCESS_LOG}
        return {name: None if found is None else found.tag for name, found in newest.items()}

    def rows(self, sql: str, tables: Mapping[str, Source], *, late_columns: bool = False) -> list[Row]:
        """Rows of a query. ``tables`` maps names in ``sql`` to datasets, or to (dataset, version).

        ``late_columns`` decodes the selected columns only for rows that match: right where few rows match and a column
        is large, a little slower elsewhere.

        A file that a compaction removed between opening and reading is no error: the query is asked once more of the
        newest version.
        """
        try:
            return self._rows(sql, tables, late_columns)
        except TableUnreadableError:
            with self._lock:
                self._open.clear()
                self._seen.clear()
            newest = {alias: name if isinstance(name, str) else name[0] for alias, name in tables.items()}
            return self._rows(sql, newest, late_columns)

    def open(self, name: str) -> int:
        """Open the newest version of a table and return it; TableUnreadableError or TableAbsentError if that fails."""
        return int(self._table(name).version())

    def facts(self, name: str) -> TableFacts:
        """Rows, files and newest times from the statistics of the Delta log; no data file is opened."""
        table = self._table(name)
        try:
            actions = table.get_add_actions(flatten=True)
            columns = {c: actions.column(c).to_pylist() for c in actions.schema.names}
        except (DeltaError, OSError, ValueError) as error:
            raise TableUnreadableError(name, found=_first_line(error)) from error
        newest = {
            column.removeprefix("max."): max(known)
            for column, values in columns.items()
            if column.startswith("max.") and (known := [v for v in values if isinstance(v, datetime)])
        }
        rows = sum(n or 0 for n in columns.get("num_records", []))
        return TableFacts(version=table.version(), rows=rows, files=len(columns["path"]), newest=newest)

    def rows_between(self, name: str, column: str, start: datetime, end: datetime) -> int:
        """Upper bound of the rows that a query for ``start <= column < end`` must look at, from file statistics."""
        try:
            actions = self._table(name).get_add_actions(flatten=True)
            columns = {c: actions.column(c).to_pylist() for c in actions.schema.names}
        except (DeltaError, OSError, ValueError) as error:
            raise TableUnreadableError(name, found=_first_line(error)) from error
        n = columns.get("num_records", [])
        lows, highs = columns.get(f"min.{column}", [None] * len(n)), columns.get(f"max.{column}", [None] * len(n))
        return sum(
            records or 0
            for records, low, high in zip(n, lows, highs, strict=True)
            if (low is None or low < end) and (high is None or high >= start)
        )

    def covers(self, name: str) -> int | None:
        """Silver version that the newest commit of a gold table covers; None where no commit says so."""
        table = self._table(name)
        key = (name, table.version())
        if key not in self._covers:
            self._covers = {k: v for k, v in self._covers.items() if k[0] != name}
            self._covers[key] = _silver_version(table)
        return self._covers[key]

    def committed_at(self, name: str) -> float | None:
        """When the newest version of a table was committed, seconds since 1970."""
        path = self._log(name) / f"{self._table(name).version():020d}.json"
        try:
            return path.stat().st_mtime
        except OSError:
            return None  # log clean-up took it: only its checkpoint is left

    def _rows(self, sql: str, tables: Mapping[str, Source], late_columns: bool) -> list[Row]:  # noqa: FBT001 - private
        builder = QueryBuilder(_LATE if late_columns else _SESSION)
        for alias, name in tables.items():
            builder.register(alias, self._table(name) if isinstance(name, str) else self._table(*name))
        try:
            table = builder.execute(sql).read_all()
        # Arrow's readers raise bare Exception for a data file that is missing or damaged.
        except Exception as error:
            names = ", ".join(n if isinstance(n, str) else n[0] for n in tables.values())
            raise TableUnreadableError(names, found=_first_line(error)) from error
        columns = [table.column(name).to_pylist() for name in table.column_names]
        return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]

    def _table(self, name: str, version: int | None = None) -> DeltaTable:
        with self._lock:
            newest = self._newest(name)
            if newest is None:
                raise TableAbsentError(name)
            wanted = newest.version if version is None else version
            key = (name, wanted)
            if key not in self._open:
                opened = _opened(DATASETS[name].path(self.root), name, wanted)
                # Two versions of silver may be in use: the newest, and the one that gold covers.
                kept = [k for k in self._open if k[0] == name][-1:]
                self._open = {k: t for k, t in self._open.items() if k[0] != name or k in kept}
                self._open[key] = opened
            return self._open[key]

    def _newest(self, name: str) -> _Newest | None:
        log = self._log(name)
        seen = self._seen.get(name)
        if seen is None or _written_ns(log, seen.version) != seen.written_ns:
            if seen is not None:
                self._forget(name)
            version = _listed_version(log)
            if version is None:
                return None
            seen = self._seen[name] = _Newest(version, _written_ns(log, version))
        while (written_ns := _written_ns(log, seen.version + 1)) != _ABSENT:
            seen = self._seen[name] = _Newest(seen.version + 1, written_ns)
        return seen

    def _forget(self, name: str) -> None:
        # Gone, or made anew in the same place: version numbers begin again and would hit tables opened before.
        self._seen.pop(name, None)
        self._open = {k: t for k, t in self._open.items() if k[0] != name}
        self._covers = {k: v for k, v in self._covers.items() if k[0] != name}

    def _log(self, name: str) -> Path:
        return DATASETS[name].path(self.root) / "_delta_log"


def instant(seconds: int) -> str:
    """A DataFusion timestamp literal for seconds since 1970."""
    return f"to_timestamp_micros({seconds * 1_000_000})"


def seconds(column: str) -> str:
    """SQL for a timestamp column as whole seconds since 1970."""
    return f"CAST(floor(CAST({column} AS BIGINT) / 1000000.0) AS BIGINT)"


def _opened(path: Path, name: str, version: int) -> DeltaTable:
    try:
        return DeltaTable(path, version=version)
    # delta-rs raises bare Exception for some kinds of damage, DeltaError for others.
    except Exception as error:
        raise TableUnreadableError(name, found=_first_line(error)) from error


def _listed_version(log: Path) -> int | None:
    try:
        entries = os.listdir(log)
    except OSError:
        return None
    return max((int(match.group(1)) for entry in entries if (match := _COMMIT.match(entry))), default=None)


def _written_ns(log: Path, version: int) -> int:
    try:
        return (log / f"{version:020d}.json").stat().st_mtime_ns
    except OSError:
        return _ABSENT


def _silver_version(table: DeltaTable) -> int | None:
    for depth in (1, _HISTORY_DEPTH):
        for commit in table.history(depth):
            try:
                return int(json.loads(commit["userMetadata"])["silver_version"])
            except (ValueError, KeyError, TypeError):
                continue  # a commit of maintenance, or of another writer
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
