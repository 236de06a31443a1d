"""Waiting for a job: what is said meanwhile, what ends the wait, and what an outage may do."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from contracts.errors import DependencyUnavailableError, PlatformError
from dags.operators.slurm.cluster import Cluster, Report, Watch
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.parsing import JobView
from dags.operators.slurm.spec import Limits
from dags.operators.slurm.states import Verdict, classify

Say = Callable[[str], None]

#: Limits of ours: Slurm would let the job go on.
_OURS = ("QUEUE_LIMIT", "RUN_LIMIT")


@dataclass(frozen=True)
class Ending:
    """How a wait ended. ``state`` is Slurm's, or one of ours: OUTAGE, QUEUE_LIMIT, RUN_LIMIT, REFUSED."""

    verdict: Verdict
    state: str = ""
    reason: str = ""
    exit_code: str = ""
    restarts: int = 0
    nodes: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict.value}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        return cls(**fields | {"verdict": Verdict(fields["verdict"])})


@dataclass
class _Wait:
    """What changes while a task waits. Times are seconds of the clock that `wait` was given."""

    job: Job
    limits: Limits
    say: Say
    answered_at: float
    pending_since: float
    running_since: float | None = None
    unknown: int = 0
    restarts: int = 0
    told: tuple[Any, ...] = ()
    complained: str = ""
    half_line: bytes = field(default=b"", repr=False)


async def wait(
    cluster: Cluster, job: Job, limits: Limits, *, say: Say, since: float, reader: str = "1",
    clock: Callable[[], float] = time.time,
) -> Ending:  # fmt: skip
    """Return when the job is over, or when one of the limits is met. ``since`` is when the job was submitted.

    Cancelled jobs are marked as killed first. While the cluster cannot be reached nothing is concluded about the job;
    after ``max_outage_s`` the verdict is LOST, and the next try finds the job in the ledger.
    """
    state = _Wait(job, limits, say, answered_at=clock(), pending_since=since)
    read_from, pause = -1, 0.0
    while True:
        try:
            report = await cluster.status(Watch(job, read_from, reader), pause)
            read_from = report.read_to
            ending = _judge(state, report, clock())
            if ending and (ending.verdict is Verdict.STUCK or ending.state in _OURS):
                say(f"job {job.job_id}: {ending.state} {ending.reason}: it is cancelled")
                await cluster.kill(job)
            state.answered_at, state.complained = clock(), ""
        except DependencyUnavailableError as error:
            ending = _outage(state, error, clock())
        except PlatformError as error:
            # A host key that changed, a connection that was edited: another try finds the same.
            ending = Ending(Verdict.FATAL, "REFUSED", str(error))
        if ending:
            _show(state, b"\n" if state.half_line else b"")
            return ending
        pause = limits.running_poll_s if state.running_since is not None else limits.pending_poll_s


def _judge(state: _Wait, report: Report, now: float) -> Ending | None:
    _show(state, report.text, report.left_out)
    view, job, limits = report.view, state.job, state.limits
    if view is None:
        return _unknown(state, killed=report.killed)
    state.unknown = 0
    _tell(state, view, report)
    verdict = classify(view.state, view.reason, view.exit_code, killed=report.killed)
    if verdict is not Verdict.ACTIVE:
        return Ending(verdict, view.state, view.reason, view.exit_code, state.restarts, view.nodes)
    if view.state == "PENDING":
        if state.running_since is not None:
            state.pending_since, state.running_since = now, None
        waited = now - state.pending_since
        if limits.max_queue_s is not None and waited > limits.max_queue_s:
            said = view.reason or "no reason"
            why = f"it waited for {waited:.0f} s, max_queue_s is {limits.max_queue_s:.0f} ({said})"
            return Ending(Verdict.FATAL, "QUEUE_LIMIT", why, restarts=state.restarts)
        return None
    if state.running_since is None:
        state.running_since = now
    ran = view.elapsed_s if view.elapsed_s is not None else now - state.running_since
    if limits.max_run_s is not None and ran > limits.max_run_s:
        why = f"it ran for {ran:.0f} s, max_run_s is {limits.max_run_s:.0f}"
        return Ending(Verdict.FATAL, "RUN_LIMIT", why, restarts=state.restarts, nodes=view.nodes)
    if job.job_id and report.killed:
        # Marked while it ran on, as after a scancel that was lost: it is asked again and again until it ends.
        state.say(f"job {job.job_id} is marked as killed and runs: its end is awaited")
    return None


def _unknown(state: _Wait, *, killed: bool) -> Ending | None:
    state.unknown += 1
    if state.unknown == 1:
        state.say(f"job {state.job.job_id}: neither squeue nor sacct knows it; asking again")
    if state.unknown < state.limits.lost_after_polls:
        return None
    return Ending(classify("", killed=killed), "", "not in squeue, not in sacct, and its script noted no end")


def _outage(state: _Wait, error: PlatformError, now: float) -> Ending | None:
    gone = now - state.answered_at
    # The same error every few seconds is said once.
    if str(error) != state.complained:
        state.say(f"no answer from the cluster ({error}) Waiting on, for at most {state.limits.max_outage_s:.0f} s.")
        state.complained = str(error)
    if gone <= state.limits.max_outage_s:
        return None
    why = f"no answer for {gone:.0f} s, max_outage_s is {state.limits.max_outage_s:.0f}; the last error: {error}"
    return Ending(Verdict.LOST, "OUTAGE", why, restarts=state.restarts)


def _tell(state: _Wait, view: JobView, report: Report) -> None:
    restarts = max(view.restarts, report.own.restart if report.own else 0)
    phase = report.own.phase if report.own and view.state == "RUNNING" else ""
    told = (view.state, view.reason, view.starts_at if view.state == "PENDING" else "", restarts, phase)
    if told == state.told:
        return
    parts = [f"job {state.job.job_id}: {view.state}"]
    if view.reason:
        parts.append(f"({view.reason})")
    if view.state == "PENDING" and view.starts_at:
        parts.append(f"start estimated for {view.starts_at.replace('T', ' ')}, cluster time")
    if view.nodes and view.state != "PENDING":
        parts.append(f"on {view.nodes}")
    if phase:
        parts.append(f"phase {phase}")
    if restarts:
        parts.append(f"restart {restarts}")
    if state.told and state.told[0] == "RUNNING" and view.state == "PENDING":
        parts.append("it was requeued and will run again")
    state.say(" ".join(parts))
    state.told, state.restarts = told, max(restarts, state.restarts)


def _show(state: _Wait, text: bytes, left_out: int = 0) -> None:
    """New log text, in whole lines."""
    if left_out > 0:
        log = f"{state.job.folder}/output.log"
        state.say(f"[job {state.job.job_id}] ... {left_out} bytes of the log left out, see {log}")
        state.half_line = b""
    *lines, state.half_line = (state.half_line + text).split(b"\n")
    for line in lines:
        state.say(f"[job {state.job.job_id}] {line.decode('utf-8', 'replace').rstrip()}")


async def retrying_kill(cluster: Cluster, job: Job, say: Say, tries: int = 3, pause_s: float = 2.0) -> bool:
    """Cancel, within the half minute that Airflow gives. Says what to type where that fails."""
    for attempt in range(1, tries + 1):
        try:
            await cluster.kill(job)
        except PlatformError as error:
            say(f"job {job.job_id} could not be cancelled, attempt {attempt} of {tries}: {error}")
            if attempt < tries:
                await asyncio.sleep(pause_s)
        else:
            say(f"job {job.job_id} ({job.name}) is marked as killed and cancelled")
            return True
    say(f"job {job.job_id} may go on. By hand, on the cluster: touch {job.folder}/killed; scancel {job.job_id}")
    return False
