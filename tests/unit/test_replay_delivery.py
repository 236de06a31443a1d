"""What happens to lines when a delivery fails, told by producers whose answers the test decides. No broker here."""

import hashlib

import pytest
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, OutOfOrderSequenceNumberError
from kafka.future import Future
from kafka.partitioner import murmur2

from contracts.errors import ConfigurationError, DependencyUnavailableError
from streaming import replay_delivery
from streaming.replay_delivery import Delivery, Stop, StoppedError
from streaming.replay_lines import CutLine, Piece


class Answer(Future):
    """A future that waits for nobody: whoever asks for it makes it come true, unless it is to stay open."""

    def __init__(self, error=None, *, stays_open=False):
        super().__init__()
        self.error, self.stays_open = error, stays_open

    def get(self, _timeout=None):
        if self.stays_open:
            raise KafkaTimeoutError
        if not self.is_done:
            self.failure(self.error) if self.error else self.success(None)


class Recorder:
    """A producer that writes down what it is given and fails the lines it was told to fail."""

    def __init__(self, fails=None, *, stays_open=False):
        self.fails, self.stays_open = fails or {}, stays_open
        self.sent, self.left = [], False

    def send(self, _topic, value, key, headers, partition):
        self.sent.append((value, key, dict(headers), partition))
        error = self.fails.get(value)
        if isinstance(error, MessageSizeTooLargeError):
            raise error
        return Answer(error, stays_open=self.stays_open)

    def partitions_for(self, _topic):
        return {0, 1, 2}

    def abandon(self):
        self.left = True

    @property
    def values(self):
        return [value for value, *_ in self.sent]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(replay_delivery, "BACKOFF_S", 0.001)


def delivery_of(*producers):
    """A delivery that uses these producers one after the other, and the ends of what it says is acknowledged."""
    waiting, ends = iter(producers), []

    def start():
        found = next(waiting)
        if isinstance(found, Exception):
            raise found
        return found

    delivery = Delivery(start, "127.0.0.1:1", "web.access-log", Stop())
    delivery.begin("abc-g0", lambda reached: ends.append(reached.end))
    return delivery, ends


def piece(text, start=0):
    return Piece(start, start + len(text), text, hashlib.sha256(text).hexdigest()[:32])


def test_a_line_carries_its_source_place_and_length():
    producer = Recorder()
    delivery, ends = delivery_of(producer)
    delivery.send(piece(b"one\n\r\nlast", start=100))
    delivery.flush()
    partition = (murmur2(b"abc-g0") & 0x7FFFFFFF) % 3
    assert producer.sent == [
        (b"one", b"abc-g0", {"source": b"abc-g0", "offset": b"100", "length": b"4"}, partition),
        (b"\r", b"abc-g0", {"source": b"abc-g0", "offset": b"104", "length": b"2"}, partition),
        (b"last", b"abc-g0", {"source": b"abc-g0", "offset": b"106", "length": b"4"}, partition),
    ]
    assert ends == [110]


def test_empty_lines_are_records_too():
    producer = Recorder()
    delivery, _ = delivery_of(producer)
    delivery.send(piece(b"\n\n"))
    assert [(value, headers["offset"]) for value, _, headers, _ in producer.sent] == [(b"", b"0"), (b"", b"1")]


def test_a_cut_line_says_so():
    producer = Recorder()
    delivery, _ = delivery_of(producer)
    delivery.send(Piece(5, 2_000_006, b"x" * 10, "digest", CutLine(2_000_000, "sha")))
    assert producer.sent[0][2] == {
        "source": b"abc-g0", "offset": b"5", "length": b"2000001", "cut_length": b"2000000", "sha256": b"sha",
    }  # fmt: skip


def test_after_one_failed_line_all_from_the_lowest_unacknowledged_are_sent_again_in_order():
    first, second = Recorder(fails={b"3": OutOfOrderSequenceNumberError()}), Recorder()
    delivery, ends = delivery_of(first, second)
    for start, line in enumerate([b"1", b"2", b"3", b"4", b"5"]):
        delivery.send(piece(line + b"\n", start=2 * start))
    for each in delivery._waiting:
        each.future.get()  # The broker takes 1, 2, 4 and 5.
    delivery.flush()
    assert first.values == [b"1", b"2", b"3", b"4", b"5"]
    assert second.values == [b"3", b"4", b"5"]
    assert first.left
    assert ends == [2, 4, 6, 8, 10]
    assert (delivery.resends, delivery.lines) == (3, 5)


def test_nothing_behind_a_failed_line_counts_as_acknowledged():
    first, second = Recorder(fails={b"2": KafkaTimeoutError()}), Recorder(stays_open=True)
    delivery, ends = delivery_of(first, second)
    for start, line in enumerate([b"1", b"2", b"3"]):
        delivery.send(piece(line + b"\n", start=2 * start))
    for each in delivery._waiting:
        each.future.get()
    delivery.tend()
    assert ends == [2]


def test_a_piece_counts_only_when_its_last_line_is_acknowledged():
    producer = Recorder(stays_open=True)
    delivery, ends = delivery_of(producer)
    delivery.send(piece(b"1\n2\n3\n"))
    for each in list(delivery._waiting)[:2]:
        each.future.success(None)
    delivery.tend()
    assert ends == []
    delivery._waiting[0].future.success(None)
    delivery.tend()
    assert ends == [6]


def test_no_more_lines_and_bytes_are_in_flight_than_allowed(monkeypatch):
    monkeypatch.setattr(replay_delivery, "WINDOW_LINES", 10)
    monkeypatch.setattr(replay_delivery, "WINDOW_BYTES", 2000)
    delivery, _ = delivery_of(Recorder())
    most_lines = most_bytes = 0
    for line in [b"x" * 10] * 50 + [b"y" * 700] * 20:
        delivery.send(piece(line + b"\n"))
        most_lines = max(most_lines, len(delivery._waiting))
        most_bytes = max(most_bytes, sum(len(each.value) for each in delivery._waiting))
    assert most_lines == 10
    assert 2000 < most_bytes <= 2700
    assert delivery._bytes == sum(len(each.value) for each in delivery._waiting)


def test_a_broker_that_stays_away_ends_in_an_error_that_says_what_to_do():
    delivery, _ = delivery_of(Recorder(fails={b"1": KafkaTimeoutError()}), *[KafkaTimeoutError("away")] * 10)
    delivery.send(piece(b"1\n"))
    with pytest.raises(DependencyUnavailableError, match="1 lines not acknowledged after 6 new connections"):
        delivery.flush()


def test_a_failure_after_progress_starts_a_new_count():
    count = 3 * replay_delivery.TRIES
    lines = [b"%d" % number for number in range(count)]
    # Every connection delivers one line more than the one before it.
    delivery, ends = delivery_of(*[Recorder(fails={line: KafkaTimeoutError()}) for line in lines], Recorder())
    for line in lines:
        delivery.send(piece(line + b"\n", start=int(line)))
    delivery.flush()
    assert len(ends) == count


def test_a_line_that_the_topic_refuses_is_not_tried_for_minutes():
    delivery, _ = delivery_of(Recorder(fails={b"big": MessageSizeTooLargeError()}), Recorder())
    with pytest.raises(ConfigurationError, match=r"streaming\.topics ensure --topic web\.access-log"):
        delivery.send(piece(b"big\n"))


def test_a_stop_is_heard_while_the_broker_keeps_everybody_waiting(monkeypatch):
    monkeypatch.setattr(replay_delivery, "SETTLE_S", 0.01)
    delivery, ends = delivery_of(Recorder(stays_open=True))
    delivery.send(piece(b"1\n"))
    delivery.stop.ask(15)
    with pytest.raises(StoppedError):
        delivery.flush()
    delivery.settle()
    assert ends == []


def test_a_stopped_delivery_still_counts_what_is_acknowledged_meanwhile():
    delivery, ends = delivery_of(Recorder())
    delivery.send(piece(b"1\n"))
    delivery.stop.ask(15)
    delivery.settle()
    assert ends == [2]
