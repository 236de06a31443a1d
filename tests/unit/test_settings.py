"""Settings from the environment: a wrong value is named with its variable before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.settings import load_settings


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MILLRACE_PORTS", "abc", "MILLRACE_PORTS__NAME=value"),
        ("MILLRACE_STREAM", "abc", "MILLRACE_STREAM__NAME=value"),
        ("MILLRACE_PORTS__BASE", "high", "valid integer"),
        ("MILLRACE_STATE", "", "a path; unset the variable"),
        ("MILLRACE_SPARK_MASTER", "yarn", "spark://"),
        ("MILLRACE_SPARK_MASTER", "spark://host", "spark://"),
        ("MILLRACE_KAFKA_BOOTSTRAP", "host:notaport", "pattern"),
        ("MILLRACE_OPS_URL", "my-password@db", "a value that is not shown"),
        ("MILLRACE_KAFKA_PASSWORD_FILE", "/run/secrets/nobody", "MILLRACE_KAFKA_USER"),
        ("MILLRACE_STREAM__URL", "http://stream:18020/status", "pattern"),
        ("MILLRACE_STREAM__TRIGGER_S", "0", "greater than 0"),
        ("MILLRACE_STREAM__TRIGGERS", "1", "not permitted"),
        ("MILLRACE_AIRFLOW", "abc", "MILLRACE_AIRFLOW__NAME=value"),
        ("MILLRACE_AIRFLOW__DATABASE", "abc", "MILLRACE_AIRFLOW__DATABASE__OPTION=value"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert variable in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "said"),
    [("MILLRACE_STAET", "Did you mean MILLRACE_STATE?"), ("MILLRACE_QQ__X", "Unset MILLRACE_QQ__X")],
)
def test_a_name_that_no_setting_has_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, said: str) -> None:
    monkeypatch.setenv(variable, "/srv/millrace")
    with pytest.raises(ConfigurationError, match=variable) as refused:
        load_settings()
    assert said in str(refused.value)


def test_a_state_that_cannot_be_a_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STATE", "/" + "x" * 5000)
    with pytest.raises(ConfigurationError, match="File name too long"):
        load_settings()


def test_a_state_that_is_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path / "notes.txt"))
    with pytest.raises(ConfigurationError, match="this is a file"):
        load_settings()


@pytest.mark.parametrize("key", ["", "short"])
def test_a_pseudonym_key_that_protects_nobody_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MILLRACE_STREAM__PSEUDONYM_KEY", key)
    with pytest.raises(ConfigurationError, match="at least 16") as refused:
        load_settings()
    assert repr(key) not in str(refused.value)


def test_right_values_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STATE", "/srv/millrace")
    monkeypatch.setenv("MILLRACE_SPARK_MASTER", "spark://a.example:7077,b.example:7077")
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "[::1]:9092,b.example:9092")
    found = load_settings()
    assert found.state == Path("/srv/millrace")
    assert (found.master, found.kafka) == ("spark://a.example:7077,b.example:7077", "[::1]:9092,b.example:9092")
