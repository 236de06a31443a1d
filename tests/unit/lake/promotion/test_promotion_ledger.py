"""The ledger of promotions: who was champion when, and going back."""

from datetime import timedelta

import pytest

from contracts.errors import ConfigurationError, QualityGateError
from spark_apps.io import ledger, tracking
from spark_apps.io.registry import ARCHIVED, CHALLENGER, CHAMPION, STAGE, STAGES
from tests.unit.lake.promotion.changes import (
    NOON,
    assert_sound,
    carried_out,
    champions,
    decided,
    entry,
    registered,
    rolled_back,
    standing,
    versions,
    written,
)


def test_the_champion_of_a_moment_is_the_last_that_was_in_force_by_then():
    rows = [entry("promote", None, 1, 0), entry("keep", 1, 1, 5), entry("promote", 1, 2, 10, done=10)]
    moments = {-1: None, 0: 1, 7: 1, 19: 1, 20: 2, 10_000: 2}
    for minute, version in moments.items():
        found = ledger.champion(rows, NOON + timedelta(minutes=minute))
        assert (found and found.to_version) == version, minute


def test_a_change_that_crashed_and_was_finished_late_counts_from_when_it_was_finished():
    late = entry("promote", 1, 2, 1, done=60)
    rows = [entry("promote", None, 1, 0), late, entry("promote", 1, 3, 30), entry("rollback", 3, 1, 40)]
    assert ledger.unfinished(rows, NOON + timedelta(minutes=2)) == [late]
    assert ledger.unfinished(rows) == []
    found = {minute: ledger.champion(rows, NOON + timedelta(minutes=minute)) for minute in (2, 31, 41, 61)}
    assert {minute: row and row.to_version for minute, row in found.items()} == {2: 1, 31: 3, 41: 1, 61: 2}
    assert versions(ledger.line(rows)) == [1, 2]


def test_a_change_that_never_happened_is_no_longer_unfinished_once_another_has():
    lost = entry("promote", 1, 2, 1, done=None)
    assert ledger.unfinished([entry("promote", None, 1, 0), lost]) == [lost]
    assert ledger.unfinished([entry("promote", None, 1, 0), lost, entry("promote", 1, 3, 2)]) == []


def test_going_back_twice_goes_back_two_promotions_and_brings_nothing_back_that_was_rolled_back():
    rows = [entry("promote", n - 1 or None, n, n) for n in (1, 2, 3)]
    assert versions(ledger.line(rows)) == [1, 2, 3]
    rows.append(entry("rollback", 3, 2, 4))
    assert versions(ledger.line(rows)) == [1, 2]
    assert versions(ledger.line([*rows, entry("rollback", 2, 1, 5)])) == [1]
    # Named, it comes back, and is left for what was there before.
    assert versions(ledger.line([*rows, entry("rollback", 2, 3, 5)])) == [1, 2, 3]
    assert versions(ledger.line([*rows, entry("promote", 2, 4, 5), entry("rollback", 4, 2, 6)])) == [1, 2]


def test_a_rollback_restores_the_champion_before_and_says_so_in_the_ledger(shared):
    name = "restored"
    champions(shared, name, 3)
    row, is_new = rolled_back(shared, name)
    assert (is_new, row.action, row.from_version, row.to_version) == (True, "rollback", 3, 2)
    assert standing(shared, name) == (
        {CHAMPION: 2, ARCHIVED: 3}, {1: "Archived", 2: "Production", 3: "Archived"},
    )  # fmt: skip
    first, second, third, back = written(shared, name)
    assert back.evidence["rolled_back"] == third.said
    assert back.evidence["promoted_before"] == second.said
    assert (back.why, bool(back.who), back.run_key) == ("it drifts", True, "cli/x/y/-1")
    # Once more: further back, and not to what was just left.
    assert rolled_back(shared, name)[0].to_version == first.to_version
    with pytest.raises(QualityGateError, match="found champion 1, and none before it"):
        rolled_back(shared, name)


def test_a_version_that_was_champion_once_can_be_named(shared):
    name = "named"
    champions(shared, name, 3)
    assert rolled_back(shared, name, to=1)[0].to_version == 1
    row, is_new = rolled_back(shared, name, to=1)
    assert (is_new, row.to_version, len(written(shared, name))) == (False, 1, 4)
    assert rolled_back(shared, name, to=3)[0].to_version == 3
    assert_sound(shared, name)


def test_after_a_rollback_the_next_candidate_is_compared_with_the_champion_that_came_back(shared):
    name = "continued"
    champions(shared, name, 2)
    rolled_back(shared, name)
    # The promotion that was undone is not done again by whoever clears its task.
    assert not carried_out(shared, decided(name, 2, 1))
    with tracking.connected(shared) as client:
        client.create_model_version(name, source=str(shared.state), tags={STAGE: STAGES[CHALLENGER]})
    with pytest.raises(QualityGateError, match="found champion 1; required champion 2"):
        carried_out(shared, decided(name, 3, 2))
    assert carried_out(shared, decided(name, 3, 1))
    assert standing(shared, name) == (
        {CHAMPION: 3, ARCHIVED: 1}, {1: "Archived", 2: "Archived", 3: "Production"},
    )  # fmt: skip


def test_an_old_comparison_does_not_archive_the_champion_that_came_back(shared):
    name = "came_back"
    champions(shared, name, 2)
    rolled_back(shared, name)
    assert carried_out(shared, decided(name, 1, 2, promote=False))
    assert standing(shared, name)[1] == {1: "Production", 2: "Archived"}


def test_what_never_was_champion_is_refused_and_nothing_changes(shared):
    name = "refused"
    champions(shared, name, 2)
    with tracking.connected(shared) as client:
        client.create_model_version(name, source=str(shared.state), tags={STAGE: STAGES[CHALLENGER]})
    before = standing(shared, name), written(shared, name)
    with pytest.raises(ConfigurationError, match="found a version that never was champion; required one of 1, 2"):
        rolled_back(shared, name, to=3)
    assert (standing(shared, name), written(shared, name)) == before
    with tracking.connected(shared) as client:
        client.delete_model_version(name, "1")
    with pytest.raises(ConfigurationError, match="found no such version"):
        rolled_back(shared, name)
    assert (standing(shared, name)[0], written(shared, name)) == ({CHAMPION: 2}, before[1])


def test_ledger_and_mlflow_that_disagree_are_both_quoted(shared):
    name = "disagreeing"
    champions(shared, name, 2)
    with tracking.connected(shared) as client:
        client.set_registered_model_alias(name, CHAMPION, "1")
    with pytest.raises(QualityGateError, match="found champion 2 in the ledger and champion 1 in MLflow"):
        rolled_back(shared, name)
    with tracking.connected(shared) as client:
        client.delete_registered_model_alias(name, CHAMPION)
    with pytest.raises(QualityGateError, match="found champion 2 in the ledger and no champion in MLflow"):
        rolled_back(shared, name, to=1)
    assert len(written(shared, name)) == 2


def test_a_promotion_without_evidence_or_of_no_version_is_refused_before_it_is_written_down(shared):
    name = "baseless"
    registered(shared, name, 1)
    for change, said in (
        ({"evidence": {}}, "a decision without candidate_version, or evidence"),
        ({"candidate_version": None}, "a decision without candidate_version, or evidence"),
        ({"candidate_version": 7}, "no such version"),
    ):
        with pytest.raises((QualityGateError, ConfigurationError), match=said):
            carried_out(shared, decided(name, 1, None).model_copy(update=change))
    assert (written(shared, name), standing(shared, name)[0]) == ([], {CHALLENGER: 1})
