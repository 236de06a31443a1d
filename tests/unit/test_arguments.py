"""Wrong values on the command line are refused in words."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import date
from typing import TYPE_CHECKING

import pytest

from contracts import arguments
from streaming import drain, erase, reprocess

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *[(arguments.positive, text) for text in ("0", "-1", "nan", "inf", "x", "")],
        *[(arguments.count, text) for text in ("0", "-1", "1.5", "x", "", "\u00b2")],
        *[(arguments.day, text) for text in ("2026-13-01", "yesterday", "")],
    ],
)
def test_a_wrong_value_is_refused(kind: Callable[[str], object], text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a"):
        kind(text)


def test_right_values_are_read() -> None:
    assert (arguments.positive("0.5"), arguments.count("3")) == (0.5, 3)
    assert arguments.day("2026-02-28") == date(2026, 2, 28)


@pytest.mark.parametrize(
    ("parse", "words", "said"),
    [
        (drain.parse_args, ["--timeout-s", "-1"], "'-1' is not a number above 0"),
        (erase.parse_args, [""], "required one name or address without spaces"),
        (erase.parse_args, ["a b"], "required one name or address without spaces"),
        (reprocess.parse_args, ["--from", "bronze", "--first-day", "2026-02-30"], "is not a day such as"),
        (
            reprocess.parse_args,
            ["--from", "bronze", "--first-day", "2026-02-02", "--last-day", "2026-02-01"],
            "required the earlier first",
        ),
    ],
)
def test_a_command_says_what_it_wants(
    capsys: pytest.CaptureFixture[str], parse: Callable[[list[str]], object], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
