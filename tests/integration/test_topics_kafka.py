"""The topic against a real broker: made, told about and kept as the platform relies on."""

import base64
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, KafkaAdminClient

from contracts.errors import ConfigurationError, DependencyUnavailableError
from streaming import topics
from tests.kafka_broker import Broker, free_port
from tests.replayer import Replayer, recreate

pytestmark = pytest.mark.kafka


def test_ensure_creates_the_topic_with_what_the_platform_relies_on_and_then_leaves_it_alone(broker: Broker):
    assert not topics.exists(broker.bootstrap, "fresh.topic")
    (done,) = topics.ensure(broker.bootstrap, "fresh.topic", 3)
    assert done.startswith("created fresh.topic with 3 Kafka partitions")
    assert topics.exists(broker.bootstrap, "fresh.topic")
    assert settings_of(broker, "fresh.topic") == {
        "message.timestamp.type": "LogAppendTime", "max.message.bytes": "4194304", "retention.ms": "604800000",
        "retention.bytes": "-1", "cleanup.policy": "delete",
    }  # fmt: skip
    assert topics.ensure(broker.bootstrap, "fresh.topic", 3) == []


def test_ensure_corrects_settings_that_somebody_changed_and_says_which(broker: Broker, topic: str):
    change(broker, topic, {"message.timestamp.type": "CreateTime", "max.message.bytes": "1000", "retention.ms": "1000"})
    with pytest.raises(ConfigurationError, match=r"required max\.message\.bytes=4194304, message\.timestamp\.type"):
        topics.check(broker.bootstrap, topic)
    (done,) = topics.ensure(broker.bootstrap, topic, 2)
    topics.check(broker.bootstrap, topic)
    assert done == (
        f"corrected {topic}: max.message.bytes=4194304, message.timestamp.type=LogAppendTime, retention.ms=604800000"
    )
    assert topics.ensure(broker.bootstrap, topic, 2) == []


def test_ensure_keeps_more_generous_settings_and_the_number_of_partitions(broker: Broker, topic: str):
    change(broker, topic, {"max.message.bytes": "9999999", "retention.ms": "-1"})
    assert topics.ensure(broker.bootstrap, topic, 5) == [f"left {topic} at 2 Kafka partitions (settings say 5)"]
    assert settings_of(broker, topic)["retention.ms"] == "-1"


def test_the_id_of_a_topic_is_the_one_kafka_prints_and_another_after_it_is_created_anew(broker: Broker, topic: str):
    found = topics.topic_id(broker.bootstrap, topic)
    directories = [path.name for path in (broker.folder / "data").glob(f"{topic}-*")]
    written = (broker.folder / "data" / directories[0] / "partition.metadata").read_text()
    assert f"topic_id: {found}" in written
    assert len(base64.urlsafe_b64decode(found + "==")) == 16
    recreate(broker, topic)
    assert topics.topic_id(broker.bootstrap, topic) != found


def test_end_offsets_count_the_records_of_each_partition(broker: Broker, topic: str, replay: Replayer, tmp_path: Path):
    assert topics.end_offsets(broker.bootstrap, topic) == {0: 0, 1: 0}
    (tmp_path / "a.log").write_bytes(b"one\ntwo\n")
    replay(tmp_path / "a.log")
    assert sorted(topics.end_offsets(broker.bootstrap, topic).values()) == [0, 2]


def test_a_missing_topic_is_told_with_the_way_to_create_it(broker: Broker):
    for ask in (topics.topic_id, topics.end_offsets, topics.check):
        with pytest.raises(ConfigurationError, match=r"streaming\.topics ensure --topic no\.such\.topic"):
            ask(broker.bootstrap, "no.such.topic")


def test_without_a_broker_everything_says_that_it_is_down(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(topics, "ANSWER_TIMEOUT_MS", 500)
    nobody = f"127.0.0.1:{free_port()}"
    for ask in (topics.topic_id, topics.end_offsets, topics.exists, topics.check):
        with pytest.raises(DependencyUnavailableError, match="bin/millrace up"):
            ask(nobody, "web.access-log")


def settings_of(broker: Broker, topic: str) -> dict[str, str]:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        found = admin.describe_configs([ConfigResource("topic", topic)], config_filter="all")["topic"][topic]
    finally:
        admin.close()
    return {name: found[name]["value"] for name in (*topics.EXACT, *topics.AT_LEAST)}


def change(broker: Broker, topic: str, settings: dict[str, str]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        assert admin.alter_configs([ConfigResource("topic", topic, settings)])["topic"][topic] == "OK"
    finally:
        admin.close()
