"""The table of `conformance`, against recorded output over a transport that answers what each poll says."""

import asyncio
import base64

import pytest

from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.conclusion import Evidence, complaint, decide, effective_state
from dags.operators.slurm.errors import TransportError
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.spec import SbatchSpec
from dags.operators.slurm.transports import Completed
from dags.operators.slurm.usage import Usage
from dags.operators.slurm.waiting import wait
from tests.dags.slurm.conformance import ID, NAME, SCENARIOS, Poll

JOB = Job(ID, NAME, "/scratch/base/jobs/x/g0", 0)
SPEC = SbatchSpec(memory_mib=300, time_limit_min=10)


class Scripted:
    """Answers poll after poll; time passes with each of them."""

    def __init__(self, polls):
        self.polls, self.now, self.kills = list(polls), 1000.0, 0

    async def run(self, _command, stdin=b"", _timeout_s=60):
        if b"# kill " in stdin:
            self.kills += 1
            return Completed(0, f"KILLED {ID}\nEND\n".encode(), b"")
        assert b"# poll:" in stdin
        assert self.polls, "it asked on after the end"
        poll: Poll = self.polls.pop(0)
        self.now += poll.seconds
        if poll.error:
            raise TransportError("Reaching", found=poll.error, required="a connection", next_step="Again.")
        lines = [*poll.rows, *([f"KILLED {ID}"] if poll.killed else []), f"LOG {ID} 0 0", "END"]
        if poll.queue_error:
            lines = [f"PROBLEM queue {base64.b64encode(poll.queue_error.encode()).decode()}", "END"]
        return Completed(0, "\n".join(lines).encode(), b"")

    async def close(self):
        pass


def test_there_are_forty_scenarios_and_no_two_with_one_name():
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS) >= 40


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_scenario(scenario, monkeypatch):
    transport, said = Scripted(scenario.polls), []

    async def run():
        cluster = Cluster(transport)
        monkeypatch.setattr(cluster, "_pause_after", lambda _failures: 0.0)
        limits = scenario.limits.model_copy(update={"pending_poll_s": 0.001, "running_poll_s": 0.001})
        return await wait(cluster, JOB, limits, say=said.append, since=transport.now, clock=lambda: transport.now)

    ending = asyncio.run(run())
    state = effective_state(ending, scenario.tail)
    decision, why = decide(ending, state, scenario.escalation, scenario.escalated)
    said.append(complaint(JOB, ending, state, Evidence(Usage(), scenario.tail), SPEC, why))
    assert (ending.verdict.value, ending.state, decision) == (scenario.verdict, scenario.state, scenario.decision)
    assert transport.kills == scenario.cancels
    assert scenario.says in "\n".join(said)
    # It ended by the last poll and by no earlier one.
    assert transport.polls == []
