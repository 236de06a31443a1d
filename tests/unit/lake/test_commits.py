"""A table's log read without Delta."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from spark_apps.io import commits

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "_delta_log").mkdir()
    return tmp_path


def commit(table: Path, version: int, *actions: dict[str, Any]) -> None:
    text = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions)
    (table / "_delta_log" / f"{version:020d}.json").write_text(text, encoding="utf-8")


def info(metadata: dict[str, Any] | None = None, at_ms: int = 1_000) -> dict[str, Any]:
    said = {} if metadata is None else {"userMetadata": json.dumps(metadata)}
    return {"commitInfo": {"timestamp": at_ms, **said}}


def says(application: str, version: int) -> dict[str, Any]:
    return info({commits.TRANSACTION: {"application": application, "version": version}, "silver_version": 99})


def checked(application: str, version: int) -> dict[str, Any]:
    return {"txn": {"appId": application, "version": version}}


def test_the_newest_commit_that_names_the_application_counts_however_it_says_so(table: Path) -> None:
    commit(table, 0, info())
    commit(table, 1, info(), checked("q", 4))
    assert commits.newest_transaction(table, "q") == 4
    commit(table, 2, says("q", 5), {"add": {"path": "commitInfo"}})
    commit(table, 3, says("another", 70))
    commit(table, 4, info({"silver_version": 8}), checked("another", 71))
    assert commits.newest_transaction(table, "q") == 5
    assert commits.newest_transaction(table, "another") == 71


def test_a_log_that_does_not_name_the_application_knows_nothing(table: Path) -> None:
    assert commits.newest_transaction(table / "nowhere", "q") is None
    commit(table, 10, info(), checked("another", 4))
    assert commits.newest_transaction(table, "q") is None


def test_a_commit_tells_its_time_for_as_long_as_it_is_at_hand(table: Path) -> None:
    commit(table, 7, info(at_ms=1_500))
    assert commits.committed_at(table, 7) == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert commits.committed_at(table, 6) is None
