"""What a job's state means for its task."""

from enum import StrEnum

from contracts.errors import ExitCode


class Verdict(StrEnum):
    """ACTIVE goes on; the others are ends. LOST and RETRY are worth another try, FATAL and STUCK are not."""

    ACTIVE = "active"
    SUCCESS = "success"
    RETRY = "retry"
    FATAL = "fatal"
    STUCK = "stuck"
    LOST = "lost"
    KILLED = "killed"


_ACTIVE = frozenset(
    {
        "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING",
        "RESV_DEL_HOLD", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "EXPEDITING",
    }
)  # fmt: skip
#: The cluster's fault, not the application's.
_WORTH_A_RETRY = frozenset(
    {
        "NODE_FAIL",
        "BOOT_FAIL",
        "PREEMPTED",
        "REVOKED",
        "LAUNCH_FAILED",
        "RECONFIG_FAIL",
        "POWER_UP_FAILED",
        # Of our own script: no trigger ever asked about the job.
        "UNWATCHED",
    }
)
#: Reasons of pending jobs that only a change of the job would end (squeue's manual, "JOB REASON CODES").
HOPELESS = frozenset(
    {
        "PartitionTimeLimit", "PartitionNodeLimit", "DependencyNeverSatisfied", "BadConstraints", "InvalidAccount",
        "InvalidQOS", "AccountNotAllowed", "QOSNotAllowed", "AssocMaxWallDurationPerJobLimit",
        "AssocMaxCpuPerJobLimit", "AssocMaxNodePerJobLimit", "AssocMaxMemPerJob", "QOSMaxWallDurationPerJobLimit",
        "QOSMaxCpuPerJobLimit", "QOSMaxNodePerJobLimit", "QOSMaxMemoryPerJob", "QOSTimeLimit",
        "launch failed requeued held", "JobLaunchFailure", "NodeCountNotAvail",
    }
)  # fmt: skip
PHASES = {
    # Phases of our own script, for sites where Slurm forgets a job before anybody asked how it ended.
    "finished": "COMPLETED", "failed": "FAILED", "time_limit": "TIMEOUT", "terminated": "CANCELLED",
    "unwatched": "UNWATCHED",
}  # fmt: skip
_UNAVAILABLE = (ExitCode.UNAVAILABLE, ExitCode.LOCK_HELD)


def plain_state(text: str) -> str:
    """``CANCELLED by 1000`` and ``CANCELLED+`` without what follows the name."""
    words = text.split()
    return words[0].rstrip("+").upper() if words else ""


def is_active(state: str) -> bool:
    return state in _ACTIVE


def classify(state: str, reason: str = "", exit_code: str = "", *, killed: bool = False) -> Verdict:
    """The verdict on a plain ``state``; ``exit_code`` is Slurm's ``code:signal``; ``killed``: we asked for its end.

    An empty state is a job that nobody knows: LOST. An unknown one is new to us and counts as active: our own limits
    end it, and a job is never submitted twice for want of a word.
    """
    if not state:
        return Verdict.KILLED if killed else Verdict.LOST
    if state == "PENDING" and reason in HOPELESS:
        return Verdict.STUCK
    if state == "COMPLETED":
        return Verdict.SUCCESS
    if killed and not is_active(state):
        return Verdict.KILLED
    if state in _WORTH_A_RETRY:
        return Verdict.RETRY
    if state == "FAILED":
        code = exit_code.partition(":")[0]
        return Verdict.RETRY if code in {str(int(each)) for each in _UNAVAILABLE} else Verdict.FATAL
    if state in {"TIMEOUT", "OUT_OF_MEMORY", "DEADLINE", "CANCELLED"}:
        return Verdict.FATAL
    return Verdict.ACTIVE
