"""What happened when, as the page tells it, against counts made from the log file by other means."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from contracts.datasets import GOLD_ACCESS_LOG_1M
from tests.serving.lake_builder import LakeBuilder
from tests.serving.log_lines import Line
from tests.serving.page import Get, client_of, getter

#: 00:00 of 9 July 1995 where the log was written.
MIDNIGHT = datetime(1995, 7, 9, 4, tzinfo=UTC)


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


def test_the_heat_map_is_in_the_logs_own_time(morning_page: Get, log: list[Line]) -> None:
    cells = morning_page("/api/heatmap")["cells"]
    per_hour = Counter(int(line.clock[:2]) for line in log)
    assert {c["hour"]: c["requests"] for c in cells} == per_hour
    assert {(c["weekday"], c["days"]) for c in cells} == {(7, 1)}  # 9 July 1995 was a Sunday
    errors = Counter(int(line.clock[:2]) for line in log if line.status >= "400")
    assert {c["hour"]: c["errors"] for c in cells if c["errors"]} == errors


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


def test_no_answer_says_that_a_minute_is_what_it_is_not(morning_page: Get) -> None:
    period = morning_page("/api/summary", from_="1995-07-09", to="1995-07-09")["period"]
    assert (period["from"], period["to"]) == ("1995-07-09T04:00:00Z", "1995-07-10T04:00:00Z")
    assert datetime.fromtimestamp(period["from_s"], UTC) == MIDNIGHT
    assert timedelta(minutes=period["utc_offset_min"]) == timedelta(hours=-4)
    assert GOLD_ACCESS_LOG_1M.name in morning_page("/api/summary")["versions"]
