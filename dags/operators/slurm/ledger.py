"""The ledger on the cluster: which generation of a task has which job, and what follows for the next try.

The ledger is the truth, Airflow's own records are not: a crash between sbatch and the record, a lost reply or a retry
finds the job that there is. See ``remote/ledger.sh`` for the files.
"""

import shlex
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from dags.operators.slurm.errors import QueueUnavailableError, SpecError, SubmissionError, TransferError, TransportError
from dags.operators.slurm.keys import job_name
from dags.operators.slurm.parsing import Answer, JobView, own_state, seen, unpacked
from dags.operators.slurm.spec import Escalation, QueueName
from dags.operators.slurm.states import is_active

#: New log text per job and poll; a job that writes faster is shown from its end.
LOG_BYTES = 64 * 1024


@dataclass(frozen=True)
class Job:
    """One submission. ``folder`` is its place on the cluster."""

    job_id: str
    name: str
    folder: str
    generation: int
    how: str = "NEW"
    escalated: str = ""


@dataclass(frozen=True)
class Facts:
    """What is known of the newest generation; -1 means that the task never ran here."""

    base: str
    generation: int = -1
    job_id: str = ""
    marks: dict[str, str] = field(default_factory=dict)
    view: JobView | None = None


@dataclass(frozen=True)
class Attach:
    """Take the job that is there."""

    job: Job


@dataclass(frozen=True)
class Submit:
    """Make generation ``generation`` of the job, with more of what ``escalate`` says that the last one ran out of."""

    generation: int
    escalate: str = ""


def next_step(facts: Facts, name: str, escalation: Escalation, claim: str = "") -> Attach | Submit:
    """Whether the next try takes up the job that there is, or begins a new generation.

    A job that was killed, whose result was used, or whose end was judged is over: clearing a task runs it again. So is
    one that failed. One that goes on, or ended well while nobody looked, is taken up. A generation whose submission
    was never answered is submitted again *as the same generation*, which looks for its job by name first.

    A result that was used under the same ``claim`` (see `work.Request`) is used again: the try that used it died, or
    lost its connection, before Airflow knew of its success.
    """
    if facts.generation < 0:
        return Submit(0)
    marks = facts.marks
    is_ours = bool(claim) and marks.get("consumed") == claim
    over = [mark for mark in ("rejected", "killed", "ended", "consumed") if mark in marks]
    if not over or (is_ours and over == ["consumed"]):
        if not facts.job_id:
            return Submit(facts.generation, marks.get("escalated", ""))
        if is_ours or (facts.view and (is_active(facts.view.state) or facts.view.state == "COMPLETED")):
            number = job_name(name, facts.generation)
            folder = f"{facts.base}/jobs/{name}/g{facts.generation}"
            return Attach(
                Job(facts.job_id, number, folder, facts.generation, "OLD", marks.get("escalated", ""))
            )  # fmt: skip
    # The try that saw the end may not have come as far as noting it.
    ended = marks.get("ended") or (facts.view.state if facts.view and not over else "")
    if escalation.factor(ended) and not marks.get("escalated"):
        return Submit(facts.generation + 1, ended)
    return Submit(facts.generation + 1)


def read_facts(found: Answer, name: str) -> Facts:
    """From the answer of ``look``."""
    refuse(found, "Looking into the ledger")
    generation = int(found.one("GENERATION") or -1)
    job_id = found.one("ID") or ""
    marks = {mark: text for mark, _, text in (line.partition(" ") for line in found.all("MARK"))}
    state = found.one("STATE")
    own = own_state(state.partition(" ")[2]) if state else None
    view = seen(job_id, job_name(name, generation), found, own) if job_id else None
    return Facts(found.one("BASE") or "", generation, job_id, marks, view)


def read_submission(found: Answer, name: str, generation: int, escalated: str = "") -> Job:
    """From the answer of ``submit``."""
    refuse(found, "Submitting")
    how, job_id, folder = (found.one("ANSWER") or "").split(" ", 2)
    return Job(job_id, job_name(name, generation), folder, generation, how, escalated)


def remote_script(
    queue: QueueName, verb: str, *args: str, given: str | None = None, log_bytes: int = LOG_BYTES
) -> bytes:
    """The bash that does ``verb``, for the standard input of ``bash -s``: nothing of it is on a command line.

    ``given`` becomes the standard input of the verb; lines only, none of them equal to the word that ends it.
    """
    parts = [_text("ledger.sh"), _text(f"{queue}.sh"), f"LOG_BYTES={log_bytes}\n", _text(f"{verb}.sh")]
    call = " ".join(["main", *(shlex.quote(arg) for arg in args)])
    # Whoever reads from standard input by accident must not read the rest of this script.
    parts.append(f"{call} < /dev/null\n" if given is None else f"{call} <<'END_OF_INPUT'\n{given}\nEND_OF_INPUT\n")
    return "".join(parts).encode()


def refuse(found: Answer, what: str) -> None:
    """Raise what the script on the cluster found to be wrong, if anything."""
    problem = found.one("PROBLEM")
    if problem is None:
        return
    kind, _, packed = problem.partition(" ")
    said = unpacked(packed).decode("utf-8", "replace").strip()
    if kind == "refused":
        raise SubmissionError(
            what, found=f"sbatch says: {said}", required="a job that Slurm accepts",
            next_step="Correct the task's sbatch settings, then clear it.", changed="No job was made.",
        )  # fmt: skip
    if kind in {"unsure", "busy", "queue"}:
        raise QueueUnavailableError(
            what, found=said, required="an answer of the queue",
            next_step="The next try looks for the job by its name before it submits.",
            changed="There may be a job.",
        )  # fmt: skip
    if kind == "transfer":
        raise TransferError(what, found=said, required="what was sent", next_step="It is sent again.")
    if kind == "place":
        raise SpecError(
            what, found=said, required="a folder of our own on the cluster",
            next_step="Set base_dir in the connection to a folder on a file system that all nodes see.",
        )  # fmt: skip
    raise TransportError(what, found=f"{kind}: {said}", required="a submission", next_step="It is tried again.")


@cache
def _text(name: str) -> str:
    return (resources.files("dags.operators.slurm") / "remote" / name).read_text(encoding="utf-8")
