"""Compute profiles: what an application may use, and where, by name. DAGs name one and never a size."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.errors import ConfigurationError

ClusterProfileName = Literal["small", "large"]
ProfileName = Literal["small", "large", "hpc"]


class ComputeProfile(BaseModel):
    """Cores and memory of one Spark application on the standalone cluster, and how long a try may take.

    Memory is the JVM heap in MiB. ``cores`` is ``spark.cores.max``: an application never holds more slots, so that the
    stream and two batch applications fit beside each other. They may come from two workers, one each, which is why no
    profile asks for a number of cores per executor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver_memory_mib: int = Field(gt=0)
    executor_memory_mib: int = Field(gt=0)
    cores: int = Field(default=2, gt=0)
    #: Over within minutes: the driver starts from the class-data-sharing archive and is compiled once, lightly.
    short_lived: bool
    time_limit_minutes: int = Field(gt=0)


class HpcProfile(BaseModel):
    """What a Slurm job of one Spark application asks for; account and Slurm partition are the connection's business.

    Memory is that of a node in MiB, Spark's and Python's share together. What the training needs on the platform's own
    cluster before and behind it, and where somebody wants it to run there after all, is ``on_cluster``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_mib: int = Field(gt=0)
    cores: int = Field(gt=0)
    nodes: int = Field(default=1, gt=0)
    time_limit_minutes: int = Field(gt=0)
    #: A job that waits longer for its nodes is given up.
    queue_limit_minutes: int = Field(default=240, gt=0)
    on_cluster: ClusterProfileName


# A worker offers 3 GiB and 3 slots, and the stream's executor takes 1.5 GiB: no executor is larger than the other half,
# so that no application waits for another one's memory. The time limits are ten times what the steps take.
PROFILES: dict[ClusterProfileName, ComputeProfile] = {
    "small": ComputeProfile(driver_memory_mib=1024, executor_memory_mib=1024, short_lived=True, time_limit_minutes=20),
    "large": ComputeProfile(driver_memory_mib=2048, executor_memory_mib=1536, short_lived=False, time_limit_minutes=90),
}

#: Fits the lab's nodes (infra/slurm); a cluster of its own has larger ones: change it here.
HPC_PROFILES: dict[str, HpcProfile] = {
    "hpc": HpcProfile(memory_mib=4096, cores=2, time_limit_minutes=60, on_cluster="large")
}


def profile(name: str) -> ComputeProfile:
    """What ``name`` is on the platform's own cluster; another name is a ConfigurationError that lists all."""
    known = HPC_PROFILES[name].on_cluster if name in HPC_PROFILES else name
    found = next((size for each, size in PROFILES.items() if each == known), None)
    if found is None:
        raise ConfigurationError(
            "Choosing a compute profile",
            found=repr(name),
            required="one of " + ", ".join([*PROFILES, *HPC_PROFILES]),
            next_step="Correct the name, or add the profile to contracts/profiles.py.",
        )
    return found
