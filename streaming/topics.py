"""The Kafka topic of the access log: created with the settings that the rest relies on, checked, repaired, asked about.

    python -m streaming.topics ensure [--topic NAME]     create it, or correct its settings
    python -m streaming.topics check [--topic NAME]      change nothing

When it fails: exit 5 where no broker answers, exit 2 where the topic is missing or its settings are not ours.
"""

import base64
import logging
import sys
import uuid
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError

from contracts.errors import ConfigurationError, DependencyUnavailableError, PlatformError
from contracts.kafka import Login, client_options
from contracts.settings import Settings, load_settings

log = logging.getLogger(__name__)

#: How long a broker may take to answer before it counts as down.
ANSWER_TIMEOUT_MS = 10_000
#: A record may be a whole line of 1 MiB with its headers, and a batch of them is compressed only later.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: Longer than the longest outage of the streaming application that we want to survive.
RETENTION_MS = 7 * 24 * 3600 * 1000

#: Exact values. LogAppendTime: with the lines' own times of 1995 the broker would delete every segment at once.
EXACT = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime", "retention.bytes": "-1"}
#: Least values; -1 is unlimited. More is an operator's decision that stays.
AT_LEAST = {"max.message.bytes": MAX_MESSAGE_BYTES, "retention.ms": RETENTION_MS}


def ensure(bootstrap: str, topic: str, partitions: int, login: Login | None = None) -> list[str]:
    """Create the topic, or compare its settings with ours and correct those that differ; returns what was done.

    The number of Kafka partitions of an existing topic is left alone: more of them would move the sources between
    Kafka partitions.
    """
    with _admin(bootstrap, login) as admin:
        found = _describe(admin, topic)
        if found is None:
            settings = EXACT | {name: str(value) for name, value in AT_LEAST.items()}
            wanted = {topic: {"num_partitions": partitions, "replication_factor": -1, "configs": settings}}
            try:
                admin.create_topics(wanted, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                found = _describe(admin, topic)
            else:
                return [f"created {topic} with {partitions} Kafka partitions, {_listed(settings)}"]
        done = []
        if changes := _deviations(admin, topic):
            answer = admin.alter_configs([ConfigResource("topic", topic, changes)])["topic"][topic]
            if answer != "OK":
                raise ConfigurationError(
                    f"Correcting the settings of topic {topic}", found=str(answer), required=_listed(changes),
                    next_step="Set them by hand, or let this user alter topic settings.",
                )  # fmt: skip
            done.append(f"corrected {topic}: {_listed(changes)}")
        existing = len(found["partitions"]) if found else partitions
        if existing != partitions:
            done.append(f"left {topic} at {existing} Kafka partitions (settings say {partitions})")
        return done


def check(bootstrap: str, topic: str, login: Login | None = None) -> None:
    """Change nothing; a missing topic, or one with other settings than ours, is a ConfigurationError."""
    with _admin(bootstrap, login) as admin:
        _required(admin, topic)
        if changes := _deviations(admin, topic):
            raise ConfigurationError(
                f"Checking topic {topic}", found="other settings", required=_listed(changes),
                next_step=f"Correct them: python -m streaming.topics ensure --topic {topic}.",
            )  # fmt: skip


def exists(bootstrap: str, topic: str, login: Login | None = None) -> bool:
    with _admin(bootstrap, login) as admin:
        return _describe(admin, topic) is not None


def topic_id(bootstrap: str, topic: str, login: Login | None = None) -> str:
    """Kafka's own id of the topic, written as Kafka writes it (22 characters); a recreated topic has another one."""
    with _admin(bootstrap, login) as admin:
        number = uuid.UUID(str(_required(admin, topic)["topic_id"]))
        return base64.urlsafe_b64encode(number.bytes).decode("ascii").rstrip("=")


def end_offsets(bootstrap: str, topic: str, login: Login | None = None) -> dict[int, int]:
    """The offset that the next record will get, by Kafka partition."""
    with _admin(bootstrap, login) as admin:
        numbers = sorted(each["partition_index"] for each in _required(admin, topic)["partitions"])
        asked = {TopicPartition(topic, number): OffsetSpec.LATEST for number in numbers}
        return {each.partition: int(found.offset) for each, found in admin.list_partition_offsets(asked).items()}


@contextmanager
def _admin(bootstrap: str, login: Login | None) -> Iterator[KafkaAdminClient]:
    client = None
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap,
            **client_options(login),
            bootstrap_timeout_ms=ANSWER_TIMEOUT_MS,
            request_timeout_ms=ANSWER_TIMEOUT_MS,
            reconnect_backoff_max_ms=500,
        )
        yield client
    except KafkaError as error:
        raise unavailable(bootstrap, error) from error
    finally:
        if client is not None:
            client.close()


def unavailable(bootstrap: str, error: KafkaError) -> DependencyUnavailableError:
    """The error for a broker that does not answer, or not as it should."""
    return DependencyUnavailableError(
        f"Asking the Kafka broker at {bootstrap}", found=str(error) or type(error).__name__,
        required="a broker that answers",
        next_step="Start it (bin/millrace up), look at its log (bin/millrace logs kafka), then try again.",
    )  # fmt: skip


def _describe(admin: KafkaAdminClient, topic: str) -> dict[str, Any] | None:
    found: dict[str, Any] = admin.describe_topics([topic])[0]
    # 3 is UNKNOWN_TOPIC_OR_PARTITION; a topic that is being created has no leaders yet, and is there.
    return None if found["error_code"] == 3 else found


def _required(admin: KafkaAdminClient, topic: str) -> dict[str, Any]:
    found = _describe(admin, topic)
    if found is None:
        raise ConfigurationError(
            f"Looking up topic {topic}", found="no such topic", required="an existing topic",
            next_step=f"Create it: python -m streaming.topics ensure --topic {topic} (bin/millrace up does so).",
        )  # fmt: skip
    return found


def _deviations(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    found = admin.describe_configs([ConfigResource("topic", topic)], config_filter="all")["topic"][topic]
    changes = {name: value for name, value in EXACT.items() if found[name]["value"] != value}
    for name, least in AT_LEAST.items():
        if int(found[name]["value"]) != -1 and int(found[name]["value"]) < least:
            changes[name] = str(least)
    return changes


def _listed(settings: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(settings.items()))


def parse_args(argv: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m streaming.topics",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["ensure", "check"])
    parser.add_argument("--topic", default=None, help="default: the topic of the settings")
    return parser.parse_args(argv)


def main(argv: list[str], settings: Settings) -> None:
    args = parse_args(argv)
    topic = args.topic or settings.stream.topic
    done: list[str] = []
    if args.action == "check":
        check(settings.kafka, topic, settings.kafka_login)
    else:
        done = ensure(settings.kafka, topic, settings.stream.topic_partitions, settings.kafka_login)
    for each in done or [f"{topic} is as it should be"]:
        log.info("%s", each)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        main(sys.argv[1:], load_settings())
    except PlatformError as problem:
        log.error("%s (%s, exit %d)", problem, type(problem).__name__, problem.exit_code)  # noqa: TRY400 - a message, not a trace
        sys.exit(int(problem.exit_code))
