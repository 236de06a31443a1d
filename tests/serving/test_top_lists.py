"""The resources and hosts with most requests against counts made from the log file by other means."""

from collections import Counter

import pytest

from serving.panels import shared
from tests.serving.lake_builder import LakeBuilder
from tests.serving.log_lines import Line, between
from tests.serving.page import Get, client_of, getter


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
    monkeypatch.setattr(shared, "MOST_SILVER_ROWS", 1000)
    with client_of(morning.lake) as client:
        get, part = getter(client), {"from_": "1995-07-09T03:10", "to": "1995-07-09T05:25"}
        assert get("/api/resources", **part)["counted_over"] == "whole days"
        assert get("/api/hosts", **part)["counted_over"] == "sessions begun in the range"
        assert get("/api/oddities", **part)["requests"] is None


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
