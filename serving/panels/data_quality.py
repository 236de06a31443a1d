"""How far the other panels can be trusted: what is odd, unreadable or delivered again, and how new each table is."""

from serving.lake import Lake, Row, instant, seconds
from serving.panels.shared import (
    BRONZE,
    HOURS,
    MINUTES,
    NAME_LIMIT,
    QUARANTINE,
    RESOURCES,
    SESSIONS,
    SILVER,
    Asked,
    Json,
    Listed,
    affordable,
    gold_and_silver,
    within,
)
from serving.text import printable, printable_text

#: Characters of a quarantined line, or of an odd request, that the page is sent.
LINE_LIMIT = 500


def oddities(lake: Lake, asked: Asked) -> Json:
    """Requests that were kept although something about them is odd.

    ``{"requests": n, "flags": [{"flag", "requests"}], "newest": [{"requested_s", "host", "request", "status",
    "flags"}]}``, or ``{"requests": null, ...}`` with empty lists where the range has too many rows to look through.
    """
    period = asked.period
    if not affordable(lake, period):
        return {"requests": None, "flags": [], "newest": []}
    tables = gold_and_silver(lake, MINUTES, "FROM silver")
    odd = f"FROM silver WHERE {within('requested_at', period)} AND array_length(flags) > 0"
    flags = lake.rows(
        f"SELECT flag, count(*) requests FROM (SELECT unnest(flags) flag {odd}) GROUP BY 1 ORDER BY 2 DESC, 1", tables
    )
    newest = lake.rows(
        f"SELECT {seconds('requested_at')} requested_s, host, request, status, flags {odd}"
        f" ORDER BY requested_at DESC, kafka_partition, kafka_offset DESC LIMIT {asked.limit}",
        tables,
    )
    shown = [{**row, "host": printable_text(row["host"], NAME_LIMIT)} for row in newest]
    return {
        "requests": lake.rows(f"SELECT count(*) n {odd}", tables)[0]["n"],
        "flags": flags,
        "newest": [{**row, "request": printable_text(row["request"], LINE_LIMIT)} for row in shown],
    }


def quarantine(lake: Lake, listed: Listed) -> Json:
    """What could not be read, by *arrival*: such lines have no event time.

    ``{"total", "reasons": [{"reason", "lines", "first_s", "last_s"}], "lines": [{"reason", "kafka_at_s",
    "kafka_partition", "kafka_offset", "bytes", "shown", "was_cut"}]}``: the newest lines, of one reason if asked;
    ``shown`` is the beginning of the raw bytes as text, ``bytes`` their full number.
    """
    reasons = lake.rows(
        f"SELECT reason, count(*) lines, min({seconds('kafka_at')}) first_s, max({seconds('kafka_at')}) last_s"
        " FROM quarantine GROUP BY reason ORDER BY lines DESC, reason",
        {"quarantine": QUARANTINE},
    )
    chosen = "TRUE" if listed.reason is None else f"reason = {_quoted(listed.reason)}"
    lines = _newest_lines(lake, chosen, listed.limit)
    return {
        "total": sum(row["lines"] for row in reasons),
        "reasons": [{**row, "reason": printable_text(row["reason"], NAME_LIMIT)} for row in reasons],
        "lines": [_shown(row) for row in lines],
    }


def freshness(lake: Lake, _: Listed) -> Json:
    """How new each layer is, and how many rows it has: from the Delta logs alone, no data is read.

    ``{"tables": [{"name", "version", "rows", "files", "committed_at_s", "covers_silver_version"}], "newest_kafka_at_s",
    "silver_version", "gold_covers_silver_version"}``: Kafka's append time of the newest line in silver; the silver
    version that *all* gold tables cover. A table that is absent is left out.
    """
    tables: list[Json] = []
    newest: float | None = None
    for name, version in lake.versions().items():
        if version is None:
            continue
        facts = lake.facts(name)
        covers = lake.covers(name) if name.startswith("gold.") else None
        tables.append({
            "name": name, "version": facts.version, "rows": facts.rows, "files": facts.files,
            "committed_at_s": lake.committed_at(name), "covers_silver_version": covers,
        })  # fmt: skip
        if name == SILVER and "kafka_at" in facts.newest:
            newest = facts.newest["kafka_at"].timestamp()
    by_name = {table["name"]: table for table in tables}
    covered = [by_name[n]["covers_silver_version"] for n in (MINUTES, HOURS, RESOURCES, SESSIONS) if n in by_name]
    return {
        "tables": tables,
        "newest_kafka_at_s": newest,
        "silver_version": by_name.get(SILVER, {}).get("version"),
        "gold_covers_silver_version": min(covered) if covered and None not in covered else None,
    }


def duplicates(lake: Lake, _: Listed) -> Json:
    """``{"duplicates": n}``: Kafka records that were delivered again, bronze rows marked so. Reads one bit a row."""
    return {"duplicates": lake.rows("SELECT count(*) n FROM bronze WHERE is_duplicate", {"bronze": BRONZE})[0]["n"]}


def _newest_lines(lake: Lake, chosen: str, limit: int) -> list[Row]:
    # Keys first, then the lines of those keys alone: a batch of lines of 1 MB each would not fit into memory.
    key = f"{seconds('kafka_at')} kafka_at_s, topic_id, kafka_partition, kafka_offset"
    order = "kafka_at DESC, kafka_partition, kafka_offset DESC"
    newest = f"SELECT reason, {key} FROM quarantine WHERE {chosen} ORDER BY {order} LIMIT {limit}"
    keys = lake.rows(newest, {"quarantine": QUARANTINE})
    if not keys:
        return []
    since, until = min(k["kafka_at_s"] for k in keys), max(k["kafka_at_s"] for k in keys) + 1
    wanted = ", ".join(f"{k['kafka_offset']}" for k in keys)
    found = lake.rows(
        f"SELECT {key}, line FROM quarantine WHERE kafka_at >= {instant(since)} AND kafka_at < {instant(until)}"
        f" AND kafka_offset IN ({wanted})",
        {"quarantine": QUARANTINE},
        late_columns=True,
    )
    lines = {_record(row): row["line"] for row in found}
    return [{**row, "line": lines.get(_record(row))} for row in keys]


def _record(row: Row) -> tuple[str, int, int]:
    return row["topic_id"], row["kafka_partition"], row["kafka_offset"]


def _shown(row: Row) -> Json:
    line = row["line"] or b""
    return {
        **{name: row[name] for name in ("kafka_at_s", "kafka_partition", "kafka_offset")},
        "reason": printable_text(row["reason"], NAME_LIMIT), "bytes": len(line),
        "shown": printable(line, LINE_LIMIT), "was_cut": len(printable(line, LINE_LIMIT + 1)) > LINE_LIMIT,
    }  # fmt: skip


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
