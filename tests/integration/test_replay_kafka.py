"""The replayer against a real broker: every line once, under the right identity, resumable."""

import gzip
import json
import signal
import subprocess
import time

import pytest
from kafka.partitioner import murmur2

from streaming import topics
from tests.kafka_broker import Record, free_port
from tests.replayed import MIB, assert_at_least_once, assert_exactly, lines_of, sha256
from tests.replayer import Replayer, recreate, wait_until

pytestmark = pytest.mark.kafka

# What arrives


def test_every_line_of_the_sample_arrives_once_in_order_with_its_place(broker, topic, replay, samples):
    path = samples / "nasa_http" / "access_09jul1995_am.log"
    began = time.time()
    code, report, err = replay(path)
    records = broker.records(topic)
    assert (code, report["lines"], report["bytes"], report["resends"]) == (0, 12_430, 1_366_335, 0)
    (file,) = report["files"]
    source = sha256(path.read_bytes()[:4096])[:24] + "-g0"
    expected = {"path": str(path), "source": source, "generation": 0, "from_byte": 0, "to_byte": 1_366_335}
    assert file == expected | {"lines": 12_430}
    assert_exactly(records, path.read_bytes(), source)
    assert {frozenset(record.headers) for record in records} == {frozenset({"source", "offset", "length"})}
    assert {record.partition for record in records} == {(murmur2(source.encode()) & 0x7FFFFFFF) % 2}
    assert {record.timestamp_type for record in records} == {1}
    assert all(began - 1 < record.timestamp_ms / 1000 < time.time() + 1 for record in records)
    assert len([line for line in err.splitlines() if "file=" in line]) == 1


HOSTILE = b"".join(
    [
        b"\n", b"\r\n", b"\0\0\0\n", b"\xff\xfe\xfd\n", b"\x16\x03\x01\x02\x00\n", b'"' * 4000 + b"\n", b"\n\n",
        b"x" * MIB + b"\n", b"y" * (MIB + 1) + b"\n", b"z" * (3 * MIB) + b"\n", b"<script>alert(1)</script>\n",
        "Ünïcode\n".encode("latin-1"), b"the last one has no line end",
    ]
)  # fmt: skip


def test_hostile_lines_arrive_untouched_and_only_too_long_ones_are_cut(broker, topic, replay, tmp_path):
    (tmp_path / "hostile.log").write_bytes(HOSTILE)
    code, report, _ = replay(tmp_path / "hostile.log")
    records = broker.records(topic)
    assert (code, report["cut_lines"], report["bytes"]) == (0, 2, len(HOSTILE))
    assert_exactly(records, HOSTILE, report["files"][0]["source"])
    cut = {int(record.headers["cut_length"]): record for record in records if "cut_length" in record.headers}
    assert sorted(cut) == [MIB + 1, 3 * MIB]
    assert cut[MIB + 1].headers["sha256"].decode() == sha256(b"y" * (MIB + 1))
    assert cut[3 * MIB].headers["sha256"].decode() == sha256(b"z" * (3 * MIB))
    assert all(len(record.value) == MIB for record in cut.values())


def test_several_files_go_one_after_the_other_and_an_empty_one_is_no_error(broker, topic, replay, tmp_path, samples):
    (tmp_path / "empty.log").write_bytes(b"")
    (tmp_path / "small.log").write_bytes(b"one\ntwo")
    paths = [tmp_path / "empty.log", samples / "nasa_http" / "NASA_access_log_Aug95_sample.log", tmp_path / "small.log"]
    code, report, _ = replay(*paths)
    assert code == 0
    assert [file["lines"] for file in report["files"]] == [0, 1000, 2]
    assert report["files"][0]["source"] is None
    records = broker.records(topic)
    for path, file in list(zip(paths, report["files"], strict=True))[1:]:
        assert_exactly(of_source(records, file["source"]), path.read_bytes(), file["source"])


# Again


def test_a_log_that_was_sent_is_not_sent_again_under_any_name_or_compressed(broker, topic, replay, tmp_path, samples):
    log = (samples / "nasa_http" / "NASA_short.log").read_bytes()
    (tmp_path / "a.log").write_bytes(log)
    (tmp_path / "copy.log.gz").write_bytes(gzip.compress(log))
    assert replay(tmp_path / "a.log")[1]["lines"] == 7084
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    for path in (tmp_path / "a.log.1", tmp_path / "copy.log.gz", samples / "nasa_http" / "NASA_short.log"):
        code, report, err = replay(path)
        assert (code, report["lines"]) == (0, 0)
        assert "already sent, nothing to do" in err
    assert_exactly(broker.records(topic), log, report["files"][0]["source"])


def test_a_log_that_grows_is_continued_also_where_its_last_line_had_no_end(broker, topic, replay, tmp_path):
    path, log = tmp_path / "a.log", b""
    for more in (b"one\ntwo", b"\nthree\n", b"four", b"\n", b"five\n"):
        log += more
        path.write_bytes(log)
        code, _, _ = replay(path)
        assert code == 0
    values = [record.value for record in broker.records(topic)]
    assert values == [b"one", b"two", b"three", b"four", b"five"]
    assert [int(record.headers["offset"]) for record in broker.records(topic)] == [0, 4, 8, 14, 19]


def test_a_line_that_grew_after_it_was_sent_is_told(broker, topic, replay, tmp_path):
    (tmp_path / "a.log").write_bytes(b"one\nhal")
    replay(tmp_path / "a.log")
    (tmp_path / "a.log").write_bytes(b"one\nhalf\n")
    _, report, err = replay(tmp_path / "a.log")
    assert report["lines"] == 1
    assert "had no line end when it was sent" in err
    assert [record.value for record in broker.records(topic)] == [b"one", b"hal", b"f"]


def test_a_log_cut_short_and_written_anew_is_sent_as_the_next_generation(broker, topic, replay, tmp_path, samples):
    log = (samples / "nasa_http" / "NASA_short.log").read_bytes()
    path = tmp_path / "access.log"
    path.write_bytes(log)
    first = replay(path)[1]["files"][0]
    second_life = log[:200_000] + b"\nanother life\n"
    path.write_bytes(second_life)
    code, report, _ = replay(path)
    (file,) = report["files"]
    assert (code, file["generation"], file["from_byte"]) == (0, 1, 0)
    records = broker.records(topic)
    assert_exactly(of_source(records, first["source"]), log, first["source"])
    assert_exactly(of_source(records, file["source"]), second_life, file["source"])


@pytest.mark.parametrize("sample_first", [True, False])
def test_the_july_sample_and_the_fragments_share_their_first_thousand_lines(
    broker, topic, replay, samples, sample_first
):
    sample = samples / "nasa_http" / "NASA_access_log_Jul95_sample.log"
    short = samples / "nasa_http" / "NASA_short.log"
    reports = [replay(path)[1] for path in ([sample, short] if sample_first else [short, sample])]
    assert [report["lines"] for report in reports] == ([1000, 6084] if sample_first else [7084, 0])
    assert_exactly(broker.records(topic), short.read_bytes(), reports[0]["files"][0]["source"])


def test_from_start_sends_all_again_under_the_same_identity(broker, topic, replay, samples):
    path = samples / "nasa_http" / "NASA_access_log_Aug95_sample.log"
    first = replay(path)[1]["files"][0]
    code, report, _ = replay("--from-start", path)
    assert (code, report["lines"], report["files"][0]["source"]) == (0, 1000, first["source"])
    assert assert_at_least_once(broker.records(topic), path.read_bytes()) == 1000
    assert replay(path)[1]["lines"] == 0


def test_a_topic_that_was_created_anew_gets_everything(broker, topic, replay, samples):
    path = samples / "nasa_http" / "NASA_access_log_Aug95_sample.log"
    source = replay(path)[1]["files"][0]["source"]
    recreate(broker, topic)
    code, report, err = replay(path)
    assert (code, report["lines"]) == (0, 1000)
    assert "created anew" in err
    assert_exactly(broker.records(topic), path.read_bytes(), source)


def test_another_topic_gets_the_same_source_from_its_start(broker, topic, replay, samples, tmp_path):
    path = samples / "nasa_http" / "NASA_access_log_Aug95_sample.log"
    source = replay(path)[1]["files"][0]["source"]
    other = Replayer(broker, topic + ".other", tmp_path / "state")
    topics.ensure(broker.bootstrap, other.topic, 1)
    assert other(path)[1]["lines"] == 1000
    assert_exactly(broker.records(other.topic), path.read_bytes(), source)
    assert replay(path)[1]["lines"] == 0


# Damage, pipes, pace, stops


def test_the_whole_lines_of_a_torn_gzip_file_are_sent_and_the_whole_file_goes_on_there(
    broker, topic, replay, tmp_path, samples
):
    log = (samples / "nasa_http" / "access_09jul1995_am.log").read_bytes()
    packed = gzip.compress(log)
    path = tmp_path / "log.gz"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    code, report, err = replay(path)
    assert code == 2
    assert "Every whole line before the damage is sent" in err
    assert "Every whole line before the damage is sent" in report["error"]
    sent = report["files"][0]["to_byte"]
    assert len(log) // 3 < sent < len(log)
    assert log[:sent].endswith(b"\n")
    assert_exactly(broker.records(topic), log[:sent], report["files"][0]["source"])
    path.write_bytes(packed)
    code, rest, _ = replay(path)
    assert (code, rest["lines"] + report["lines"]) == (0, 12_430)
    assert_exactly(broker.records(topic), log, report["files"][0]["source"])


def test_nothing_is_sent_when_one_of_the_files_cannot_be_read(broker, topic, replay, tmp_path, samples):
    good = samples / "nasa_http" / "NASA_access_log_Aug95_sample.log"
    corrupt = tmp_path / "corrupt.gz"
    corrupt.write_bytes(gzip.compress(b"one\n" * 1000)[:-8] + b"\0" * 8)
    for bad in (tmp_path / "missing.log", tmp_path, corrupt, "-"):
        code, report, err = replay(good, bad)
        assert (code, report["lines"]) == (2, 0)
        assert str(bad) in err or "standard input" in err
    assert broker.records(topic) == []


def test_standard_input_goes_on_where_the_same_stream_stopped(broker, topic, replay, samples):
    log = (samples / "nasa_http" / "access_09jul1995_am.log").read_bytes()
    half = lines_of(log)[6000].offset
    code, report, _ = replay("-", "--source", "web-1", stdin=log[:half])
    assert (code, report["lines"], report["files"][0]["source"]) == (0, 6000, "web-1-g0")
    code, report, _ = replay("-", "--source", "web-1", stdin=gzip.compress(log))
    assert (code, report["lines"]) == (0, 6430)
    assert_exactly(broker.records(topic), log, "web-1-g0")
    code, report, _ = replay("-", "--source", "web-1", stdin=b"another stream\n")
    assert (report["lines"], report["files"][0]["source"]) == (1, "web-1-g1")


def test_lines_of_a_slow_pipe_arrive_before_it_ends_and_their_position_is_kept(broker, topic, replay):
    process = replay.start("-", "--source", "tail", stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(b"one\ntwo\n")
    process.stdin.flush()
    wait_until(lambda: len(broker.records(topic)) == 2)
    file = replay.state / "positions" / "tail-g0.json"
    wait_until(lambda: json.loads(file.read_text())["delivered"].get(topic, {}).get("position") == 8)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143  # The pipe is still open.
    assert b"Stopped by SIGTERM at byte 8" in process.communicate()[1]


def test_a_rate_is_kept(broker, topic, replay, samples):
    path = samples / "nasa_http" / "NASA_access_log_Aug95_sample.log"
    _, report, _ = replay("--rate", 500, path)
    assert 1.9 < report["seconds"] < 8
    assert_exactly(broker.records(topic), path.read_bytes(), report["files"][0]["source"])


def test_the_original_pace_is_kept(broker, topic, replay, samples, tmp_path):
    # The first 1,000 lines of August take 26 minutes and 25 seconds.
    path = samples / "nasa_http" / "NASA_access_log_Aug95_sample.log"
    _, report, _ = replay("--speed", 600, path)
    assert 2.6 < report["seconds"] < 9
    stamps = [record.timestamp_ms for record in broker.records(topic)]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] > 2400


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("pace", [["--rate", "4000"], []], ids=["paced", "as fast as possible"])
def test_a_stopped_replay_says_how_to_go_on_and_then_sends_each_line_once(replay, samples, tmp_path, asked, pace):
    log = (samples / "nasa_http" / "access_09jul1995_am.log").read_bytes() * (1 if pace else 8)
    (tmp_path / "a.log").write_bytes(log)
    process = replay.start(*pace, tmp_path / "a.log", "--json")
    wait_until(lambda: sum(topics.end_offsets(replay.broker.bootstrap, replay.topic).values()) > 1000)
    process.send_signal(asked)
    out, err = process.communicate(timeout=60)
    report = json.loads(out.decode().splitlines()[-1])
    assert process.returncode == 128 + asked
    assert f"Stopped by {asked.name} at byte {report['files'][0]['to_byte']}".encode() in err
    assert b"bin/millrace replay --topic" in err
    assert 1000 < report["lines"] < len(lines_of(log))
    _, rest, _ = replay(tmp_path / "a.log")
    assert report["lines"] + rest["lines"] == len(lines_of(log))
    assert_exactly(replay.broker.records(replay.topic), log, rest["files"][0]["source"])


def test_two_replayers_of_one_log_refuse_and_two_logs_go_side_by_side(broker, topic, replay, samples, tmp_path):
    path = samples / "nasa_http" / "access_09jul1995_am.log"
    process = replay.start("--rate", "3000", path)
    try:
        wait_until(lambda: sum(topics.end_offsets(broker.bootstrap, topic).values()) > 100)
        (tmp_path / "copy.gz").write_bytes(gzip.compress(path.read_bytes()))
        code, report, err = replay(tmp_path / "copy.gz")
        assert (code, report["lines"]) == (6, 0)
        assert f"process {process.pid} is replaying it" in err
        assert replay(samples / "nasa_http" / "NASA_access_log_Aug95_sample.log")[0] == 0
    finally:
        process.kill()
        process.communicate()


def test_a_missing_topic_and_a_missing_broker_are_told_apart(broker, tmp_path, samples):
    path = samples / "nasa_http" / "NASA_access_log_Aug95_sample.log"
    code, _, err = Replayer(broker, "no.such.topic", tmp_path)(path)
    assert code == 2
    assert "python -m streaming.topics ensure --topic no.such.topic" in err
    alone = Replayer(broker, "web.access-log", tmp_path)
    alone.environment["MILLRACE_KAFKA_BOOTSTRAP"] = f"127.0.0.1:{free_port()}"
    code, report, err = alone(path)
    assert (code, report["lines"]) == (5, 0)
    assert "bin/millrace up" in err


@pytest.mark.parametrize(
    "arguments",
    [["--rate", "0", "a"], ["--rate", "-1", "a"], ["--speed", "x", "a"], ["--rate", "1", "--speed", "1", "a"], []],
)
def test_arguments_that_make_no_sense_are_refused(replay, arguments):
    code, _, err = replay(*arguments)
    assert code == 2
    assert "usage:" in err


def of_source(records: list[Record], source: str) -> list[Record]:
    return [record for record in records if record.key == source.encode()]
