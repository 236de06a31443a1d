"""What the commits of a Delta table say about who made them: its log read as the JSON lines it is, newest first.

Delta's own look-up of a transaction rebuilds the state of the table, for every commit and every table of a micro-batch.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Key of a commit's user metadata: ``{"application": str, "version": int}``.
TRANSACTION = "transaction"


def newest_transaction(table: Path, application: str) -> int | None:
    """Newest transaction version of ``application`` in the commits at hand; None where none of them names it."""
    for commit in sorted(_log(table).glob("[0-9]*.json"), reverse=True):
        found = [version for action in _actions(commit) if (version := _transaction(action, application)) is not None]
        if found:
            return max(found)
    return None


def committed_at(table: Path, version: int) -> datetime | None:
    """When ``version`` was committed (UTC); None when its commit is not at hand any more."""
    for action in _actions(_log(table) / f"{version:020d}.json"):
        if "commitInfo" in action:
            return datetime.fromtimestamp(action["commitInfo"]["timestamp"] / 1000, tz=UTC)
    return None


def _log(table: Path) -> Path:
    return table / "_delta_log"


def _actions(commit: Path) -> list[dict[str, Any]]:
    try:
        lines = commit.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # cleaned up by another writer, a moment ago or long since
        return []
    return [json.loads(line) for line in lines if line.startswith(('{"commitInfo"', '{"txn"'))]


def _transaction(action: dict[str, Any], application: str) -> int | None:
    if (checked := action.get("txn")) is not None:
        return int(checked["version"]) if checked["appId"] == application else None
    said = json.loads(action["commitInfo"].get("userMetadata") or "{}").get(TRANSACTION)
    return int(said["version"]) if said and said["application"] == application else None
