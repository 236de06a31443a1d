"""Two processes commit to one table: the lock keeps them apart, and no commit is lost."""

from __future__ import annotations

import json
import sys
from collections import Counter
from itertools import pairwise

import pytest
from deltalake import DeltaTable

from tests.faults import truth

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1200)]

COMMITS = 30


def both(lab, commits, *options):
    """Run two committers at once; returns when each commit began and ended, in order."""
    writers = [
        lab.spawn([sys.executable, "-m", "tests.faults.committer", name, str(lab.folder), str(commits), *options])
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.wait(900) == 0, writer.said[-3000:]
    seen = [json.loads((lab.folder / f"{name}.json").read_text()) for name in ("one", "two")]
    return sorted((tuple(each) for part in seen for each in part), key=lambda each: each[0])


def overlaps(intervals):
    return sum(later[0] < earlier[1] for earlier, later in pairwise(intervals))


def test_two_processes_that_commit_to_one_table_take_turns_and_lose_nothing(local_lab):
    table = local_lab.state / "lake" / "quarantine" / "access_log"
    intervals = both(local_lab, COMMITS)
    assert len(intervals) == 2 * COMMITS
    assert overlaps(intervals) == 0
    found = Counter(truth.rows(table, ["topic_id", "kafka_offset"]))
    assert found == Counter((name, number) for name in ("one", "two") for number in range(COMMITS))
    # Version 0 creates the table, each commit is one more: two of the same version would be one short.
    assert DeltaTable(str(table)).version() == 2 * COMMITS


@pytest.mark.many
def test_without_the_lock_the_commits_do_overlap(local_lab):
    """The measure of the test above sees what the lock prevents."""
    assert overlaps(both(local_lab, COMMITS, "--without-lock")) > 0
