"""Compute profiles: what an application may use, by name. DAGs and ``millrace submit`` name one and never a size."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.errors import ConfigurationError

ProfileName = Literal["small", "large"]


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


# A worker offers 3 GiB and 3 slots, and the stream's executor takes 1.5 GiB: no executor is larger than the other half,
# so that no application waits for another one's memory. The time limits are ten times what the steps take.
PROFILES: dict[ProfileName, ComputeProfile] = {
    "small": ComputeProfile(driver_memory_mib=1024, executor_memory_mib=1024, short_lived=True, time_limit_minutes=20),
    "large": ComputeProfile(driver_memory_mib=2048, executor_memory_mib=1536, short_lived=False, time_limit_minutes=90),
}


def profile(name: str) -> ComputeProfile:
    """The profile called ``name``; another name is a ConfigurationError that lists those that exist."""
    found = next((size for known, size in PROFILES.items() if known == name), None)
    if found is None:
        raise ConfigurationError(
            "Choosing a compute profile",
            found=repr(name),
            required="one of " + ", ".join(PROFILES),
            next_step="Correct the name, or add the profile to contracts/profiles.py.",
        )
    return found
