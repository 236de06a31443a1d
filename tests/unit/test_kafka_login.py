"""Logging in to a broker: what kafka-python and Spark's source are told, and which files hold no password."""

from __future__ import annotations

import re

import pytest

from contracts.errors import ConfigurationError
from contracts.kafka import Login, client_options, source_options
from contracts.settings import load_settings

HOSTILE = 'pa"ss\\word;'


@pytest.fixture
def login(tmp_path):
    (tmp_path / "password").write_text(f"{HOSTILE}\n")
    return Login("stream", tmp_path / "password")


def test_without_a_login_a_client_is_told_nothing():
    assert client_options(None) == source_options(None) == {}


def test_kafka_python_accepts_what_it_is_told(login):
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    options = client_options(login)
    for client in (KafkaProducer, KafkaConsumer, KafkaAdminClient):
        assert set(options) <= set(client.DEFAULT_CONFIG)
    assert options["sasl_plain_password"] == HOSTILE
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"


def test_a_password_with_quotes_and_backslashes_stays_one_word_of_the_jaas_configuration(login):
    entry = source_options(login)["kafka.sasl.jaas.config"]
    found = re.fullmatch(r'\S+ScramLoginModule required username="stream" password="((?:[^"\\]|\\.)*)";', entry)
    assert found
    assert re.sub(r"\\(.)", r"\1", found[1]) == HOSTILE


def test_a_login_does_not_show_its_password(login):
    assert HOSTILE not in repr(login)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "No such file"), ("", "nothing"), ("\n", "nothing"), ("a\nb\n", "more than one line")],
)
def test_a_file_that_holds_no_password_is_refused(tmp_path, text, said):
    path = tmp_path / "password"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        client_options(Login("stream", path))


def test_a_user_without_a_password_file_is_refused(monkeypatch):
    monkeypatch.setenv("MILLRACE_KAFKA_USER", "stream")
    with pytest.raises(ConfigurationError, match="MILLRACE_KAFKA_PASSWORD_FILE"):
        load_settings()


def test_settings_name_the_login_and_the_driver(monkeypatch, login):
    monkeypatch.setenv("MILLRACE_KAFKA_USER", login.user)
    monkeypatch.setenv("MILLRACE_KAFKA_PASSWORD_FILE", str(login.password_file))
    monkeypatch.setenv("MILLRACE_STREAM__URL", "http://stream:18020")
    found = load_settings()
    assert found.kafka_login == login
    assert found.stream_status == "http://stream:18020/status"


def test_a_driver_that_others_know_by_a_name_listens_on_every_address(tmp_path):
    from contracts.spark_conf import spark_conf

    named, local = spark_conf(tmp_path, tmp_path, "stream"), spark_conf(tmp_path, tmp_path)
    assert (named["spark.driver.host"], named["spark.driver.bindAddress"]) == ("stream", "0.0.0.0")  # noqa: S104 - what is expected, nothing is bound
    assert (local["spark.driver.host"], local["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")
