"""The position file of a source: exact, bounded, and one replayer at a time."""

import hashlib
import json
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError, LockHeldError
from streaming import positions
from streaming.positions import MAX_MARKS, Checkpoint, KnownSource, Ledger, exclusive


def known(**more) -> KnownSource:
    return KnownSource(**{"base": "abc", "head_bytes": 4096, "generation": 0} | more)


def reached(end: int) -> Checkpoint:
    return Checkpoint(end, hashlib.sha256(str(end).encode()).hexdigest()[:32], 0)


def test_a_position_file_reads_back_as_it_was_written(tmp_path):
    source = known(path="/logs/access.log", inode=7)
    for end in (100, 70_000, 140_000):
        source.advance("web.access-log", "id-1", reached(end))
    positions.save(tmp_path, source)
    assert positions.load(tmp_path, "abc-g0") == source
    assert positions.load_all(tmp_path) == [source]
    assert positions.load(tmp_path, "abc-g1") is None


def test_each_topic_has_its_own_position():
    source = known()
    source.advance("a", "id-a", reached(500))
    source.advance("b", "id-b", reached(200))
    assert (source.position("a", "id-a"), source.position("b", "id-b"), source.position("c", "id-c")) == (500, 200, 0)
    assert source.known_bytes == 500


def test_a_topic_that_was_created_anew_has_nothing():
    source = known()
    source.advance("a", "old", reached(500))
    assert source.position("a", "new") == 0
    source.advance("a", "new", reached(100))
    assert source.position("a", "new") == 100
    assert source.known_bytes == 500


def test_sending_all_again_does_not_move_the_position_back():
    source = known()
    source.advance("a", "id", reached(500))
    source.advance("a", "id", reached(100))
    assert source.position("a", "id") == 500


@given(st.lists(st.integers(1, 10_000_000), min_size=1, max_size=3000))
def test_digests_are_kept_in_order_and_never_too_many(steps):
    source, end = known(), 0
    for step in steps:
        end += step
        source.advance("a", "id", reached(end))
    ends = [mark for mark, _ in source.checkpoints]
    assert ends == sorted(set(ends))
    assert ends[-1] == source.known_bytes == end
    assert len(ends) <= MAX_MARKS + 1
    assert all(digest == reached(mark).digest for mark, digest in source.checkpoints)


def test_the_file_of_a_ten_gigabyte_log_stays_small():
    source = known()
    for block in range(1, 10 * 1024 * 16):
        source.advance("a", "id", reached(block * 65536))
    assert len(source.model_dump_json()) < 40_000


def test_a_ledger_writes_seldom_while_lines_flow_and_at_the_end(tmp_path):
    now = 100.0
    ledger = Ledger(tmp_path, known(), "a", "id", clock=lambda: now)
    ledger.save()

    def saved():
        return positions.load(tmp_path, "abc-g0").position("a", "id")

    ledger.note(reached(10))
    assert saved() == 0
    now += positions.SAVE_EVERY_S
    ledger.note(reached(20))
    assert saved() == 20
    ledger.note(reached(30))
    ledger.save_when_due()
    assert saved() == 20
    now += positions.SAVE_EVERY_S
    ledger.save_when_due()
    assert saved() == 30


def test_a_second_replayer_of_one_source_is_refused_and_told_who_has_it(tmp_path):
    with exclusive(tmp_path, "abc-g0"):
        with pytest.raises(LockHeldError, match=r"process \d+ is replaying it"), exclusive(tmp_path, "abc-g0"):
            pass
        with exclusive(tmp_path, "other-g0"):
            pass
    with exclusive(tmp_path, "abc-g0"):
        pass


def test_the_lock_of_a_killed_replayer_is_free(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from streaming.positions import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'abc-g0'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockHeldError, match=str(holder.pid)), exclusive(tmp_path, "abc-g0"):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with exclusive(tmp_path, "abc-g0"):
                return
        except LockHeldError:
            time.sleep(0.05)
    pytest.fail("the lock outlived its process")


@pytest.mark.parametrize("content", ["", "{", json.dumps({"base": "abc"}), json.dumps({"base": "a", "odd": 1})])
def test_a_damaged_position_file_is_named_and_nothing_is_guessed(tmp_path, content):
    (tmp_path / "abc-g0.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"abc-g0\.json"):
        positions.load_all(tmp_path)
