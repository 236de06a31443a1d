"""Answers are made once, whoever asks."""

import threading
import time
from collections.abc import Callable

import pytest

from serving.cache import Answers


def test_many_threads_that_ask_at_once_cause_one_answer() -> None:
    answers, made = Answers(size=4), []

    def make() -> str:
        made.append(1)
        time.sleep(0.1)
        return "answer"

    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(answers.get("key", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (got, len(made)) == (["answer"] * 8, 1)


def test_an_error_is_not_kept() -> None:
    answers = Answers(size=4)

    def fail() -> str:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        answers.get("key", fail)
    assert answers.get("key", lambda: "now") == "now"


def test_only_the_newest_answers_are_kept() -> None:
    answers, made = Answers(size=2), []

    def making(name: str) -> Callable[[], str]:
        return lambda: (made.append(name), name)[1]

    for name in ("a", "b", "a", "c", "a", "b"):
        answers.get(name, making(name))
    assert made == ["a", "b", "c", "b"]  # b was the least recently used when c came
