"""Sessions against those of a walk through the log file by other means."""

from collections import defaultdict
from statistics import median

import pytest

from tests.serving.log_lines import Line
from tests.serving.page import Get


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
