"""The streaming driver is killed with SIGKILL, at random moments and between the commits of a micro-batch.

Afterwards every table equals a recomputation from the log file: nothing lost, nothing twice. The same check finds the
duplicates of a writer that relies on luck.
"""

from __future__ import annotations

import random
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import morning, other_days

if TYPE_CHECKING:
    from tests.faults.lab import Driver, Lab

pytestmark = [pytest.mark.kafka, pytest.mark.spark, pytest.mark.timeout(1800)]

#: Two kills of each kind in `make test`, ten more in `make test-faults`.
SEEDS = [0, *[pytest.param(seed, marks=pytest.mark.many) for seed in range(1, 6)]]

#: In the order of the commits: each pair of neighbors has a point between them. A number is added: which of them.
INGEST = [
    "before:append:bronze.access_log", "after:append:bronze.access_log", "after:append:silver.access_log",
    "after:append:quarantine.access_log", "after:finish_batch:",
]  # fmt: skip
GOLD = [
    f"{when}:replace:gold.{table}"
    for table in ("access_log_1m", "access_log_hourly", "resource_popularity", "sessions")
    for when in ("before", "after")
]
WATCHED = ["bronze.access_log", "silver.access_log", "quarantine.access_log", "gold.access_log_1m", "gold.sessions"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_driver_killed_again_and_again_loses_no_line_and_stores_none_twice(lab, seed):
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    lab.replay(other_days(200), "other.log")
    # The same log from a replayer that has lost its position: duplicates within one micro-batch.
    lab.replay(other_days(200), "other.log", again=True)
    lab.replay(morning(0, 1600))
    dies(lab, f"{chance.choice(INGEST)}:{chance.randint(1, 2)}")
    killed_at_random(lab, chance)
    dies(lab, f"{chance.choice(GOLD)}:1")

    # More of the growing log, then its beginning again from a replayer that has forgotten it.
    lab.replay(morning(0, 2600))
    lab.replay(morning(0, 700), "half.log", again=True)
    dies(lab, f"{chance.choice(INGEST)}:{chance.randint(1, 3)}")
    killed_at_random(lab, chance)

    lab.drain()
    assert lab.deviations() == []


def dies(lab: Lab, point: str) -> None:
    """Start a driver that kills itself at this point."""
    driver = lab.start("--drain", die=point)
    assert driver.wait() == -9, f"{point}: {driver.said[-3000:]}"
    driver.kill()


def killed_at_random(lab: Lab, chance: random.Random) -> None:
    """Start a driver that runs on, and kill it some time after its next commit to some table."""
    driver, what = lab.start(), chance.choice(["both", "python", "jvm"])
    lab.wait_for_commits(chance.choice(WATCHED[:2]), chance.randint(1, 2), driver)
    nap(chance.uniform(0, 2.5), driver)
    assert driver.is_running, driver.said[-3000:]
    driver.kill(what)
    assert driver.process.returncode != 0


def nap(seconds: float, driver: Driver) -> None:
    """Sleep, but not beyond the driver's end."""
    with suppress(subprocess.TimeoutExpired):
        driver.process.wait(seconds)


def test_the_same_check_finds_the_duplicates_of_a_naive_writer(lab):
    lab.replay(morning(0, 700))
    driver = lab.start("--drain", die="after:append:silver.access_log:1", naive=True)
    assert driver.wait() == -9, driver.said[-3000:]
    driver.kill()
    lab.drain(naive=True)
    found = lab.deviations()
    assert any(wrong.startswith("silver:") and "more than once" in wrong for wrong in found), found
    assert any(wrong.startswith("bronze:") and "more than once" in wrong for wrong in found), found
