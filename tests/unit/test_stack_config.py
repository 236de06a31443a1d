"""The configuration that `up` renders: loopback only, secrets in files of mode 600 and in no command line."""

import configparser
import json
import os
import stat

import pytest

from contracts.errors import ConfigurationError, DependencyUnavailableError
from contracts.settings import Settings
from contracts.spark_conf import class_archive, class_archive_java_options, short_application_java_options
from infra.local import credentials, places, preflight, render, services, supervision
from infra.local.places import Places


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """Places, secrets and services of a stack that never starts."""
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        monkeypatch.delenv(name)
    found = Places(Settings(state=tmp_path / "state", ports={"base": 31000}))
    render.folders(found)
    secrets = credentials.load(found.state)
    known = services.services(found, secrets)
    render.configuration(found, secrets, known)
    return found, secrets, known


def _values(secrets) -> list[str]:
    return [
        secrets.airflow_password,
        secrets.jwt_secret,
        secrets.api_secret_key,
        secrets.fernet_key,
        secrets.spark_secret,
    ]


def test_every_file_with_a_secret_is_for_its_owner_alone(stack):
    found, secrets, _ = stack
    holders = [
        path
        for path in found.state.rglob("*")
        if path.is_file() and any(value in path.read_text(encoding="utf-8") for value in _values(secrets))
    ]
    assert {path.name for path in holders} >= {
        "secrets.json",
        "airflow_passwords.json",
        "spark-defaults.conf",
        "supervisord.conf",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    assert stat.S_IMODE(found.state.stat().st_mode) == 0o700


def test_options_of_airflow_that_a_person_chose_reach_its_services_and_win(tmp_path, monkeypatch):
    chosen = {
        "MILLRACE_AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://me@db/airflow",
        "MILLRACE_AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "MILLRACE_AIRFLOW__CORE__FERNET_KEY_CMD": "cat key",
    }
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    found = Places(Settings(state=tmp_path / "state", ports={"base": 31000}))
    render.folders(found)
    known = services.services(found, credentials.load(found.state))
    for name in ("scheduler", "triggerer", "dag-processor", "api-server"):
        environment = known[f"airflow-{name}"].environment
        assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://me@db/airflow"
        assert environment["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"] == "30"
        # Airflow asks the command only where the option itself is not set.
        assert environment["AIRFLOW__CORE__FERNET_KEY_CMD"] == "cat key"
        assert "AIRFLOW__CORE__FERNET_KEY" not in environment


def test_no_secret_is_in_a_command_line(stack):
    _, secrets, known = stack
    words = " ".join(word for service in known.values() for word in service.command)
    assert not [value for value in _values(secrets) if value in words]
    assert not [value for value in _values(secrets) if value in repr(known)]


def test_airflow_s_secrets_are_given_to_airflow_alone(stack):
    _, secrets, known = stack
    own = {secrets.jwt_secret, secrets.api_secret_key, secrets.fernet_key}
    holders = {name for name, service in known.items() if own & set(service.environment.values())}
    assert holders == {"airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"}


def test_secrets_are_made_once(stack):
    found, secrets, _ = stack
    assert _values(credentials.load(found.state)) == _values(secrets)
    assert json.loads(secrets.airflow_passwords.read_text()) == {"admin": secrets.airflow_password}


def test_a_secret_that_is_missing_is_added_beside_the_others(stack):
    found, secrets, _ = stack
    path = found.state / "secrets" / "secrets.json"
    known = json.loads(path.read_text())
    del known["fernet_key"]
    path.write_text(json.dumps(known))
    again = credentials.load(found.state)
    assert again.jwt_secret == secrets.jwt_secret
    assert again.fernet_key not in ("", secrets.fernet_key)


def test_every_address_is_loopback(stack):
    found, _, known = stack
    text = (found.conf / "kafka.properties").read_text() + found.properties.read_text()
    assert "0.0.0.0" not in text  # noqa: S104 - what must not be there
    for name in ("spark-master", "spark-worker-1", "spark-worker-2", "mlflow"):
        command = known[name].command
        assert command[command.index("--host") + 1] == "127.0.0.1"
    assert known["airflow-scheduler"].environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert known["spark-worker-1"].environment["SPARK_LOCAL_IP"] == "127.0.0.1"


def test_no_two_services_want_the_same_port(stack):
    ports = [port for service in stack[2].values() for port in service.ports.values()]
    assert len(ports) == len(set(ports))


def test_spark_asks_for_the_shared_secret_and_leaves_slots_to_others(stack):
    found, secrets, _ = stack
    lines = dict(line.split(" ", 1) for line in found.properties.read_text().splitlines())
    assert lines["spark.authenticate"] == "true"
    assert lines["spark.authenticate.secret"] == secrets.spark_secret
    assert lines["spark.master"] == "spark://127.0.0.1:31077"
    assert int(lines["spark.cores.max"]) * 3 <= 2 * services.WORKER_CORES


def test_spark_s_configuration_folder_is_never_set(stack):
    """It would be on the class path, and with a folder of files there a JVM ignores its class archive."""
    assert not [name for name, service in stack[2].items() if "SPARK_CONF_DIR" in service.environment]


def test_the_supervisor_reads_back_what_was_written(stack):
    found, _, known = stack
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",), strict=True)
    parser.read(found.conf / "supervisord.conf")
    programs = {name.partition(":")[2] for name in parser.sections() if name.startswith("program:")}
    assert programs == set(known)
    stream = parser["program:stream"]
    assert stream["stopasgroup"] == "false"
    assert stream["exitcodes"] == "0,2,3,4"
    assert "PYSPARK_SUBMIT_ARGS=" in stream["environment"]
    assert {parser[f"program:{name}"]["autostart"] for name in programs} == {"false"}


def test_a_service_inherits_nothing_but_what_is_named(stack, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the person who typed up")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("MILLRACE_ALERT_WEBHOOK", "http://127.0.0.1/hook")
    environment = places.base_environment(stack[0])
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert environment["MILLRACE_ALERT_WEBHOOK"] == "http://127.0.0.1/hook"


def test_a_value_that_the_supervisor_s_file_cannot_hold_is_refused(stack, monkeypatch):
    found, secrets, _ = stack
    monkeypatch.setenv("MILLRACE_STREAM__PSEUDONYM_KEY", "both ' and \"")
    with pytest.raises(ConfigurationError, match="MILLRACE_STREAM__PSEUDONYM_KEY"):
        render.supervisor(found, services.services(found, secrets))


def test_a_percent_sign_survives_the_supervisor_s_variables(stack, monkeypatch):
    found, secrets, _ = stack
    monkeypatch.setenv("MILLRACE_ALERT_WEBHOOK", "http://127.0.0.1/%41")
    assert "http://127.0.0.1/%%41" in render.supervisor(found, services.services(found, secrets))


def test_a_long_state_path_still_has_a_socket_that_fits(tmp_path):
    short, long = Places(Settings(state=tmp_path / "s")), Places(Settings(state=tmp_path / ("s" * 120)))
    assert short.socket.parent == tmp_path / "s" / "run"
    assert len(os.fsencode(long.socket)) <= 95
    assert long.socket != Places(Settings(state=tmp_path / ("t" * 120))).socket


def test_asking_for_a_service_brings_what_it_needs(stack):
    known = stack[2]
    assert services.with_needs(["stream"], known) == [
        "kafka",
        "spark-master",
        "spark-worker-1",
        "spark-worker-2",
        "stream",
    ]
    assert services.with_needs([], known) == list(known)
    with pytest.raises(ConfigurationError, match="found kafak; required names among kafka, "):
        services.with_needs(["kafak"], known)


def test_a_taken_port_is_named_with_service_and_holder(stack):
    import socket

    known = stack[2]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 31050))
        listener.listen()
        with pytest.raises(DependencyUnavailableError) as error:
            preflight.ports(list(known.values()))
    assert f"port 31050 (mlflow, server) is held by pid {os.getpid()} (" in str(error.value)
    assert "MILLRACE_PORTS__BASE" in str(error.value)


def test_too_little_memory_and_disk_are_said_before_anything_starts(stack, monkeypatch):
    monkeypatch.setattr(preflight, "NEEDED_MEMORY_MIB", 2**30)
    monkeypatch.setattr(preflight, "NEEDED_DISK_MIB", 2**30)
    with pytest.raises(DependencyUnavailableError, match=r"GiB of memory available; required 1048576 GiB"):
        preflight.memory()
    with pytest.raises(DependencyUnavailableError, match=r"GiB free on the disk .*MILLRACE_STATE"):
        preflight.disk(stack[0])


def test_what_a_supervisor_that_is_gone_left_behind_is_removed(stack):
    found = stack[0]
    found.supervisor_pid.write_text("4000000")
    assert preflight.leftovers(found) == ["removed the stale supervisord.pid of a supervisor that is gone"]
    assert not found.supervisor_pid.exists()
    assert preflight.leftovers(found) == []


def test_a_missing_toolchain_sends_to_set_up(tmp_path):
    found = Places(Settings(state=tmp_path, toolchain=tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="Run: bin/millrace setup"):
        preflight.toolchain(found, [])


def test_deaths_are_counted_from_the_supervisor_s_log_and_asked_for_stops_are_none(stack):
    found = stack[0]
    found.supervisor_log.write_text(
        "2026-01-01 10:00:00,100 INFO spawned: 'kafka' with pid 7\n"
        "2026-01-01 10:00:05,200 WARN exited: kafka (terminated by SIGKILL; not expected)\n"
        "2026-01-01 10:00:06,200 WARN exited: kafka (exit status 1; not expected)\n"
        "2026-01-01 10:00:07,300 INFO exited: stream (exit status 2; expected)\n"
        "2026-01-01 10:00:09,000 INFO stopped: mlflow (terminated by SIGTERM)\n"
    )
    deaths = supervision.deaths(found)
    assert deaths["kafka"] == supervision.Deaths(2, "exit status 1 at 2026-01-01 10:00:06")
    assert deaths["stream"] == supervision.Deaths(1, "exit status 2 at 2026-01-01 10:00:07")
    assert "mlflow" not in deaths


def test_without_the_class_archive_the_java_options_do_not_name_it(tmp_path):
    for options in (class_archive_java_options(tmp_path), short_application_java_options(tmp_path)):
        assert "SharedArchiveFile" not in options
    class_archive(tmp_path).parent.mkdir()
    class_archive(tmp_path).touch()
    assert f"-XX:SharedArchiveFile={class_archive(tmp_path)} -Xshare:auto" in short_application_java_options(tmp_path)
