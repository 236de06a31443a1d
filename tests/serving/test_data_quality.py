"""What the page says about its own data: odd and unreadable lines, lines delivered again, how new each table is."""

import pytest

from tests.serving.lake_builder import LakeBuilder
from tests.serving.log_lines import Line
from tests.serving.page import Get, client_of, getter

BAD_LINE = b"<script>alert(1)</script> \xff\x00"


def test_odd_requests_are_counted_and_shown(morning_page: Get, log: list[Line]) -> None:
    answer = morning_page("/api/oddities", limit=50)
    assert answer["requests"] == 41
    assert {f["flag"]: f["requests"] for f in answer["flags"]} == {"space_in_path": 21, "no_protocol": 20}
    assert len(answer["newest"]) == 41
    assert answer["newest"][0]["requested_s"] >= answer["newest"][-1]["requested_s"]


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
