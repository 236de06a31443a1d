"""Run in a container by the tests: what nobody, a wrong password and the container's own user may do."""

import json
import logging
import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from contracts.kafka import client_options
from contracts.settings import load_settings

logging.disable(logging.CRITICAL)
settings = load_settings()
mine = client_options(settings.kafka_login)
topic = settings.stream.topic


def read(options: dict) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka, group_id="millrace-access-log-probe", enable_auto_commit=False,
        auto_offset_reset="earliest", bootstrap_timeout_ms=8000, **options,
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, 0)])
    consumer.beginning_offsets([TopicPartition(topic, 0)])
    consumer.poll(timeout_ms=5000)
    consumer.close()


def write(options: dict) -> None:
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka, max_block_ms=8000, delivery_timeout_ms=8000, request_timeout_ms=5000,
        bootstrap_timeout_ms=8000, **options,
    )  # fmt: skip
    producer.send(topic, b"", partition=0).get(10)


def outcome(action, options: dict) -> str:
    try:
        action(options)
    except KafkaError:
        return "refused"
    return "allowed"


user = settings.kafka_user
found = {"nobody": outcome(read, {}), "wrong password": outcome(read, mine | {"sasl_plain_password": "guess"})}
found[f"{user} reads"] = outcome(read, mine)
if user == "stream":
    # That the replayer may write is proven by what it replays: a record of this probe would be a line of the log.
    found["stream writes"] = outcome(write, mine)
json.dump(found, sys.stdout)
