"""One cluster as all waiting tasks of a process share it: one connection, one question for all jobs."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from contracts.errors import PlatformError
from dags.operators.slurm.errors import TransportError
from dags.operators.slurm.ledger import Facts, Job, read_facts, read_submission, refuse, remote_script
from dags.operators.slurm.parsing import Answer, JobView, OwnState, answer, own_state, seen, unpacked
from dags.operators.slurm.spec import QueueName
from dags.operators.slurm.transports import COMMAND_TIMEOUT_S, TRANSFER_TIMEOUT_S, Transport

MAX_JOBS_PER_QUESTION = 200
_MAX_PAUSE_S = 60.0
#: Checksums of large files take their time. Airflow gives on_kill half a minute, and the first try may fail.
_PATIENCE_S = {"keep": TRANSFER_TIMEOUT_S, "pack": TRANSFER_TIMEOUT_S, "sweep": TRANSFER_TIMEOUT_S, "kill": 13.0}
#: Of log text in one answer, shared by the jobs asked about.
_ANSWER_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Watch:
    """What one waiting task asks: its job, and from which byte of the log. -1: where ``reader`` stopped before."""

    job: Job
    read_from: int = -1
    reader: str = "1"


@dataclass(frozen=True)
class Report:
    """What was answered. ``view`` is None for a job that nobody knows; ``left_out`` counts bytes of log not shown."""

    view: JobView | None
    own: OwnState | None = None
    text: bytes = b""
    read_to: int = 0
    left_out: int = 0
    killed: bool = False


@dataclass
class _Request:
    watch: Watch
    due: float
    future: "asyncio.Future[Report]"


@dataclass
class Cluster:
    """Questions to one cluster over one transport."""

    transport: Transport
    queue: QueueName = "slurm"
    _waiting: dict[str, _Request] = field(default_factory=dict, init=False, repr=False)
    _poller: "asyncio.Task[None] | None" = field(default=None, init=False, repr=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)
    _failures: int = field(default=0, init=False, repr=False)
    _not_before: float = field(default=0.0, init=False, repr=False)

    async def ask(self, verb: str, *args: str, given: str | None = None, log_bytes: int = 0) -> Answer:
        """Run one of the remote scripts, for as long as such a script may take."""
        script = remote_script(self.queue, verb, *args, given=given, log_bytes=log_bytes)
        done = await self.transport.run("bash -s", script, _PATIENCE_S.get(verb, COMMAND_TIMEOUT_S))
        what = f"Asking the cluster ({verb})"
        if done.code != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-500:]
            raise TransportError(
                what, found=f"exit status {done.code}: {said}", required="an answer",
                next_step="It is asked again; does bash start on that host?",
            )  # fmt: skip
        return answer(done.stdout, what)

    async def look(self, base: str, name: str) -> Facts:
        return read_facts(await self.ask("look", base, name), name)

    async def submit(self, base: str, name: str, generation: int, script: str, escalated: str = "") -> Job:
        """``script`` is the content hash of a staged job script."""
        found = await self.ask("submit", base, name, str(generation), script, escalated)
        return read_submission(found, name, generation, escalated)

    async def kill(self, job: Job) -> None:
        """No later try takes this job for its own, then it ends. Safe to repeat."""
        refuse(await self.ask("kill", job.folder, job.name, job.job_id), "Cancelling")

    async def mark(self, job: Job, mark: str, text: str) -> None:
        refuse(await self.ask("mark", job.folder, mark, text), f"Noting {mark}")

    async def status(self, watch: Watch, within_s: float) -> Report:
        """The job's report, at most ``within_s`` seconds from now; sooner when another task's question is due.

        Raises what the transport or the queue raised, in every task that waits.
        """
        loop = asyncio.get_running_loop()
        key = watch.job.folder
        # Not all in step: many tasks that start together would else ask together for ever.
        request = _Request(watch, loop.time() + within_s * random.uniform(0.85, 1.0), loop.create_future())  # noqa: S311 - a pause is no secret
        self._waiting[key] = request
        self._changed.set()
        if self._poller is None or self._poller.done():
            self._poller = loop.create_task(self._poll())
        try:
            return await request.future
        finally:
            if self._waiting.get(key) is request:
                del self._waiting[key]

    async def close(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
        await self.transport.close()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            due = max(min(request.due for request in self._waiting.values()), self._not_before)
            self._changed.clear()
            if (pause := due - loop.time()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), pause)
                continue
            batch = list(self._waiting.values())[:MAX_JOBS_PER_QUESTION]
            for request in batch:
                self._waiting.pop(request.watch.job.folder, None)
            await self._answer(batch)

    async def _answer(self, batch: list[_Request]) -> None:
        loop = asyncio.get_running_loop()
        try:
            reports = await self._reports([request.watch for request in batch])
        except PlatformError as error:
            self._failures += 1
            self._not_before = loop.time() + self._pause_after(self._failures)
            for request in batch:
                _settle(request.future, error)
        except BaseException as error:
            for request in batch:
                _settle(request.future, error)
            raise
        else:
            self._failures, self._not_before = 0, 0.0
            for request in batch:
                _settle(request.future, reports[request.watch.job.folder])

    def _pause_after(self, failures: int) -> float:
        """Longer each time, and not in step with other triggerers that lost the same host."""
        return min(_MAX_PAUSE_S, 2.0**failures) * random.uniform(0.5, 1.0)  # noqa: S311 - a pause is no secret

    async def _reports(self, watches: list[Watch]) -> dict[str, Report]:
        lines = "\n".join(
            f"{each.job.job_id} {each.job.name} {each.job.folder} {each.read_from} {each.reader}" for each in watches
        )
        log_bytes = max(4096, min(64 * 1024, _ANSWER_BYTES // len(watches)))
        found = await self.ask("poll", given=lines, log_bytes=log_bytes)
        refuse(found, "Asking about jobs")
        return {each.job.folder: _report(each.job, found) for each in watches}


def _settle(future: "asyncio.Future[Report]", outcome: "Report | BaseException") -> None:
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _report(job: Job, found: Answer) -> Report:
    mine = found.about(job.job_id)

    def of_job(word: str) -> str | None:
        line = mine.one(word)
        return None if line is None else line.partition(" ")[2]

    state, log, text = of_job("STATE"), of_job("LOG"), of_job("TEXT")
    own = own_state(state) if state else None
    read_from, size = (int(number) for number in (log or "0 0").split())
    shown, left_out = b"", 0
    if text:
        begin, _, packed = text.partition(" ")
        shown, left_out = unpacked(packed), int(begin) - read_from
    view = seen(job.job_id, job.name, mine, own)
    return Report(view, own, shown, size, left_out, killed=of_job("KILLED") is not None)


@dataclass
class _Shared:
    cluster: "asyncio.Future[Cluster]"
    users: int = 0


_shared: dict[tuple[int, str], _Shared] = {}


@asynccontextmanager
async def shared(key: str, make: Callable[[], Awaitable[Cluster]]) -> AsyncIterator[Cluster]:
    """The cluster of this event loop that ``key`` names; made by the first task that asks, closed after the last."""
    place = (id(asyncio.get_running_loop()), key)
    held = _shared.get(place)
    if held is None:
        held = _shared[place] = _Shared(asyncio.ensure_future(make()))
    held.users += 1
    try:
        # Shielded: who is cancelled while the first one connects must not take the connection from the others.
        yield await asyncio.shield(held.cluster)
    finally:
        held.users -= 1
        if held.users == 0:
            if _shared.get(place) is held:
                del _shared[place]
            if held.cluster.done() and not held.cluster.cancelled() and held.cluster.exception() is None:
                await held.cluster.result().close()
            else:
                held.cluster.cancel()
