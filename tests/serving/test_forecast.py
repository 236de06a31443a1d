"""What the model expected beside what happened, and the page before there is any model."""

import pytest

from tests.serving.lake_builder import LakeBuilder
from tests.serving.page import Get, client_of, getter


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


def test_a_forecast_that_was_never_made_does_not_disturb_the_rest(
    builder: LakeBuilder, morning_lines: list[bytes]
) -> None:
    builder.add(morning_lines[:50])
    with client_of(builder.lake) as client:
        answer = getter(client)("/api/forecast")
        assert answer["available"] is False
        assert "retrain_access_log_volume" in answer["next_step"]
        assert getter(client)("/api/summary")["totals"]["requests"] == 50
