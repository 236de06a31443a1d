"""`millrace registry`: as-of, history, and what is refused with which code."""

import json
from datetime import UTC, datetime

import pytest

from spark_apps.commands import registry as command
from tests.unit.lake.promotion.changes import carried_out, champions, decided, rolled_back, written


def test_as_of_says_who_was_in_production_since_when_and_why(shared, typed):
    name = "asked"
    champions(shared, name, 2)
    rows = written(shared, name)
    between = rows[1].at.isoformat()
    code, said = typed("as-of", between, name, "--json")
    [found] = json.loads(said)["champions"]
    assert (code, found["version"], found["why"], found["who"]) == (0, 1, "better than None", rows[0].who)
    assert (found["unfinished"], found["run_key"]) == ([2], "dag/run/promote/-1")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    said = typed("as-of", today, name)[1].splitlines()
    assert said[0].startswith(f"in production at {today}T")
    assert said[1].split() == ["PIPELINE", "VERSION", "SINCE", "ACTION", "WHO", "WHY"]
    assert said[2].split()[:2] == ["asked", "2"]
    assert said[2].endswith("better than 1")
    assert typed("as-of", "1995-07-09", name) == (0, "no champion of asked at 1995-07-09T23:59:59Z\n")
    assert name in typed("as-of", today)[1]
    # Nobody knows what will be.
    assert "2999" not in typed("as-of", "2999-01-01", name)[1]


def test_history_has_every_decision_the_newest_last(shared, typed):
    name = "told"
    champions(shared, name, 2)
    carried_out(shared, decided(name, 2, 2, promote=False))
    rolled_back(shared, name)
    head, *rows = typed("history", name)[1].splitlines()
    assert head.split() == ["WRITTEN", "DONE", "ACTION", "FROM", "TO", "WHO", "WHY"]
    assert [row.split()[2:5] for row in rows] == [
        ["promote", "-", "1"], ["promote", "1", "2"], ["keep", "2", "2"], ["rollback", "2", "1"],
    ]  # fmt: skip
    found = json.loads(typed("history", name, "--json")[1])
    assert [row["evidence"].get("mae") for row in found] == [1.5, 1.5, 1.5, None]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rollback", "no_such_pipeline"), 2, "found 'no_such_pipeline'; required one of access_log_visitors"),
        (("history", "no_such_pipeline"), 2, "found 'no_such_pipeline'"),
        (("as-of", "2026-01-01", "no_such_pipeline"), 2, "found 'no_such_pipeline'"),
        (("rollback", "higgs"), 4, "Rolling back higgs: found no champion; required one to replace. Nothing was"),
        (("history", "higgs"), 0, "no decision about higgs yet"),
        (("as-of", "2026-01-01", "higgs"), 0, "no champion of higgs at 2026-01-01T23:59:59Z"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_code_that_says_so(typed, words, code, said):
    assert typed(*words)[0] == code
    assert said in typed(*words)[1]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", "2026-01-31T23:59:59.999999+00:00"),
        ("20260131", "2026-01-31T23:59:59.999999+00:00"),
        ("2026-01-31T12:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00+02:00", "2026-01-31T10:00:00+00:00"),
    ],
)
def test_a_day_means_its_end_and_an_instant_itself(text, at):
    assert command.instant(text).isoformat() == at


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", ""])
def test_what_is_no_date_ends_with_2(text, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["as-of", text])
    assert ended.value.code == 2
    assert "is neither a day, 2026-01-31, nor an instant" in capsys.readouterr().err


def test_an_ops_database_that_does_not_open_is_told_with_5(typed, tmp_path):
    (tmp_path / "folder.db").mkdir()
    code, said = typed("as-of", "2026-01-01", MILLRACE_OPS_URL=f"sqlite:///{tmp_path}/folder.db")
    assert (code, "unable to open database file" in said) == (5, True)
