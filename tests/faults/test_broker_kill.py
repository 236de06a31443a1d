"""The broker is killed with SIGKILL while the stream reads: with a supervisor's patience every table ends exact."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.lab import morning, other_days

pytestmark = [pytest.mark.kafka, pytest.mark.spark, pytest.mark.timeout(1800)]

#: Two kills in each.
SEEDS = [0, *[pytest.param(seed, marks=pytest.mark.many) for seed in range(1, 6)]]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broker_that_dies_and_comes_back_costs_time_and_nothing_else(new_lab, shared_broker, seed):
    lab, chance = new_lab(batch=400), random.Random(seed)  # noqa: S311 - a seed, no secret
    lab.replay(other_days(200), "other.log")
    lab.replay(morning(0, 2000))
    lab.replay(morning(0, 500), "half.log", again=True)
    driver = lab.start("--drain")
    for _ in range(2):
        lab.wait_for_commits(chance.choice(["bronze.access_log", "silver.access_log"]), chance.randint(1, 3), driver)
        time.sleep(chance.uniform(0, 1.0))
        shared_broker.kill()
        time.sleep(chance.uniform(0, 3))
        shared_broker.start()
    for _ in range(5):
        code = driver.wait(400)
        # 5 is what the supervisor starts again; anything else would be wrong.
        assert code in {0, 5}, driver.said[-4000:]
        if code == 0:
            break
        driver = lab.start("--drain")
    assert code == 0, driver.said[-4000:]
    assert lab.deviations() == []
