"""Lines to Kafka: idempotent producer, bounded number of lines in flight, every future checked, resend in order.

kafka-python fails every batch in flight when the broker forces a new producer epoch, and then goes on with the next
one. So one failed line ends that producer: a new one sends everything again from the lowest unacknowledged line, also
what was acknowledged behind it. The stream recognises what it has by source and byte offset.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from logging import getLogger
from time import monotonic
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAuthorizationFailedError
from kafka.partitioner import murmur2

from contracts.errors import ConfigurationError, PlatformError
from contracts.kafka import Login, client_options
from streaming.positions import Checkpoint
from streaming.replay_lines import Piece
from streaming.topics import ANSWER_TIMEOUT_MS, MAX_MESSAGE_BYTES, unavailable

log = getLogger(__name__)

#: In flight at most. More lines than this only make Python's garbage collector slower: 45,000 lines/s with 100,000.
WINDOW_LINES = 8_000
WINDOW_BYTES = 16 * 1024 * 1024
#: Failures in a row before giving up; between them 1, 2, 4 ... seconds. With the timeouts below about two minutes.
TRIES = 6
BACKOFF_S = 1.0
DELIVERY_TIMEOUT_MS = 30_000
#: How long a stopped replayer waits for what is in flight.
SETTLE_S = 10.0


class Producer(Protocol):
    """What is used of kafka-python's producer; tests wrap the real one to make chosen futures fail."""

    def send(self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]], partition: int) -> Any: ...  # noqa: ANN401 - a kafka-python future

    def partitions_for(self, topic: str) -> set[int]: ...

    def abandon(self) -> None:
        """Stop at once; what is in flight may or may not arrive."""


class StoppedError(Exception):
    """The process was asked to stop."""


@dataclass
class Stop:
    """Asked for by a signal handler, looked at wherever somebody waits."""

    signal_number: int | None = None
    event: threading.Event = field(default_factory=threading.Event)

    def ask(self, signal_number: int) -> None:
        self.signal_number = signal_number
        self.event.set()

    def check(self) -> None:
        if self.event.is_set():
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """Sleep, but raise StoppedError as soon as the process is asked to stop."""
        self.event.wait(seconds)
        self.check()


class ReplayProducer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's producer with our settings, and a way to leave it that does not wait."""

    def __init__(self, bootstrap: str, login: Login | None = None) -> None:
        super().__init__(
            bootstrap_servers=bootstrap,
            **client_options(login),
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            linger_ms=25,
            batch_size=128 * 1024,
            max_request_size=MAX_MESSAGE_BYTES,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            request_timeout_ms=ANSWER_TIMEOUT_MS,
            max_block_ms=ANSWER_TIMEOUT_MS,
            bootstrap_timeout_ms=ANSWER_TIMEOUT_MS,
            reconnect_backoff_max_ms=1_000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def abandon(self) -> None:
        # close() of 3.0.12 raises before it stops its thread when a batch cannot be delivered in time, so the thread
        # is told first: it fails what is left, and close() then has nothing to wait for.
        self._sender.force_close()
        try:
            self.close(timeout=5)
        except KafkaError as error:
            log.debug("leaving a producer: %s", error)


@dataclass(slots=True)
class _Waiting:
    """A line that was sent and not yet acknowledged; ``reached`` where a position may be noted behind it."""

    future: Any
    value: bytes
    headers: list[tuple[str, bytes]]
    reached: Checkpoint | None = None


@dataclass
class Delivery:
    """Sends the lines of one source after the other. ``acknowledged`` hears of every checkpoint, in order."""

    start_producer: Callable[[], Producer]
    bootstrap: str
    topic: str
    stop: Stop
    acknowledged: Callable[[Checkpoint], None] = lambda _: None
    lines: int = 0
    resends: int = 0
    _producer: Producer | None = None
    _key: bytes = b""
    _partition: int = 0
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _bytes: int = 0
    _failures: int = 0

    def begin(self, source: str, acknowledged: Callable[[Checkpoint], None]) -> None:
        """The lines that follow are of this source. Everything before must have been flushed."""
        self._key, self.acknowledged, self.lines = source.encode(), acknowledged, 0
        try:
            self._connect()
        except KafkaError as error:
            self._recover(error)

    def send(self, piece: Piece) -> None:
        """Hand over every line of the piece; blocks while too many are in flight."""
        source = ("source", self._key)
        if piece.cut:
            headers = [source, ("offset", b"%d" % piece.start), ("length", b"%d" % (piece.end - piece.start))]
            headers += [("cut_length", b"%d" % piece.cut.length), ("sha256", piece.cut.sha256.encode())]
            self._send(piece.data, headers)
        else:
            at = piece.start
            values = piece.data.split(b"\n")
            ends = len(values) - 1
            for number, value in enumerate(values):
                length = len(value) + (number < ends)
                if length:
                    self._send(value, [source, ("offset", b"%d" % at), ("length", b"%d" % length)])
                at += length
        self._waiting[-1].reached = Checkpoint(piece.end, piece.digest, self.lines)

    def tend(self) -> None:
        """Take note of what was acknowledged; a failed line starts the resend."""
        waiting = self._waiting
        while waiting and waiting[0].future.is_done:
            if waiting[0].future.exception is not None:
                self._recover(waiting[0].future.exception)
                return
            done = waiting.popleft()
            self._bytes -= len(done.value)
            self._failures = 0
            if done.reached:
                self.acknowledged(done.reached)

    def flush(self) -> None:
        """Wait until everything is acknowledged."""
        while self._waiting:
            self._wait_for_the_oldest()

    def settle(self) -> None:
        """Wait a little for what is in flight, resend nothing; for a process that was asked to stop."""
        deadline = monotonic() + SETTLE_S
        with suppress(StoppedError):
            while self._waiting and monotonic() < deadline:
                if any(each.future is None or each.future.exception for each in self._waiting):
                    return
                with suppress(KafkaError):
                    self._waiting[0].future.get(0.1)
                self.tend()

    def close(self) -> None:
        if self._producer:
            self._producer.abandon()
            self._producer = None

    def _send(self, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        while len(self._waiting) >= WINDOW_LINES or self._bytes >= WINDOW_BYTES:
            self._wait_for_the_oldest()
        self.lines += 1
        self._bytes += len(value)
        try:
            producer = self._producer or self._connect()
            future = producer.send(self.topic, value, self._key, headers, self._partition)
        except KafkaError as error:
            self._waiting.append(_Waiting(None, value, headers))
            self._recover(error)
        else:
            self._waiting.append(_Waiting(future, value, headers))

    def _wait_for_the_oldest(self) -> None:
        future = self._waiting[0].future
        with suppress(KafkaError):  # Still under way, or failed: the lines below tell them apart.
            future.get(0.25)
        if not future.is_done:
            # Only where the broker keeps us waiting: otherwise a stop waits for the end of the piece, so that a
            # position can be noted there.
            self.stop.check()
        self.tend()

    def _recover(self, error: KafkaError) -> None:
        """Leave the producer and send everything unacknowledged again with a new one, or give up."""
        while True:
            self._failures += 1
            _raise_if_hopeless(error, self.topic)
            if self._failures > TRIES:
                raise _given_up(self.bootstrap, error, len(self._waiting))
            log.warning(
                "delivery failed error=%s unacknowledged=%d try=%d of=%d",
                error,
                len(self._waiting),
                self._failures,
                TRIES,
            )
            self.close()
            self.stop.wait(BACKOFF_S * 2 ** (self._failures - 1))
            try:
                producer = self._connect()
                for each in self._waiting:
                    each.future = producer.send(self.topic, each.value, self._key, each.headers, self._partition)
            except KafkaError as again:
                error = again
            else:
                self.resends += len(self._waiting)
                return

    def _connect(self) -> Producer:
        self._producer = self._producer or self.start_producer()
        # Named here rather than left to the producer, which would hash the key again for every line: 25,000 lines/s
        # instead of 64,000. It is the same choice that every Kafka client makes for this key.
        numbers = sorted(self._producer.partitions_for(self.topic))
        self._partition = numbers[(murmur2(self._key) & 0x7FFFFFFF) % len(numbers)]
        return self._producer


def _raise_if_hopeless(error: KafkaError, topic: str) -> None:
    if isinstance(error, MessageSizeTooLargeError):
        raise ConfigurationError(
            f"Sending to topic {topic}", found=str(error), required="a topic that takes records of 4 MiB",
            next_step=f"Run: python -m streaming.topics ensure --topic {topic}",
            changed="Everything acknowledged before is noted.",
        ) from error  # fmt: skip
    if isinstance(error, TopicAuthorizationFailedError):
        raise ConfigurationError(
            f"Sending to topic {topic}", found=str(error), required="the right to write to it",
            next_step="Ask whoever runs the broker.", changed="Everything acknowledged before is noted.",
        ) from error  # fmt: skip


def _given_up(bootstrap: str, error: KafkaError, lines: int) -> PlatformError:
    problem = unavailable(bootstrap, error)
    return type(problem)(
        f"Sending lines to the Kafka broker at {bootstrap}",
        found=f"{lines} lines not acknowledged after {TRIES} new connections, at last {error}",
        required="a broker that takes them",
        changed="Everything acknowledged before is noted.",
        next_step="Start the broker (bin/millrace up) and run the same command again: it goes on where this one ended.",
    )
