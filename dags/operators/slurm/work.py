"""One task's work on a cluster, from its files to its outcome; knows nothing of Airflow."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contracts.errors import PlatformError
from contracts.results import RunContext
from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.conclusion import Decision, complaint, decide, effective_state, evidence, read_result
from dags.operators.slurm.errors import ResultError, SpecError
from dags.operators.slurm.fetching import fetch
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.ledger import Attach, Job, next_step
from dags.operators.slurm.script import Program, job_script
from dags.operators.slurm.settings import ClusterSettings
from dags.operators.slurm.sites import require_fits, site
from dags.operators.slurm.spec import Escalation, SbatchSpec
from dags.operators.slurm.staging import Input, stage, stage_text
from dags.operators.slurm.usage import against
from dags.operators.slurm.waiting import Ending, Say


@dataclass(frozen=True)
class Request:
    """What a task wants done."""

    key: WorkKey
    spec: SbatchSpec
    application: str
    code: str
    args: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    escalation: Escalation = field(default_factory=Escalation)
    #: Where the artefacts go; None leaves them on the cluster.
    outputs: Path | None = None
    #: The same for all tries that follow each other by themselves, another one once a person cleared the task: who of
    #: them may use the result of a job that one of them used already. Without it nobody may.
    claim: str = ""


@dataclass(frozen=True)
class Outcome:
    """``status`` is the run result's; ``summary`` goes to XCom."""

    decision: Decision
    message: str
    status: str = "done"
    summary: dict[str, Any] = field(default_factory=dict)


async def submit(cluster: Cluster, settings: ClusterSettings, request: Request, *, say: Say) -> Job:
    """The job of this task: the one that there is, or a new one. Never two."""
    place = site(settings.site)
    require_fits(request.spec, place)
    name = request.key.name(settings.namespace)
    facts = await cluster.look(settings.base_dir or place.base_dir, name)
    step = next_step(facts, name, request.escalation, request.claim)
    if isinstance(step, Attach):
        say(f"job {step.job.job_id} of generation {step.job.generation} is taken up: {facts.view}")
        return step.job
    spec = request.spec
    if step.escalate:
        spec = _escalated(spec, step.escalate, request.escalation)
        require_fits(spec, place)
        say(f"escalated after {step.escalate}: {spec.memory_mib} MiB, {spec.time_limit_min} min")
    staged = await stage(cluster, facts.base, request.inputs)
    program = Program(
        request.application, request.code, request.args, staged, settings.venv, settings.jars, settings.java_home
    )  # fmt: skip
    script = await stage_text(cluster, facts.base, job_script(spec, program, place, cluster.queue))
    job = await cluster.submit(facts.base, name, step.generation, script, step.escalate)
    say(f"job {job.job_id} ({job.how}) generation {job.generation}: {job.name} in {job.folder}")
    return job


async def conclude(
    cluster: Cluster, job: Job, ending: Ending, request: Request, context: RunContext, runs: Path, *, say: Say
) -> Outcome:  # fmt: skip
    """Judge the end, bring the results back, and note both in the ledger.

    Errors of the connection are raised: the next try takes the same job up again, unless this one is final anyhow.
    """
    spec = _escalated(request.spec, job.escalated, request.escalation) if job.escalated else request.spec
    if ending.state == "OUTAGE":
        return Outcome("retry", f"Job {job.job_id} goes on, as far as is known: {ending.reason}")
    found = await evidence(cluster, job, spec)
    state = effective_state(ending, found.tail)
    decision, why = decide(ending, state, request.escalation, job.escalated)
    say(f"job {job.job_id}: {state or 'LOST'}; {against(found.usage, spec)}; usage {found.usage.as_dict()}")
    about = {"job_id": job.job_id, "name": job.name, "generation": job.generation, "state": state,
             "folder": job.folder, "restarts": ending.restarts}  # fmt: skip
    if decision != "done":
        try:
            await cluster.mark(job, "ended", state or "LOST")
        except PlatformError as error:
            if decision == "retry":
                raise
            # What failed for good is not run again because a note about it was lost.
            say(f"the ledger could not be told: {error}")
        message = complaint(job, ending, state, found, spec, why)
        return Outcome(decision, message, "failed", {"job": about, "usage": found.usage.as_dict()})
    try:
        result = read_result(found.result, job, context)
        local = await fetch(cluster, job, result, request.outputs) if request.outputs else result
    except ResultError:
        await cluster.mark(job, "ended", "NO_RESULT")
        raise
    # Filed like that of any other task of the run; the try that fetched it need not be the one that submitted it.
    local.model_copy(update={"context": context}).write(runs)
    await cluster.mark(job, "consumed", request.claim or str(context.try_number))
    fields = {"status", "rows", "metrics", "hashes", "facts", "message", "artefacts"}
    summary = local.model_dump(mode="json", include=fields) | {"job": about, "usage": found.usage.as_dict()}
    return Outcome("done", f"job {job.job_id} is done: {local.status} {local.message}", local.status, summary)


def checked(model: type[SbatchSpec], fields: dict[str, Any]) -> SbatchSpec:
    """A SpecError for fields that templates or the connection made wrong."""
    try:
        return model(**fields)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SpecError(
            "Reading the sbatch settings of a task", found=found, required="the fields of SbatchSpec",
            next_step="Correct the task, or the defaults in the connection.",
        ) from error  # fmt: skip


def _escalated(spec: SbatchSpec, state: str, escalation: Escalation) -> SbatchSpec:
    factor = escalation.factor(state)
    return spec.escalated(state, factor) if factor else spec
