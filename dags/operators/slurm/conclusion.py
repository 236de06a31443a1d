"""The end of a job: what it says, what it used, and whether its task is done, tried again or failed."""

from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from contracts.results import RunContext, RunResult
from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.errors import ResultError
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.parsing import PartitionInfo, sinfo_rows, unpacked
from dags.operators.slurm.spec import Escalation, SbatchSpec
from dags.operators.slurm.states import Verdict
from dags.operators.slurm.usage import Usage, against, hint, ran_out_of_memory, usage
from dags.operators.slurm.waiting import Ending

TAIL_LINES = 50

Decision = Literal["done", "retry", "fail"]


@dataclass(frozen=True)
class Evidence:
    """What the cluster knows after a job's end. ``result`` is its text, empty where the job left none."""

    usage: Usage
    tail: str = ""
    result: str = ""
    partitions: tuple[PartitionInfo, ...] = ()


async def evidence(cluster: Cluster, job: Job, spec: SbatchSpec) -> Evidence:
    found = await cluster.ask("end", job.folder, job.job_id, str(TAIL_LINES))
    tail, result = found.one("TAIL"), found.one("RESULT")
    return Evidence(
        usage(found.all("USAGE"), found.one("OWNUSAGE"), spec),
        unpacked(tail).decode("utf-8", "replace") if tail else "",
        unpacked(result).decode("utf-8", "replace") if result else "",
        tuple(sinfo_rows(found.all("PARTITION"))),
    )


def read_result(text: str, job: Job, context: RunContext) -> RunResult:
    """The run result of exactly this task; a ResultError for none, a damaged one, or another task's."""
    what = f"Reading the run result of job {job.job_id}"
    if not text:
        raise ResultError(
            what, found="none, though the job ended well", required=f"{job.folder}/result.json",
            next_step="The application must write its run result before it ends with 0.",
        )  # fmt: skip
    try:
        result = RunResult.model_validate_json(text)
    except ValidationError as error:
        raise ResultError(
            what, found=f"a damaged one ({error.error_count()} errors, the first: {error.errors()[0]['msg']})",
            required="a RunResult (contracts/results.py)", next_step="Is the code on the cluster of this version?",
        ) from error  # fmt: skip
    found, wanted = result.context, context
    if (found.dag_id, found.run_id, found.task_id) != (wanted.dag_id, wanted.run_id, wanted.task_id):
        raise ResultError(
            what, found=f"one of {found.key}", required=f"that of {wanted.key}",
            next_step="Pass the run arguments to the application.",
        )  # fmt: skip
    return result


def effective_state(ending: Ending, tail: str) -> str:
    """OUT_OF_MEMORY also where Slurm, without cgroups, only says that it killed the job."""
    if ending.state == "FAILED" and ran_out_of_memory(ending.exit_code, tail):
        return "OUT_OF_MEMORY"
    return ending.state


def decide(ending: Ending, state: str, escalation: Escalation, escalated: str) -> tuple[Decision, str]:
    """``escalated`` is what this very job was given more of already; a second time is final."""
    if ending.verdict is Verdict.SUCCESS:
        return "done", state
    if ending.verdict in {Verdict.RETRY, Verdict.LOST}:
        return "retry", "worth a retry"
    factor = escalation.factor(state)
    if factor and not escalated and ending.verdict is Verdict.FATAL:
        what = "memory" if state == "OUT_OF_MEMORY" else "time"
        return "retry", f"the next try asks once for {factor:g} times the {what}"
    if ending.verdict is Verdict.KILLED:
        return "fail", "it was cancelled by us"
    return "fail", "not retried"


def complaint(job: Job, ending: Ending, state: str, found: Evidence, spec: SbatchSpec, why: str) -> str:
    """All that a person needs who reads only this: state, exit code, usage, a hint, the last lines."""
    code = f" exit code {ending.exit_code}" if ending.exit_code else ""
    reason = f" ({ending.reason})" if ending.reason else ""
    restarts = f" after {ending.restarts} restarts" if ending.restarts else ""
    lines = [
        f"Slurm job {job.job_id} ({job.name}) ended as {state or 'LOST'}{reason}{code}{restarts}: {why}.",
        f"{against(found.usage, spec)}.",
    ]
    advice = hint(state, ending.exit_code, found.tail, found.usage, spec) or _limits(ending, found, spec)
    lines += [advice] if advice else []
    lines.append(f"On the cluster: {job.folder}")
    if found.tail:
        lines += [f"The last {TAIL_LINES} lines of its log:", found.tail.rstrip()]
    return "\n".join(lines)


def _limits(ending: Ending, found: Evidence, spec: SbatchSpec) -> str:
    if ending.verdict is not Verdict.STUCK:
        return ""
    known = [each for each in found.partitions if spec.partition in (None, each.name)]
    said = "; ".join(
        f"{each.name} allows {each.max_time_min or 'any number of'} min, {each.cpus} CPUs, {each.memory_mib} MiB a node"
        for each in known
    )
    return f"It would never have started. Slurm partitions: {said or 'unknown'}."
