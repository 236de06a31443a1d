"""Waiting for a streaming driver: until it has everything, failed, or fell silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import DependencyUnavailableError
from streaming import drain

if TYPE_CHECKING:
    from contracts.settings import Settings

BEHIND = {"state": "running", "committed_offsets": {"0": 5}, "gold_version": None, "error": None}


@pytest.fixture
def waiting(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drain, "_POLL_S", 0.01)
    monkeypatch.setattr(drain.topics, "end_offsets", lambda *_: {0: 10})

    def wait(*answers: object, timeout_s: float = 5.0) -> int:
        given = iter(answers)
        last = answers[-1]
        monkeypatch.setattr(drain, "driver_status", lambda _: next(given, last))
        return drain.drain(settings, timeout_s)

    return wait


def test_a_driver_that_falls_silent_is_given_up_before_the_timeout(waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_SILENCE_S", 0.1)
    with pytest.raises(DependencyUnavailableError, match="no answer from it for"):
        waiting(BEHIND, BEHIND, None)


def test_a_driver_that_fails_is_said_at_once(waiting) -> None:
    with pytest.raises(DependencyUnavailableError, match="a recreated topic"):
        waiting(BEHIND, BEHIND | {"state": "failed", "error": "a recreated topic"})


def test_a_driver_that_does_not_keep_up_is_given_up_at_the_timeout(waiting) -> None:
    with pytest.raises(DependencyUnavailableError, match=r"has not consumed offsets \{0: 10\} within 0 s"):
        waiting(BEHIND, timeout_s=0.2)
