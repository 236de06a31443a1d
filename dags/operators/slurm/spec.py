"""What a job asks of a cluster: validated where the DAG is parsed, so that no typing error waits in a queue first."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,-]{0,99}$")]
Module = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,99}$")]

#: Of paths on the cluster, where its shell expands the names $HOME and $USER.
PATH_PATTERN = r"([A-Za-z0-9_./+~=-]|\$HOME|\$USER)*"

#: Options beyond the fields that a task may pass. None of them can start a program, change an identity, or move the
#: files that the operator relies on.
EXTRA_OPTIONS = frozenset(
    {
        "begin", "contiguous", "deadline", "delay-boot", "dependency", "exclude", "exclusive", "hint",
        "kill-on-invalid-dep", "licenses", "mem-bind", "nice", "nodelist", "priority", "reservation", "spread-job",
        "switches", "threads-per-core", "tmp", "wckey",
    }
)  # fmt: skip
_EXTRA_VALUE = re.compile(r"[A-Za-z0-9_.,:+@%/=\[\]-]{0,200}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
#: The script, and with it the environment, is stored in clear on the cluster and in Slurm's own records.
_SECRET_NAME = re.compile(r"secret|passw|token|credential|private|(^|_)key($|_)", re.IGNORECASE)
#: What Slurm and the job's script set themselves.
_RESERVED = re.compile(r"(SLURM|SBATCH|LD_|BASH_|SPARK_CONF_DIR$|PATH$|HOME$|IFS$|ENV$)", re.IGNORECASE)


def _extra(options: dict[str, str | None]) -> dict[str, str | None]:
    for name, value in options.items():
        if name not in EXTRA_OPTIONS:
            raise ValueError(f"option {name!r} is not one of {', '.join(sorted(EXTRA_OPTIONS))}")
        if value is not None and not _EXTRA_VALUE.fullmatch(value):
            raise ValueError(f"option {name} has the value {value!r} with characters that sbatch does not need")
    return options


def environment(variables: dict[str, str]) -> dict[str, str]:
    """Variables as a job may have them; ValueError for names that hold secrets or that the job sets itself."""
    for name, value in variables.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for an environment variable")
        if _SECRET_NAME.search(name):
            raise ValueError(f"{name} looks like a secret, and a job's script can be read on the cluster")
        if _RESERVED.match(name):
            raise ValueError(f"{name} is set by Slurm or by the job's script")
        if "\n" in value or "\0" in value:
            raise ValueError(f"the value of {name} holds a line break")
    return variables


class SbatchSpec(BaseModel):
    """Resources of one Slurm job. Memory is MiB per node; a task is one Spark worker, so there is one per node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_mib: int = Field(ge=256, le=16 * 1024 * 1024)
    time_limit_min: int = Field(ge=1, le=60 * 24 * 30)
    nodes: int = Field(default=1, ge=1, le=1024)
    cpus_per_task: int = Field(default=1, ge=1, le=1024)
    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    gres: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_:.,-]+$")
    constraint: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_&|,*()\[\]-]+$")
    #: Slurm itself starts the job again after a lost node or a preemption; otherwise Airflow does.
    requeue: bool = False
    #: So many seconds before the time limit the job's script is told to end in order.
    signal_s: int = Field(default=60, ge=0, le=3600)
    #: In addition to those of the site.
    modules: tuple[Module, ...] = ()
    env: Annotated[dict[str, str], AfterValidator(environment)] = {}
    extra: Annotated[dict[str, str | None], AfterValidator(_extra)] = {}

    @model_validator(mode="after")
    def _signal_before_end(self) -> Self:
        if self.signal_s >= self.time_limit_min * 60:
            raise ValueError(f"signal_s={self.signal_s} is not before the time limit of {self.time_limit_min} min")
        return self

    def directives(self) -> list[str]:
        """The ``#SBATCH`` options, without those that name the job and its files."""
        named = (
            ("partition", self.partition), ("account", self.account), ("qos", self.qos), ("nodes", self.nodes),
            ("ntasks-per-node", 1), ("cpus-per-task", self.cpus_per_task), ("mem", f"{self.memory_mib}M"),
            ("time", self.time_limit_min), ("gres", self.gres), ("constraint", self.constraint),
        )  # fmt: skip
        options = [f"--{name}={value}" for name, value in named if value is not None]
        options.append("--requeue" if self.requeue else "--no-requeue")
        if self.signal_s:
            # B: the script only; it ends its Spark processes in order.
            options.append(f"--signal=B:TERM@{self.signal_s}")
        for name, value in sorted(self.extra.items()):
            options.append(f"--{name}" if value is None else f"--{name}={value}")
        return [*options, "--open-mode=append"]

    def escalated(self, state: str, factor: float) -> Self:
        """The same job with ``factor`` times what it ran out of: memory, or time."""
        if state == "OUT_OF_MEMORY":
            return self.model_copy(update={"memory_mib": int(self.memory_mib * factor)})
        return self.model_copy(update={"time_limit_min": int(self.time_limit_min * factor)})


class Limits(BaseModel):
    """How long a task waits, in seconds: our own limits, on top of Slurm's. None is for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_queue_s: float | None = Field(default=None, gt=0)
    max_run_s: float | None = Field(default=None, gt=0)
    #: The jobs go on while SSH or the controller is away; after so long the task is retried.
    max_outage_s: float = Field(default=1800, gt=0)
    pending_poll_s: float = Field(default=15, gt=0)
    running_poll_s: float = Field(default=5, gt=0)
    #: A job that neither squeue nor sacct knows is lost after this many polls in a row.
    lost_after_polls: int = Field(default=6, ge=1)


class Escalation(BaseModel):
    """Factors for one more attempt with more memory or time; None: such an end is final."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    OUT_OF_MEMORY: float | None = Field(default=None, gt=1, le=8)
    TIMEOUT: float | None = Field(default=None, gt=1, le=8)

    def factor(self, state: str) -> float | None:
        return self.model_dump().get(state)


QueueName = Literal["slurm", "detached"]
