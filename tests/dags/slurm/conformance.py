"""What a task must make of what happens to its job: one table, for the fake transport and for a living cluster.

A scenario is a list of polls, each of them what the cluster answers at one moment, then the expectation. Rows are those
that Slurm 22.05 printed in the lab (``recorded/``), with the job's id and name.
"""

from dataclasses import dataclass, field

from dags.operators.slurm.spec import Escalation, Limits

ID, NAME = "4711", "millrace.dag.task.run.0123456789abcdef.g0"


@dataclass(frozen=True)
class Poll:
    """One answer. ``error``: the connection is down; ``queue_error``: the host answers, its controller does not."""

    rows: tuple[str, ...] = ()
    error: str = ""
    queue_error: str = ""
    killed: bool = False
    log: str = ""
    seconds: float = 10.0


@dataclass(frozen=True)
class Scenario:
    """``verdict``, ``state`` of the ending; ``decision`` for the task; ``cancels``: scancel is called by us."""

    name: str
    polls: tuple[Poll, ...]
    verdict: str
    decision: str
    state: str = ""
    cancels: bool = False
    says: str = ""
    tail: str = ""
    limits: Limits = field(default_factory=Limits)
    escalation: Escalation = field(default_factory=Escalation)
    escalated: str = ""


def squeue(state: str, reason: str = "None", *, starts: str = "N/A", name: str = NAME, elapsed: str = "0:05") -> str:
    node = "" if state == "PENDING" else "hpc1"
    return f"QUEUE {ID}|{state}|{reason}|{starts}|{name}|{node}|{elapsed}|10:00"


def scontrol(state: str, code: str = "0:0", reason: str = "None", *, restarts: int = 0, name: str = NAME) -> str:
    return (
        f"DETAIL JobId={ID} JobName={name} UserId=user(1000) GroupId=user(1000) MCS_label=N/A Account=lab QOS=normal "
        f"JobState={state} Reason={reason} Dependency=(null) Requeue=1 Restarts={restarts} BatchFlag=1 ExitCode={code} "
        f"RunTime=00:00:05 TimeLimit=00:10:00 StartTime=2026-11-30T15:11:34 NodeList=hpc1 NumNodes=1 NumCPUs=2"
    )


def sacct(state: str, code: str = "0:0", *, name: str = NAME) -> str:
    return f"ACCOUNT {ID}|{state}|{code}|{name}"


def own(phase: str, code: "int | str" = "null", restart: int = 0) -> str:
    return (
        f'STATE {ID} {{"job_id": "{ID}", "phase": "{phase}", "restart": {restart}, "exit_code": {code}, '
        f'"node": "hpc1", "at": 1796000000}}'
    )


def over(state: str, code: str = "0:0", reason: str = "None", **more: int) -> Poll:
    """A job that Slurm still remembers after its end."""
    return Poll((squeue(state, reason), scontrol(state, code, reason, **more)))


PENDING = Poll((squeue("PENDING", "Priority", starts="2026-11-30T16:00:00"),))
RUNNING = Poll((squeue("RUNNING"), own("running")))
DONE = over("COMPLETED")
NOBODY = Poll()
DOWN = Poll(error="no route to host")
BUSY = Poll(queue_error="squeue: slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
LOST_AFTER_3 = Limits(lost_after_polls=3)


def stuck(reason: str) -> Scenario:
    return Scenario(
        f"pending for ever because of {reason}", (Poll((squeue("PENDING", reason),)),), "stuck", "fail", "PENDING",
        cancels=True,
    )  # fmt: skip


def goes_on(name: str, *during: Poll, says: str = "") -> Scenario:
    """Whatever happens in between, the job is still ours and its end counts."""
    return Scenario(name, (PENDING, RUNNING, *during, DONE), "success", "done", "COMPLETED", says=says)


MEMORY_LOG = "slurmstepd: error: StepId=4711.batch exceeded memory limit (955435008 > 314572800), being killed"

SCENARIOS = [
    # Ends that are the application's.
    Scenario("runs and ends well", (PENDING, RUNNING, DONE), "success", "done", "COMPLETED"),
    Scenario("over before it was first asked about", (DONE,), "success", "done", "COMPLETED"),
    Scenario("squeue forgot it, the accounts say completed", (RUNNING, Poll((sacct("COMPLETED"),))), "success", "done",
             "COMPLETED"),
    Scenario("no accounts at the site, its script noted the end", (RUNNING, Poll((own("finished", 0),))), "success",
             "done", "COMPLETED"),
    Scenario("exit code 7", (RUNNING, over("FAILED", "7:0", "NonZeroExitCode")), "fatal", "fail", "FAILED"),
    Scenario("exit code 2: contract broken", (RUNNING, over("FAILED", "2:0", "NonZeroExitCode")), "fatal", "fail",
             "FAILED"),
    Scenario("exit code 5: a dependency was unavailable", (over("FAILED", "5:0", "NonZeroExitCode"),), "retry", "retry",
             "FAILED"),
    Scenario("exit code 6: a lock was held", (over("FAILED", "6:0", "NonZeroExitCode"),), "retry", "retry", "FAILED"),
    Scenario("exit code 69: no environment on the cluster", (over("FAILED", "69:0", "NonZeroExitCode"),), "fatal",
             "fail", "FAILED"),
    Scenario("no accounts, its script noted a failure", (RUNNING, Poll((own("failed", 3),))), "fatal", "fail",
             "FAILED"),
    Scenario("no accounts, its script noted that a dependency was unavailable", (Poll((own("failed", 5),)),), "retry",
             "retry", "FAILED"),
    Scenario("killed itself with signal 9", (RUNNING, over("FAILED", "0:9", "JobLaunchFailure")), "fatal", "fail",
             "FAILED"),
    Scenario("nobody asked about it in time, its script ended it",
             (Poll((*over("FAILED", "143:0", "NonZeroExitCode").rows, own("unwatched", 143))),), "retry", "retry",
             "UNWATCHED"),
    # Limits of the cluster.
    Scenario("out of memory, with cgroups", (RUNNING, over("OUT_OF_MEMORY", "0:125", "OutOfMemory")), "fatal", "fail",
             "OUT_OF_MEMORY", says="set memory_mib to"),
    Scenario("out of memory, without cgroups: only its log says so",
             (RUNNING, over("FAILED", "0:9", "JobLaunchFailure")), "fatal", "fail", "FAILED", tail=MEMORY_LOG,
             says="OUT_OF_MEMORY"),
    Scenario("out of memory, and the task may escalate", (over("OUT_OF_MEMORY", "0:125"),), "fatal", "retry",
             "OUT_OF_MEMORY", escalation=Escalation(OUT_OF_MEMORY=1.5)),
    Scenario("out of memory without cgroups, and the task may escalate", (over("FAILED", "0:9"),), "fatal", "retry",
             "FAILED", tail=MEMORY_LOG, escalation=Escalation(OUT_OF_MEMORY=1.5)),
    Scenario("out of memory a second time", (over("OUT_OF_MEMORY", "0:125"),), "fatal", "fail", "OUT_OF_MEMORY",
             escalation=Escalation(OUT_OF_MEMORY=1.5), escalated="OUT_OF_MEMORY"),
    Scenario("time limit", (RUNNING, over("TIMEOUT", "0:15", "TimeLimit")), "fatal", "fail", "TIMEOUT",
             says="set time_limit_min above"),
    Scenario("time limit, its script heard the signal and ended as FAILED 143",
             (RUNNING, Poll((*over("FAILED", "143:0", "NonZeroExitCode").rows, own("time_limit", 143)))), "fatal",
             "fail", "TIMEOUT", says="set time_limit_min above"),
    Scenario("time limit, and the task may escalate", (over("TIMEOUT", "0:15", "TimeLimit"),), "fatal", "retry",
             "TIMEOUT", escalation=Escalation(TIMEOUT=2)),
    Scenario("deadline of the job", (over("DEADLINE"),), "fatal", "fail", "DEADLINE"),
    # The cluster's own faults.
    Scenario("lost node, no requeue", (RUNNING, over("NODE_FAIL", "0:0")), "retry", "retry", "NODE_FAIL"),
    Scenario("lost node, no requeue, known to the accounts alone", (RUNNING, Poll((sacct("NODE_FAIL"),))), "retry",
             "retry", "NODE_FAIL"),
    goes_on("lost node, requeued: the accounts show an end, squeue a job that waits",
            Poll((squeue("PENDING", "BeginTime"), sacct("NODE_FAIL"))), RUNNING, says="it was requeued"),
    Scenario("node does not boot", (over("BOOT_FAIL"),), "retry", "retry", "BOOT_FAIL"),
    Scenario("preempted, no requeue", (RUNNING, over("PREEMPTED", "0:15")), "retry", "retry", "PREEMPTED"),
    goes_on("preempted and requeued", Poll((squeue("PENDING", "BeginTime"), sacct("PREEMPTED"))),
            Poll((squeue("RUNNING"), own("running", restart=1))), says="restart 1"),
    goes_on("requeued by hand, the accounts still say REQUEUED", Poll((sacct("REQUEUED"),)), RUNNING),
    goes_on("requeued into a hold", Poll((squeue("REQUEUE_HOLD", "job requeued in held state"),)), PENDING, RUNNING),
    Scenario("launch failed too often, held", (Poll((squeue("PENDING", "launch failed requeued held"),)),), "stuck",
             "fail", "PENDING", cancels=True),
    # Waiting that is none of our business.
    goes_on("suspended and resumed", Poll((squeue("SUSPENDED"),)), RUNNING),
    goes_on("configuring nodes", Poll((squeue("CONFIGURING"),)), RUNNING),
    goes_on("completing for a while", Poll((squeue("COMPLETING"),))),
    goes_on("staging out", Poll((squeue("STAGE_OUT"),))),
    goes_on("stopped by a signal", Poll((squeue("STOPPED"),)), RUNNING),
    goes_on("a state that a later Slurm will have", Poll((squeue("QUANTUM_LEAP"),)), RUNNING),
    goes_on("held by a person, then released", Poll((squeue("PENDING", "JobHeldUser"),)), PENDING, RUNNING),
    goes_on("nodes are down for now", Poll((squeue("PENDING", "ReqNodeNotAvail, UnavailableNodes:hpc1"),)), RUNNING),
    # Waiting without hope.
    *(stuck(reason) for reason in (
        "PartitionTimeLimit", "DependencyNeverSatisfied", "PartitionNodeLimit", "InvalidAccount", "InvalidQOS",
        "QOSMaxWallDurationPerJobLimit", "AssocMaxMemPerJob", "BadConstraints")),
    Scenario("pending for longer than max_queue_s", (PENDING, PENDING, PENDING), "fatal", "fail", "QUEUE_LIMIT",
             cancels=True, limits=Limits(max_queue_s=25)),
    Scenario("running for longer than max_run_s", (PENDING, Poll((squeue("RUNNING", elapsed="2:00:00"),))), "fatal",
             "fail", "RUN_LIMIT", cancels=True, limits=Limits(max_run_s=3600)),
    # Cancelled.
    Scenario("cancelled by us", (RUNNING, Poll((squeue("CANCELLED"), scontrol("CANCELLED", "0:15")), killed=True)),
             "killed", "fail", "CANCELLED"),
    Scenario("cancelled by another user, while it ran", (RUNNING, Poll((sacct("CANCELLED by 1001"),))), "fatal", "fail",
             "CANCELLED", says="by user 1001"),
    Scenario("cancelled by another user, while it waited", (PENDING, over("CANCELLED")), "fatal", "fail", "CANCELLED",
             says="Somebody else cancelled it"),
    Scenario("cancelled by us and known to nobody any more", (RUNNING, *[Poll(killed=True)] * 3), "killed", "fail",
             limits=LOST_AFTER_3),
    # Lost, and not lost.
    Scenario("known to nobody, for many polls", (RUNNING, NOBODY, NOBODY, NOBODY), "lost", "retry",
             limits=LOST_AFTER_3),
    goes_on("known to nobody for a moment", NOBODY, NOBODY, RUNNING, NOBODY, NOBODY, RUNNING),
    Scenario("its id was given to somebody else's job",
             (RUNNING, *[Poll((squeue("RUNNING", name="stranger"), sacct("RUNNING", name="stranger")))] * 3), "lost",
             "retry", limits=LOST_AFTER_3),
    Scenario("its id was given to a job that ended well",
             (RUNNING, *[Poll((squeue("COMPLETED", name="stranger"), scontrol("COMPLETED", name="stranger")))] * 3),
             "lost", "retry", limits=LOST_AFTER_3),
    goes_on("the connection is lost and comes back", DOWN, DOWN, RUNNING, says="no answer from the cluster"),
    goes_on("the controller is restarted", BUSY, BUSY, BUSY, RUNNING),
    goes_on("an outage longer than a job is unknown for", *[DOWN] * 30),
    Scenario("an outage beyond the limit", (RUNNING, DOWN, DOWN, DOWN), "lost", "retry", "OUTAGE",
             limits=Limits(max_outage_s=25)),
    Scenario("the controller is away beyond the limit", (RUNNING, BUSY, BUSY, BUSY), "lost", "retry", "OUTAGE",
             limits=Limits(max_outage_s=25)),
]  # fmt: skip
