"""What all endpoints do alike: refuse, tell what is missing or damaged, see each commit, read little, keep secrets."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from contracts.datasets import GOLD_SESSIONS, SILVER_ACCESS_LOG
from contracts.settings import Settings
from serving import api
from serving.app import SECURITY_HEADERS, create_app
from tests.serving.lake_builder import LakeBuilder
from tests.serving.page import Get, client_of, getter

RANGED = sorted(api.RANGED)


@pytest.mark.parametrize("path", RANGED)
@pytest.mark.parametrize(
    "query", ["from=yesterday", "to=1995-02-30", "last=soon", "compare=year", "from=1995-07-10&to=1995-07-09", "form=1"]
)
def test_a_wrong_parameter_is_a_400_that_names_it(morning: LakeBuilder, path: str, query: str) -> None:
    with client_of(morning.lake) as client:
        answer = client.get(f"{path}?{query}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["parameter"] in query
    assert error["found"]
    assert error["required"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "x", "٣", ""])
def test_a_list_has_a_length_from_1_to_200(morning_page: Get, limit: str) -> None:
    assert morning_page("/api/resources", 400, limit=limit)["error"]["parameter"] == "limit"


def test_the_page_itself_answers_400_to_a_wrong_range_and_still_is_the_page(morning: LakeBuilder) -> None:
    with client_of(morning.lake) as client:
        wrong, right = client.get("/?from=yesterday"), client.get("/?last=24h&zone=utc")
    assert (wrong.status_code, right.status_code) == (400, 200)
    assert "<title>Millrace" in wrong.text
    assert wrong.text == right.text


@pytest.mark.parametrize("path", [*RANGED, *api.OVERVIEWS])
def test_an_empty_lake_is_no_error_and_says_what_to_type(tmp_path: Path, path: str) -> None:
    with client_of(tmp_path / "lake") as client:
        answer = getter(client)(path)
        if path == "/api/freshness":
            assert (answer["available"], answer["tables"], answer["newest_kafka_at_s"]) == (True, [], None)
            return
        assert answer["available"] is False
        assert "bin/millrace" in answer["next_step"]
        assert getter(client)("/health")["status"] == "ok"


def test_tables_without_rows_are_an_empty_lake_too(builder: LakeBuilder) -> None:
    builder.add([])
    with client_of(builder.lake) as client:
        answer = getter(client)("/api/summary")
        assert answer["available"] is False
        assert "bin/millrace replay" in answer["next_step"]
        assert getter(client)("/api/quarantine")["total"] == 0


def damage_log(table: Path) -> None:
    (table / "_delta_log" / f"{0:020d}.json").write_bytes(b'{"add": nonsense')


def damage_files(table: Path) -> None:
    for file in table.rglob("*.parquet"):
        file.write_bytes(b"not a data file")


def remove_files(table: Path) -> None:
    for file in table.rglob("*.parquet"):
        file.unlink()


@pytest.mark.parametrize("damage", [damage_log, damage_files, remove_files])
def test_a_damaged_table_is_told_by_name_and_the_others_go_on(
    builder: LakeBuilder, morning_lines: list[bytes], damage: Callable[[Path], None]
) -> None:
    builder.add(morning_lines[:50])
    damage(GOLD_SESSIONS.path(builder.lake))
    with client_of(builder.lake) as client:
        get = getter(client)
        error = get("/api/sessions", 503)["error"]
        assert error["table"] == "gold.sessions"
        assert "gold.sessions" in error["message"]
        assert "bin/millrace" in error["next_step"]
        assert "Traceback" not in json.dumps(error)
        assert get("/api/summary")["totals"]["requests"] == 50
        assert get("/api/resources")["available"] is True


def test_health_is_ok_only_while_every_table_there_is_can_be_opened(
    builder: LakeBuilder, morning_lines: list[bytes]
) -> None:
    builder.add(morning_lines[:50])
    with client_of(builder.lake) as client:
        get = getter(client)
        healthy = get("/health")
        assert (healthy["status"], healthy["tables"]["silver.access_log"]) == ("ok", 0)
        damage_log(SILVER_ACCESS_LOG.path(builder.lake))
    with client_of(builder.lake) as client:
        broken = getter(client)("/health", 503)
    assert (broken["status"], broken["error"]["table"]) == ("unreadable", "silver.access_log")


def test_a_commit_is_seen_by_the_very_next_request(builder: LakeBuilder, morning_lines: list[bytes]) -> None:
    builder.add(morning_lines[:100])
    with client_of(builder.lake) as client:
        get = getter(client)
        assert get("/api/summary")["totals"]["requests"] == 100
        builder.add(morning_lines[100:150])
        assert get("/api/summary")["totals"]["requests"] == 150


def test_a_table_made_anew_in_the_same_place_is_read_anew(builder: LakeBuilder, morning_lines: list[bytes]) -> None:
    builder.add(morning_lines[:100])
    builder.add(morning_lines[100:200])
    with client_of(builder.lake) as client:
        get = getter(client)
        assert get("/api/summary")["totals"]["requests"] == 200
        shutil.rmtree(builder.lake)
        assert get("/api/summary")["available"] is False
        LakeBuilder(builder.lake).add(morning_lines[:30])
        assert get("/api/summary")["totals"]["requests"] == 30
        # Also between two looks, and with the same version number.
        shutil.rmtree(builder.lake)
        LakeBuilder(builder.lake).add(morning_lines[:40])
        assert get("/api/summary")["totals"]["requests"] == 40


def test_many_tabs_cost_one_read(morning: LakeBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    page = api.Page(Settings(state=morning.lake.parent))
    reads: list[str] = []
    real = page.lake.rows
    monkeypatch.setattr(page.lake, "rows", lambda sql, tables, **kw: (reads.append(sql), real(sql, tables, **kw))[1])
    with TestClient(create_app(page), base_url="http://127.0.0.1") as client:
        first = client.get("/api/traffic").json()
        made = len(reads)
        assert made > 0
        for _ in range(20):
            assert client.get("/api/traffic").json()["requests"] == first["requests"]
    assert len(reads) == made


def test_silver_is_never_read_whole(morning: LakeBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    page = api.Page(Settings(state=morning.lake.parent))
    asked: list[str] = []
    real = page.lake.rows
    monkeypatch.setattr(page.lake, "rows", lambda sql, tables, **kw: (asked.append(sql), real(sql, tables, **kw))[1])
    with TestClient(create_app(page), base_url="http://127.0.0.1") as client:
        for path in [*api.RANGED, *api.OVERVIEWS]:
            client.get(
                path, params={"from": "1995-07-09T03:10", "to": "1995-07-09T05:25"} if path in api.RANGED else {}
            )
    of_silver = [sql for sql in asked if "FROM silver" in sql]
    assert of_silver
    assert all("requested_at >= " in sql and "requested_at < " in sql for sql in of_silver)


@pytest.mark.parametrize(
    "path", ["/", "/api/summary", "/api/summary?from=x", "/nothing", "/static/page.css", "/health"]
)
def test_every_answer_carries_the_security_headers(morning: LakeBuilder, path: str) -> None:
    with client_of(morning.lake) as client:
        headers = client.get(path).headers
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert "server" not in headers


def test_a_bug_is_told_without_its_details(morning: LakeBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    page = api.Page(Settings(state=morning.lake.parent))
    monkeypatch.setattr(page.answers, "get", lambda *_: 1 / 0)
    with TestClient(create_app(page), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        answer = client.get("/api/summary")
    assert answer.status_code == 500
    assert answer.json()["error"]["found"] == "ZeroDivisionError"
    assert "Traceback" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_another_host_name_is_refused(morning: LakeBuilder) -> None:
    with client_of(morning.lake) as client:
        assert client.get("/api/summary", headers={"Host": "evil.example"}).status_code == 400


def test_only_reading_is_possible(morning: LakeBuilder) -> None:
    with client_of(morning.lake) as client:
        assert client.post("/api/summary").status_code == 405
        assert client.delete("/health").status_code == 405


def test_the_stream_may_be_down(morning_page: Get) -> None:
    answer = morning_page("/api/stream")
    assert answer["running"] is False
    assert "not running" in answer["message"]
