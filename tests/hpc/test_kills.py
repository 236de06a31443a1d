"""Never two jobs for one task and never a job without one, whoever is killed and when: Slurm's own accounting counts.

Two kills of each kind in `make test`, thirteen in `make test-faults`.
"""

import random
import time

import pytest

from tests.hpc.platform import Platform, wait_for
from tests.postgres import Postgres

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]

VICTIMS = ("triggerer", "task", "scheduler", "ssh")
N_ITEMS = 3


@pytest.fixture(scope="module")
def platform(tmp_path_factory, new_ports, accounted_lab):
    ports = new_ports()
    with Postgres(ports.base + 70) as database:
        found = Platform(tmp_path_factory.mktemp("kills"), ports.base, database.url, accounted_lab)
        try:
            found.up()
            yield found
        finally:
            found.down()


@pytest.fixture(scope="module")
def whole_s(platform):
    """Seconds of a run that nobody disturbs; what the tests count is right for it."""
    # The first one sends the code.
    _run_and_count(platform)
    began = time.monotonic()
    _run_and_count(platform)
    return time.monotonic() - began


def _run_and_count(platform, meanwhile=lambda _run_id: None):
    """One run; each of its tasks had one job, which ended well, and nothing of it is left in the queue."""
    before = platform.jobs()
    run_id, states = platform.run(meanwhile)
    assert states == ["success"] * N_ITEMS
    # A job's own script tells of its end a moment before Slurm does, and Slurm a moment before its accounting.
    wait_for(lambda: not platform.queue(), 30)
    made = {name: jobs for name, jobs in wait_for(platform.settled_jobs, 30).items() if jobs != before.get(name)}
    assert [len(jobs) for jobs in made.values()] == [1] * N_ITEMS, made
    assert {state for jobs in made.values() for _, state in jobs} == {"COMPLETED"}, made
    assert not set(made) & set(before), f"{run_id} made jobs for an earlier run"


def _rounds(platform, whole_s, victim, number):
    chance = random.Random(f"{victim} {number}")  # noqa: S311 - moments of kills, the same in each run
    told = []

    def strike(run_id):
        time.sleep(chance.uniform(0, whole_s))
        told.append("" if platform.is_over(run_id) else platform.kill(victim, chance))

    # A run may end before its kill: such a round is held again.
    for _ in range(3 * number):
        began = time.monotonic()
        _run_and_count(platform, strike)
        took = f"the run took {time.monotonic() - began:.0f} s"
        print(f"{victim}: {told[-1] or 'nobody was there to be killed'}; {took}", flush=True)  # noqa: T201 - a long story
        if len(list(filter(None, told))) == number:
            return
    pytest.fail(f"only {len(list(filter(None, told)))} kills in {3 * number} runs")


@pytest.mark.parametrize("victim", VICTIMS)
def test_two_kills_of_each_kind_make_no_second_job_and_leave_none(platform, whole_s, victim):
    _rounds(platform, whole_s, victim, 2)


@pytest.mark.many
@pytest.mark.parametrize("victim", VICTIMS)
def test_thirteen_kills_of_each_kind_make_no_second_job_and_leave_none(platform, whole_s, victim):
    _rounds(platform, whole_s, victim, 13)
