"""The JSON of the page against counts made from the log file by other means."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from starlette.testclient import TestClient

from contracts.datasets import (
    GOLD_ACCESS_LOG_1M,
    GOLD_SESSIONS,
    SILVER_ACCESS_LOG,
)
from contracts.settings import Settings
from serving import api, queries
from serving.app import SECURITY_HEADERS, create_app
from tests.serving.lake_builder import LakeBuilder

Json = dict[str, Any]
Get = Callable[..., Json]

RANGED = sorted(api.RANGED)
#: 00:00 of 9 July 1995 where the log was written.
MIDNIGHT = datetime(1995, 7, 9, 4, tzinfo=UTC)
BAD_LINE = b"<script>alert(1)</script> \xff\x00"


def client_of(lake: Path, **options: Any) -> TestClient:
    settings = Settings(state=lake.parent)
    assert settings.lake == lake
    return TestClient(create_app(api.Page(settings)), base_url="http://127.0.0.1", **options)


def getter(client: TestClient) -> Get:
    def get(path: str, status: int = 200, **query: object) -> Json:
        answer = client.get(path, params={name.rstrip("_"): str(value) for name, value in query.items()})
        assert answer.status_code == status, answer.text
        found: Json = answer.json()
        return found

    return get


@pytest.fixture(scope="module")
def morning_page(morning: LakeBuilder) -> Iterator[Get]:
    with client_of(morning.lake) as client:
        yield getter(client)


class Line:
    """One line of the log, taken apart by position: not the platform's parser, not the lake builder's either."""

    def __init__(self, raw: bytes) -> None:
        text = raw.decode("latin-1")
        bracket = text.index("[")
        self.clock = text[bracket + 13 : bracket + 21]  # 00:00:07
        self.second = sum(int(part) * unit for part, unit in zip(self.clock.split(":"), (3600, 60, 1), strict=True))
        self.host = text[: text.index(" ")].lower()
        self.status, size = text[text.rindex('"') + 2 :].split()
        self.size = 0 if size == "-" else int(size)
        request = text[text.index('"') + 1 : text.rindex('"')]
        self.method = request[: request.index(" ")]
        target = request[len(self.method) + 1 :]
        self.path = (target[: target.rindex(" HTTP/")] if " HTTP/" in target else target).split("?")[0]


@pytest.fixture(scope="module")
def log(morning_lines: list[bytes]) -> list[Line]:
    return [Line(raw) for raw in morning_lines]


def between(log: list[Line], first: str, last: str) -> list[Line]:
    return [line for line in log if first <= line.clock < last]


def test_totals_equal_a_count_of_the_log(morning_page: Get, log: list[Line]) -> None:
    totals = morning_page("/api/summary")["totals"]
    per_minute = Counter(line.clock[:5] for line in log)
    busiest = max(per_minute.values())
    at = min(minute for minute, n in per_minute.items() if n == busiest)
    assert totals == {
        "requests": 12_430,
        "errors": sum(line.status >= "400" for line in log),
        "bytes_sent": sum(line.size for line in log),
        "minutes": 713,
        "busiest": {"at_s": MIDNIGHT.timestamp() + int(at[:2]) * 3600 + int(at[3:]) * 60, "requests": busiest},
    }


def test_every_minute_of_the_chart_equals_a_count_of_the_log(morning_page: Get, log: list[Line]) -> None:
    answer = morning_page("/api/traffic", from_="1995-07-09T00:00", to="1995-07-09T12:00", compare="none")
    requests, errors = Counter[int](), Counter[int]()
    for line in log:
        minute = int(MIDNIGHT.timestamp()) + line.second // 60 * 60
        requests[minute] += 1
        errors[minute] += line.status >= "400"
    assert len(answer["at_s"]) == 720
    # Seven minutes are silent, each for less than half an hour: zero, not unknown.
    assert dict(zip(answer["at_s"], answer["requests"], strict=True)) == {t: requests[t] for t in answer["at_s"]}
    assert dict(zip(answer["at_s"], answer["errors"], strict=True)) == {t: errors[t] for t in answer["at_s"]}
    assert answer["earlier"] is None


def test_status_classes_and_methods_equal_a_count_of_the_log(morning_page: Get, log: list[Line]) -> None:
    answer = morning_page("/api/statuses")
    classes = Counter(f"{line.status[0]}xx" for line in log)
    assert {c["name"]: c["requests"] for c in answer["classes"] if c["requests"]} == classes
    methods = Counter(line.method.lower() for line in log)
    assert {m["name"]: m["requests"] for m in answer["methods"] if m["requests"]} == methods


@pytest.mark.parametrize(("first", "last"), [("00:00", "12:00"), ("03:10", "05:25"), ("11:59", "12:30")])
def test_top_resources_of_any_range_equal_a_count_of_the_log(
    morning_page: Get, log: list[Line], first: str, last: str
) -> None:
    answer = morning_page("/api/resources", from_=f"1995-07-09T{first}", to=f"1995-07-09T{last}", limit=25)
    chosen = between(log, first, last)
    counts = Counter(line.path for line in chosen)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:25]
    assert [(r["path"], r["requests"]) for r in answer["resources"]] == top
    sent = {path: sum(line.size for line in chosen if line.path == path) for path, _ in top}
    assert {r["path"]: r["bytes_sent"] for r in answer["resources"]} == sent
    assert (answer["different"], answer["counted_over"]) == (len(counts), "range")


@pytest.mark.parametrize(("first", "last"), [("00:00", "12:00"), ("03:10", "05:25")])
def test_top_hosts_of_any_range_equal_a_count_of_the_log(
    morning_page: Get, log: list[Line], first: str, last: str
) -> None:
    answer = morning_page("/api/hosts", from_=f"1995-07-09T{first}", to=f"1995-07-09T{last}", limit=25)
    chosen = between(log, first, last)
    counts = Counter(line.host for line in chosen)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:25]
    assert [(h["host"], h["requests"]) for h in answer["hosts"]] == top
    errors = {host: sum(line.status >= "400" for line in chosen if line.host == host) for host, _ in top}
    assert {h["host"]: h["errors"] for h in answer["hosts"]} == errors
    assert (answer["different"], answer["counted_over"]) == (len(counts), "range")


def test_a_range_with_too_many_rows_is_counted_over_more_and_says_so(
    morning: LakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_SILVER_ROWS", 1000)
    with client_of(morning.lake) as client:
        get, part = getter(client), {"from_": "1995-07-09T03:10", "to": "1995-07-09T05:25"}
        assert get("/api/resources", **part)["counted_over"] == "whole days"
        assert get("/api/hosts", **part)["counted_over"] == "sessions begun in the range"
        assert get("/api/oddities", **part)["requests"] is None


def test_the_heat_map_is_in_the_logs_own_time(morning_page: Get, log: list[Line]) -> None:
    cells = morning_page("/api/heatmap")["cells"]
    per_hour = Counter(int(line.clock[:2]) for line in log)
    assert {c["hour"]: c["requests"] for c in cells} == per_hour
    assert {(c["weekday"], c["days"]) for c in cells} == {(7, 1)}  # 9 July 1995 was a Sunday
    errors = Counter(int(line.clock[:2]) for line in log if line.status >= "400")
    assert {c["hour"]: c["errors"] for c in cells if c["errors"]} == errors


def test_sessions_equal_those_of_a_plain_walk_through_the_log(morning_page: Get, log: list[Line]) -> None:
    seconds_of_host: dict[str, list[int]] = defaultdict(list)
    for line in log:
        seconds_of_host[line.host].append(line.second)
    spans: list[tuple[int, int, int]] = []  # first second, last second, requests
    for seconds in seconds_of_host.values():
        begun = previous = None
        for second in sorted(seconds):
            if previous is None or second - previous > 1800:
                begun, count = second, 0
            previous, count = second, count + 1
            spans = [*spans[: -1 if count > 1 else None], (begun, second, count)]
    answer = morning_page("/api/sessions", limit=1)
    durations = [last - first for first, last, _ in spans]
    assert answer["totals"]["sessions"] == len(spans)
    assert answer["totals"]["hosts"] == len(seconds_of_host)
    assert answer["totals"]["median_duration_s"] == median(durations)
    assert answer["totals"]["longest_duration_s"] == max(durations) == answer["longest"][0]["duration_s"]
    assert answer["totals"]["single_request"] == sum(n == 1 for _, _, n in spans)
    assert answer["totals"]["mean_requests"] == pytest.approx(12_430 / len(spans))


def test_odd_requests_are_counted_and_shown(morning_page: Get, log: list[Line]) -> None:
    answer = morning_page("/api/oddities", limit=50)
    assert answer["requests"] == 41
    assert {f["flag"]: f["requests"] for f in answer["flags"]} == {"space_in_path": 21, "no_protocol": 20}
    assert len(answer["newest"]) == 41
    assert answer["newest"][0]["requested_s"] >= answer["newest"][-1]["requested_s"]


def test_the_forecast_is_joined_with_what_happened(morning_page: Get) -> None:
    answer = morning_page("/api/forecast")
    model = answer["models"][0]
    assert (model["name"], model["version"], model["minutes"]) == ("access_log_volume", 3, 713)
    assert model["mean_absolute_error"] == pytest.approx(2.0)
    assert model["mean_actual"] == pytest.approx(12_430 / 713)
    pairs = [(f, a) for f, a in zip(answer["forecast"], answer["actual"], strict=True) if a is not None]
    assert all(f == pytest.approx(a + 2) for f, a in pairs)


def test_the_minute_that_is_still_to_come_has_a_forecast_and_no_actual(builder: LakeBuilder) -> None:
    line = '10.0.0.1 - - [09/Jul/1995:00:{:02d}:00 -0400] "GET / HTTP/1.0" 200 1'
    builder.add([line.format(minute).encode() for minute in (1, 2, 4)])
    builder.write_forecast(error=1.0)
    # Minute 3 was silent: forecast as well, although the builder writes none for it.
    with client_of(builder.lake) as client:
        answer = getter(client)("/api/forecast", from_="1995-07-09T00:00", to="1995-07-09T00:07")
    assert answer["forecast"] == [None, 2.0, 2.0, None, 2.0, 1.0, None]
    assert answer["actual"] == [None, 1.0, 1.0, None, 1.0, None, None]


def test_layers_add_up_and_their_freshness_is_told(morning_page: Get, morning: LakeBuilder) -> None:
    answer = morning_page("/api/freshness")
    rows = {table["name"]: table["rows"] for table in answer["tables"]}
    duplicates = morning_page("/api/duplicates")["duplicates"]
    assert (rows["bronze.access_log"], duplicates) == (12_450, 20)
    assert rows["bronze.access_log"] == rows["silver.access_log"] + rows["quarantine.access_log"] + duplicates
    newest = max(row["kafka_at"] for row in morning.silver)
    # Delta keeps statistics of times in milliseconds.
    assert answer["newest_kafka_at_s"] == pytest.approx(newest.timestamp(), abs=0.002)
    assert answer["gold_covers_silver_version"] == answer["silver_version"] == 0


def test_a_gold_that_lags_behind_says_which_silver_it_covers(builder: LakeBuilder, morning_lines: list[bytes]) -> None:
    builder.add(morning_lines[:100])
    builder.add(morning_lines[100:200], gold=False)
    with client_of(builder.lake) as client:
        get = getter(client)
        answer = get("/api/freshness")
        assert (answer["silver_version"], answer["gold_covers_silver_version"]) == (1, 0)
        # Details from silver are those of the version that gold covers: all figures on the page tell of the same rows.
        part = get("/api/resources", from_="1995-07-09T00:00", to="1995-07-09T00:02", limit=200)["resources"]
    known = [line for line in map(Line, morning_lines[:100]) if line.clock < "00:02"]
    assert sum(r["requests"] for r in part) == len(known)


def test_a_comparison_is_with_the_same_minutes_of_the_earlier_period(builder: LakeBuilder) -> None:
    line = '10.0.0.{} - - [{:02d}/Jul/1995:10:{:02d}:30 -0400] "GET /{} HTTP/1.0" {} 7'
    week_ago = [line.format(1, 2, m, "a", 200).encode() for m in (0, 1, 1, 2)]
    today = [line.format(2, 9, m, "a" if m else "b", 404).encode() for m in (0, 2)]
    builder.add([*week_ago, *today])
    asked = {"from_": "1995-07-09T10:00", "to": "1995-07-09T10:04", "compare": "week"}
    with client_of(builder.lake) as client:
        get = getter(client)
        traffic = get("/api/traffic", **asked)
        assert traffic["requests"] == [1, 0, 1, None]
        assert traffic["earlier"] == [1, 2, 1, None]
        assert traffic["period"]["earlier"] == {"from": "1995-07-02T14:00:00Z", "to": "1995-07-02T14:04:00Z"}
        summary = get("/api/summary", **asked)
        assert (summary["totals"]["requests"], summary["earlier"]["requests"]) == (2, 4)
        assert (summary["totals"]["errors"], summary["earlier"]["errors"]) == (2, 0)
        classes = {c["name"]: (c["requests"], c["earlier"]) for c in get("/api/statuses", **asked)["classes"]}
        assert (classes["2xx"], classes["4xx"]) == ((0, 4), (2, 0))
        found = get("/api/resources", **asked)["resources"]
        assert [(r["path"], r["requests"], r["earlier"]) for r in found] == [("/a", 1, 4), ("/b", 1, 0)]
        assert [(h["host"], h["earlier"]) for h in get("/api/hosts", **asked)["hosts"]] == [("10.0.0.2", 0)]
        assert get("/api/sessions", **asked)["earlier"]["sessions"] == 1


def test_a_long_silence_is_a_gap_and_a_short_one_is_zero(builder: LakeBuilder) -> None:
    line = '10.0.0.1 - - [09/Jul/1995:{} -0400] "GET / HTTP/1.0" 200 1'
    builder.add([line.format(clock).encode() for clock in ("10:00:00", "10:20:00", "11:30:00")])
    with client_of(builder.lake) as client:
        answer = getter(client)("/api/traffic", from_="1995-07-09T09:58", to="1995-07-09T11:33")
    values = answer["requests"]
    assert values[:2] == [None, None]
    assert values[2:23] == [1, *[0] * 19, 1]
    assert set(values[23:92]) == {None}
    assert values[92:] == [1, None, None]


def test_a_wide_range_is_told_in_means_per_minute(builder: LakeBuilder) -> None:
    line = '10.0.0.1 - - [{:02d}/Jul/1995:10:{:02d}:00 -0400] "GET / HTTP/1.0" 200 1'
    builder.add([line.format(day, minute).encode() for day in (1, 2, 9) for minute in range(30)])
    with client_of(builder.lake) as client:
        answer = getter(client)("/api/traffic", last="7d")
    assert answer["period"]["bucket_s"] == 900
    known = [v for v in answer["requests"] if v is not None]
    assert known == [1.0, 1.0]  # the newest 7 days begin on 2 July at 10:30 and hold only the half hour of the 9th
    assert len(answer["at_s"]) <= 1500


def test_a_request_dated_in_the_future_does_not_decide_what_is_newest(builder: LakeBuilder) -> None:
    line = '10.0.0.1 - - [{}:00:00:30 +0000] "GET / HTTP/1.0" 200 1'
    builder.add([line.format(day).encode() for day in ("01/Jan/1970", "09/Jul/1995", "01/Jan/2999")])
    with client_of(builder.lake) as client:
        answer = getter(client)("/api/summary")
        assert answer["period"]["to"] == "1995-07-09T00:01:00Z"
        assert answer["totals"]["requests"] == 1
        assert answer["data"]["future_requests"] == 1
        everything = getter(client)("/api/traffic", last="all")
    assert everything["period"]["from"] == "1970-01-01T00:00:00Z"
    assert sum(v is not None for v in everything["requests"]) == 2


def test_quarantined_bytes_come_as_text_with_their_reason(builder: LakeBuilder, morning_lines: list[bytes]) -> None:
    builder.add([*morning_lines[:5], BAD_LINE, b"", b"A" * 5000, b'h - - [x] "GET / HTTP/1.0" 200 1'])
    with client_of(builder.lake) as client:
        get = getter(client)
        answer = get("/api/quarantine")
        assert answer["total"] == 4
        assert {r["reason"]: r["lines"] for r in answer["reasons"]} == {"no_request": 2, "bad_time": 1, "empty": 1}
        shown = {line["kafka_offset"]: line for line in answer["lines"]}
        assert shown[5]["shown"] == "<script>alert(1)</script> \\xFF\\x00"
        assert (shown[6]["shown"], shown[6]["bytes"], shown[6]["was_cut"]) == ("", 0, False)
        assert (shown[7]["shown"], shown[7]["bytes"], shown[7]["was_cut"]) == ("A" * 500, 5000, True)
        only = get("/api/quarantine", reason="bad_time", limit=1)
        assert [line["reason"] for line in only["lines"]] == ["bad_time"]
        assert only["total"] == 4
        assert get("/api/quarantine", reason="x' OR '1'='1")["lines"] == []


def test_hostile_paths_and_hosts_come_as_text(builder: LakeBuilder) -> None:
    paths = ["/<script>alert(1)</script>", "/\"'`;--", "/right\u202eleft", "/%00\x00", "/שלום"]
    line = '<b>h{}</b> - - [09/Jul/1995:00:00:00 -0400] "GET {} HTTP/1.0" 200 1'
    builder.add([line.format(n, path).encode() for n, path in enumerate(paths)])
    with client_of(builder.lake) as client:
        get = getter(client)
        found = {r["path"] for r in get("/api/resources", limit=50)["resources"]}
        hosts = {h["host"] for h in get("/api/hosts", limit=50)["hosts"]}
    shown = {"/<script>alert(1)</script>", "/\"'`;--", "/right\\xE2\\x80\\xAEleft", "/%00\\x00", "/שלום"}
    assert found == shown
    assert hosts == {f"<b>h{n}</b>" for n in range(5)}


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


def test_a_forecast_that_was_never_made_does_not_disturb_the_rest(
    builder: LakeBuilder, morning_lines: list[bytes]
) -> None:
    builder.add(morning_lines[:50])
    with client_of(builder.lake) as client:
        answer = getter(client)("/api/forecast")
        assert answer["available"] is False
        assert "retrain_access_log_volume" in answer["next_step"]
        assert getter(client)("/api/summary")["totals"]["requests"] == 50


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


def test_no_answer_says_that_a_minute_is_what_it_is_not(morning_page: Get) -> None:
    period = morning_page("/api/summary", from_="1995-07-09", to="1995-07-09")["period"]
    assert (period["from"], period["to"]) == ("1995-07-09T04:00:00Z", "1995-07-10T04:00:00Z")
    assert datetime.fromtimestamp(period["from_s"], UTC) == MIDNIGHT
    assert timedelta(minutes=period["utc_offset_min"]) == timedelta(hours=-4)
    assert GOLD_ACCESS_LOG_1M.name in morning_page("/api/summary")["versions"]
