"""Replay log files into Kafka, line by line, resumable: what was acknowledged is never sent twice, nothing is lost.

    python -m streaming.replay access.log access.log.1.gz
    python -m streaming.replay --rate 500 access.log             500 lines a second
    python -m streaming.replay --speed 60 access.log             an hour of the log in a minute
    tail -n +1 -F access.log | python -m streaming.replay --source web-1 -

Plain or gzip. Ends with 0; 2 where a file cannot be read or is damaged, 5 where the broker does not take the lines,
6 where another replayer sends the same log, 143 or 130 when it was stopped. The same command goes on where it ended.
"""

import hashlib
import json
import logging
import shlex
import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from tqdm import tqdm

from contracts.arguments import positive
from contracts.errors import ConfigurationError, PlatformError
from contracts.settings import Settings, load_settings
from streaming import positions, replay_identity, sources, topics
from streaming.positions import Checkpoint, KnownSource, Ledger
from streaming.replay_delivery import Delivery, Producer, ReplayProducer, Stop, StoppedError
from streaming.replay_lines import after_line_end, pieces
from streaming.replay_pace import Pace, original, steady
from streaming.replay_report import FileReport, Report
from streaming.sources import DamagedSourceError, LogInput, StandardInput

log = logging.getLogger("replay")

StartProducer = Callable[[], Producer]


@dataclass
class Run:
    """What stays the same for all files of a run."""

    settings: Settings
    topic: str
    topic_id: str
    delivery: Delivery
    stop: Stop
    report: Report
    pace: Callable[[], Pace] | None
    from_start: bool


def parse_args(argv: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog="millrace replay", description=__doc__, allow_abbrev=False,
        formatter_class=RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("files", nargs="+", metavar="FILE", help="logs in the order to send them; - is standard input")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=positive, metavar="N", help="lines a second; default: as fast as possible")
    pace.add_argument("--speed", type=positive, metavar="X", help="times the original pace, by the times in the lines")
    parser.add_argument("--topic", default=None, help="default: the topic of the settings")
    parser.add_argument("--source", default=None, metavar="NAME", help="identity of a single input, not by content")
    parser.add_argument("--from-start", action="store_true", help="send all again; the stream marks what it has")
    parser.add_argument("--json", action="store_true", help="last line on standard output: one JSON object")
    return parser.parse_args(argv)


def replay(
    args: Namespace, settings: Settings, stop: Stop, report: Report, *, start_producer: StartProducer | None = None
) -> None:
    """Send every file of ``args``. ``report`` holds what was done, also when this raises.

    All files are checked before anything is sent. Errors: see the module; StoppedError when ``stop`` was asked for.
    """
    inputs = _checked(args)
    for each in inputs:
        if isinstance(each.origin, StandardInput):
            each.origin.idle = stop.check
    topic_id = topics.topic_id(settings.kafka, report.topic, settings.kafka_login)
    start_producer = start_producer or (lambda: ReplayProducer(settings.kafka, settings.kafka_login))
    delivery = Delivery(start_producer, settings.kafka, report.topic, stop)
    pace = (lambda: steady(args.rate)) if args.rate else (lambda: original(args.speed)) if args.speed else None
    run = Run(settings, report.topic, topic_id, delivery, stop, report, pace, args.from_start)
    started = monotonic()
    try:
        for each in inputs:
            _replay_one(each, run)
    finally:
        delivery.close()
        report.resends = delivery.resends
        report.sum_up(monotonic() - started)


def _checked(args: Namespace) -> list[LogInput]:
    if args.source is not None and len(args.files) > 1:
        raise ConfigurationError(
            "Checking the arguments", found=f"--source for {len(args.files)} inputs", required="one input",
            next_step="Replay them one by one, or let their content tell them apart (without --source).",
        )  # fmt: skip
    inputs = [sources.check(each, args.source) for each in args.files]
    for each in inputs:
        if each.path:
            sources.refuse_corrupt(each)
    return inputs


def _replay_one(source: LogInput, run: Run) -> None:
    report = FileReport(path=str(source.path or "-"))
    run.report.files.append(report)
    started = monotonic()
    if source.path and not replay_identity.head_of(source):
        with source.reading() as opened:
            opened.read(1)  # Nothing in it, or nothing that can be uncompressed: then this says so.
        log.info("file=%s lines=0 note='empty'", report.path)
        return
    with ExitStack() as stack:
        known, note = _claim(source, run, stack)
        if (found := known.delivered.get(run.topic)) and found.topic_id != run.topic_id:
            note = "the topic was created anew since: all is sent again"
        start = 0 if run.from_start else known.position(run.topic, run.topic_id)
        report.source, report.generation = known.source, known.generation
        report.from_byte = report.to_byte = start
        ledger = Ledger(run.settings.state / "positions", known, run.topic, run.topic_id)
        ledger.save()
        stack.callback(ledger.save)
        grown = _send(source, ledger, run, report)
    if not report.lines:
        note = "already sent, nothing to do" + (f" ({note})" if note else "")
    elif grown:
        note = f"the line before byte {start} had no line end when it was sent, its rest is now a line of its own"
    log.info(
        "file=%s source=%s from_byte=%d to_byte=%d lines=%d seconds=%.2f note=%r",
        report.path, report.source, report.from_byte, report.to_byte, report.lines, monotonic() - started, note,
    )  # fmt: skip


def _claim(source: LogInput, run: Run, stack: ExitStack) -> tuple[KnownSource, str]:
    """The source this log is, with its lock held until ``stack`` closes."""
    folder = run.settings.state / "positions"
    while True:
        before = positions.load_all(folder)
        known, note = replay_identity.identify(source, before)
        with ExitStack() as attempt:
            if known not in before:
                # Of a source that another replayer has just begun too little is known to tell it from this log.
                for each in (each for each in before if each.base == known.base):
                    attempt.enter_context(positions.exclusive(run.settings.locks, each.source))
            attempt.enter_context(positions.exclusive(run.settings.locks, known.source))
            # Another replayer may have gone on with it, or made it, between the look and the lock.
            current = positions.load(folder, known.source) or known
            if (current.known_bytes, current.delivered) == (known.known_bytes, known.delivered):
                stack.enter_context(attempt.pop_all())
                return known, note


def _send(source: LogInput, ledger: Ledger, run: Run, report: FileReport) -> bool:
    """Send what lies behind ``report.from_byte``; returns whether a line that was sent without its end has grown."""
    delivery, hasher = run.delivery, hashlib.sha256()
    pace = run.pace() if run.pace else None

    def acknowledged(reached: Checkpoint) -> None:
        ledger.note(reached)
        report.to_byte, report.lines = reached.end, reached.lines

    def tend() -> None:
        delivery.tend()
        ledger.save_when_due()
        run.stop.check()

    if isinstance(source.origin, StandardInput):
        source.origin.forget()
        source.origin.idle = tend
    with source.reading() as opened, _progress(source) as bar:
        start = report.from_byte
        _, last = sources.skip(opened.read, start, hasher)
        passed, read, grown = after_line_end(opened.read, last, hasher)
        if passed:
            acknowledged(Checkpoint(start + passed, positions.hexdigest(hasher), 0))
        delivery.begin(ledger.known.source, acknowledged)
        try:
            for piece in pieces(read, start + passed, hasher, one_by_one=pace is not None):
                if pace:
                    _wait(pace(piece.data), tend, run.stop)
                delivery.send(piece)
                run.report.cut_lines += piece.cut is not None
                bar.update(opened.consumed() - bar.n)
                tend()
            delivery.flush()
        except DamagedSourceError:
            delivery.flush()
            raise
        except BaseException:
            # Stopped, or the broker is gone: what is acknowledged in the next seconds still counts.
            delivery.settle()
            raise
    return grown


def _wait(seconds: float, tend: Callable[[], None], stop: Stop) -> None:
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        stop.wait(min(left, sources.IDLE_S))
        tend()


def _progress(source: LogInput) -> "tqdm[Any]":
    """A bar over the bytes on disk; invisible unless standard error is a terminal."""
    return tqdm(
        total=source.path.stat().st_size if source.path else None, desc=source.path.name if source.path else "-",
        unit="B", unit_scale=True, disable=not sys.stderr.isatty(), leave=False,
    )  # fmt: skip


def main(argv: list[str], *, start_producer: StartProducer | None = None) -> int:
    """Run the command; returns the exit code. The last line on standard output says what was sent."""
    args, stop = parse_args(argv), Stop()
    _listen_to_signals(stop)
    report, code = Report(topic=args.topic or ""), 0
    try:
        settings = load_settings()
        report.topic = args.topic or settings.stream.topic
        replay(args, settings, stop, report, start_producer=start_producer)
    except PlatformError as error:
        report.error, code = f"{error} ({type(error).__name__}, exit {int(error.exit_code)})", int(error.exit_code)
    except StoppedError:
        name = signal.Signals(stop.signal_number or signal.SIGINT).name
        where = f" at byte {report.files[-1].to_byte} of {report.files[-1].path}" if report.files else ""
        again = f"Run the same command again to go on: {shlex.join(['bin/millrace', 'replay', *argv])}"
        report.error, code = f"Stopped by {name}{where}. {again}", 128 + int(stop.signal_number or signal.SIGINT)
    if report.error:
        print(f"replay: {report.error}", file=sys.stderr, flush=True)  # noqa: T201 - the message to the person
    print(json.dumps(asdict(report)) if args.json else report, flush=True)  # noqa: T201 - the answer of the command
    return code


def _listen_to_signals(stop: Stop) -> None:
    def ask(number: int, _frame: object) -> None:
        stop.ask(number)
        # The second one ends the process at once.
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    sys.exit(main(sys.argv[1:]))
