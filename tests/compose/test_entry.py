"""What a container becomes for each role, and what its health check says; without any engine."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager

import pytest
import yaml

from contracts.settings import REPOSITORY, Settings
from infra.images import entry, healthy, kafka_broker

MASTER = "spark://spark-master.internal:7077"


@pytest.fixture
def settings(tmp_path):
    return Settings(state=tmp_path, toolchain=tmp_path, spark_master=MASTER, driver_host="10.0.0.7")


def test_every_command_of_the_compose_file_is_a_role():
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    commands = [service["command"] for service in services.values() if "command" in service]
    assert {command[0] for command in commands} <= set(entry.ROLES)


def test_sparks_settings_name_this_container_and_hold_the_secret(settings):
    lines = dict(line.split(" ", 1) for line in entry.spark_properties(settings, "s3cret").splitlines())
    assert lines["spark.driver.host"] == "10.0.0.7"
    assert lines["spark.master"] == MASTER
    assert lines["spark.authenticate.secret"] == "s3cret"
    assert lines["spark.network.crypto.enabled"] == "true"


def test_the_file_of_settings_is_where_the_dags_look_for_it(settings):
    operator = (REPOSITORY / "dags" / "operators" / "spark.py").read_text(encoding="utf-8")
    assert 'settings.state / "conf" / "spark-defaults.conf"' in operator
    assert entry.properties_file(settings) == settings.state / "conf" / "spark-defaults.conf"


@pytest.mark.parametrize("role", sorted(set(entry.ROLES) - {"submit"}))
def test_no_role_has_a_secret_among_its_arguments(settings, monkeypatch, tmp_path, role):
    for name in ("spark_secret", "notebook_token"):
        (tmp_path / name).write_text("5ecre7")
    monkeypatch.setattr(entry, "SECRETS", tmp_path)
    command, _ = entry.ROLES[role](settings, ["x"])
    assert command
    assert "5ecre7" not in json.dumps(command)


def test_an_unknown_role_is_refused_with_those_there_are(capsys):
    assert entry.main(["spark-mater"]) == 2
    assert "spark-master" in capsys.readouterr().err


def test_an_application_that_is_not_there_is_refused(settings):
    with pytest.raises(entry.ConfigurationError, match=r"no .*/spark_apps/trian\.py"):
        entry.submit(settings, ["trian"])


def test_the_broker_is_given_the_administrators_password_salted():
    salt = bytes(range(16))
    found = kafka_broker.scram_argument("admin", "pass", salt)
    match = re.fullmatch(r'SCRAM-SHA-512=\[name=admin,iterations=(\d+),salt="(.+)",saltedpassword="(.+)"\]', found)
    assert match
    assert base64.b64decode(match[2]) == salt
    assert base64.b64decode(match[3]) == hashlib.pbkdf2_hmac("sha512", b"pass", salt, int(match[1]))


def test_the_broker_lets_nobody_in_without_a_login():
    lines = dict(line.split("=", 1) for line in kafka_broker.properties("a", "b", "127.0.0.1:1").splitlines())
    protocols = dict(each.split(":") for each in lines["listener.security.protocol.map"].split(","))
    assert set(protocols.values()) == {"SASL_PLAINTEXT"}
    assert {each.split(":")[0] for each in lines["listeners"].split(",")} == set(protocols)
    assert "CONTROLLER://127.0.0.1:" in lines["listeners"]
    assert lines["allow.everyone.if.no.acl.found"] == "false"


@contextmanager
def answering(status, body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format, *args):  # noqa: A002 - the library's signature
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield str(server.server_port)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "state", "code"), [(200, "running", 0), (200, "failed", 1), (503, "running", 1)])
def test_a_stream_is_well_when_it_says_that_it_runs(status, state, code):
    with answering(status, {"state": state, "error": None}) as port:
        assert healthy.main(["stream", port]) == code


def test_what_does_not_answer_is_not_well(capsys):
    assert healthy.main(["http", "1", "/health"]) == 1
    assert "refused" in capsys.readouterr().out


def test_a_worker_is_well_when_the_master_lists_it_as_alive(monkeypatch):
    monkeypatch.setattr(healthy.socket, "gethostbyname", lambda _: "10.0.0.7")
    for state, well in (("ALIVE", True), ("DEAD", False)):
        workers = [{"host": "10.0.0.8", "state": "ALIVE"}, {"host": "10.0.0.7", "state": state}]
        monkeypatch.setattr(healthy, "_json", lambda *_, found=workers: {"workers": found})
        assert (healthy.spark_worker("master") == "") is well
