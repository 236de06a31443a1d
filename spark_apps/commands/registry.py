"""Who was in production, and the way back: the promotion ledger for people.

`as-of` and `history` read the ops database alone, so MLflow may be down. `rollback` makes an earlier champion champion
again, within seconds and without a Spark session, and is written into the ledger like a promotion.
"""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from contracts import pipelines
from contracts.arguments import count
from contracts.errors import ConfigurationError, DependencyUnavailableError, ExitCode, PlatformError
from contracts.results import RunContext
from contracts.settings import Settings, load_settings
from spark_apps.io import ledger, ops
from spark_apps.io.ledger import Entry


def parse_args(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="millrace registry", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    about = "which versions were in production at a moment, since when, and why"
    asked = commands.add_parser("as-of", help=about, description=about, allow_abbrev=False)
    asked.add_argument("at", type=instant, metavar="DATE", help="a day (its end, UTC) or an instant, 2026-01-31T12:00Z")
    asked.add_argument("pipeline", nargs="?", metavar="PIPELINE", help="without it: all")
    asked.add_argument("--json", action="store_true", help="one JSON object")
    asked.set_defaults(act=as_of)
    about = "every decision about the champion of a pipeline, the newest last"
    told = commands.add_parser("history", help=about, description=about, allow_abbrev=False)
    told.add_argument("pipeline", metavar="PIPELINE")
    told.add_argument("--json", action="store_true", help="a JSON list, evidence included")
    told.set_defaults(act=history)
    about = "make the champion before the present one champion again"
    back = commands.add_parser("rollback", help=about, description=about, allow_abbrev=False)
    back.add_argument("pipeline", metavar="PIPELINE")
    back.add_argument("--why", default="", metavar="TEXT", help="the reason, for the ledger")
    back.add_argument("--to", type=count, metavar="VERSION", help="another version that was champion once")
    back.set_defaults(act=rollback)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run one command, print its answer, and return the exit code; a deliberate error is one message."""
    args = parse_args(argv)
    try:
        settings = load_settings()
        with _ops_database(settings) as engine:
            print(args.act(args, settings, engine))  # noqa: T201 - the answer to the person
    except PlatformError as error:
        print(f"registry: {error} ({type(error).__name__}, exit {int(error.exit_code)})", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    return int(ExitCode.DONE)


def as_of(args: Namespace, _settings: Settings, engine: Engine) -> str:
    entries = _known(engine, args.pipeline) if args.pipeline else ledger.history(engine)
    at = min(args.at, datetime.now(UTC))
    found = [_champion(mine, at) for mine in _by_pipeline(entries)]
    champions = [each for each in found if each["version"] or each["unfinished"]]
    if args.json:
        return json.dumps({"at": _text(at), "champions": champions}, indent=2)
    if not champions:
        return f"no champion{f' of {args.pipeline}' if args.pipeline else ''} at {_text(at)}"
    fields = ("pipeline", "version", "since", "action", "who", "why")
    lines = [f"in production at {_text(at)}", _table(fields, *([each[name] for name in fields] for each in champions))]
    lines += [
        f"{each['pipeline']}: a change to version {version} had begun and was not marked as done"
        for each in champions
        for version in each["unfinished"]
    ]
    return "\n".join(lines)


def history(args: Namespace, _settings: Settings, engine: Engine) -> str:
    entries = _known(engine, args.pipeline)
    if args.json:
        return json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2)
    if not entries:
        return f"no decision about {args.pipeline} yet"
    head = ("written", "done", "action", "from", "to", "who", "why")
    rows = [
        (_text(each.at), _text(each.applied_at), each.action, each.from_version, each.to_version, each.who, each.why)
        for each in entries
    ]
    return _table(head, *rows)


def rollback(args: Namespace, settings: Settings, engine: Engine) -> str:
    # Here, because MLflow takes seconds to import and the other commands do without it.
    from spark_apps.io import registry, tracking
    from spark_apps.io.rollback import roll_back

    _known(engine, args.pipeline)
    run = RunContext(run_id=f"manual-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}", task_id="rollback")
    attempted = f"Rolling back {args.pipeline}"
    with registry.alone(settings, args.pipeline, attempted), tracking.connected(settings) as client:
        entry, is_new = roll_back(client, engine, args.pipeline, to=args.to, why=args.why, run_key=run.key)
    if not is_new:
        return f"{args.pipeline}: version {entry.to_version} is the champion already. Nothing was changed."
    return f"{args.pipeline}: version {entry.to_version} is champion again, in place of version {entry.from_version}"


def instant(text: str) -> datetime:
    """A moment in UTC; a day means its end."""
    with suppress(ValueError):  # not a day, then an instant
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither a day, 2026-01-31, nor an instant, 2026-01-31T12:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


@contextmanager
def _ops_database(settings: Settings) -> Iterator[Engine]:
    """The ops database; one that does not answer is a DependencyUnavailableError."""
    try:
        yield ops.connect(settings.ops_database)
    except OperationalError as error:
        raise DependencyUnavailableError(
            "Asking the ops database", found=str(error.orig), required="the database that holds the ledger",
            next_step="Look at MILLRACE_OPS_URL and at the disk, then try again.",
            changed="What had begun is finished when the same is run again.",
        ) from error  # fmt: skip


def _known(engine: Engine, pipeline: str) -> list[Entry]:
    """The ledger's rows about a pipeline that has some, or a file; another name is a ConfigurationError."""
    entries = ledger.history(engine, pipeline)
    if not entries and pipeline not in pipelines.names():
        raise ConfigurationError(
            "Looking up a pipeline", found=repr(pipeline), required="one of " + ", ".join(pipelines.names()),
            next_step="Correct the name.",
        )  # fmt: skip
    return entries


def _by_pipeline(entries: Iterable[Entry]) -> list[list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.pipeline, []).append(entry)
    return [found[name] for name in sorted(found)]


def _champion(entries: list[Entry], at: datetime) -> dict[str, Any]:
    """What the ledger says of one pipeline's champion at that instant."""
    made, begun = ledger.champion(entries, at), ledger.unfinished(entries, at)
    fields = ("from_version", "action", "why", "who", "run_key", "decision")
    said = {name: getattr(made, name) if made else None for name in fields}
    since = _text(made.applied_at) if made else None
    return {
        "pipeline": entries[0].pipeline, "version": made and made.to_version, "since": since, **said,
        "unfinished": [entry.to_version for entry in begun],
    }  # fmt: skip


def _text(at: datetime | None) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else "unfinished"


def _table(head: Sequence[str], *rows: Sequence[object]) -> str:
    """Columns as wide as what is in them, the first row in capitals."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in ([name.upper() for name in head], *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return "\n".join("  ".join(row).rstrip() for row in padded)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
