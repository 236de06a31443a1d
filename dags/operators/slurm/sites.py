"""Site profiles: how Java and Python come to life on a cluster, and what its administrators allow."""

import shlex
from dataclasses import dataclass

from dags.operators.slurm.errors import SpecError
from dags.operators.slurm.spec import SbatchSpec


@dataclass(frozen=True)
class Site:
    """Facts about one cluster. Times in minutes, memory in MiB per node; None where a site has no such limit."""

    name: str
    #: Bash that makes `module` known in a batch shell; empty where there are no modules.
    module_init: str = ""
    modules: tuple[str, ...] = ()
    max_time_min: int | None = None
    max_memory_mib: int | None = None
    max_cpus: int | None = None
    #: Where the operator's folder lives when the connection does not say; expanded by the cluster's shell.
    base_dir: str = "$HOME/millrace"


SITES = {
    # Public documentation of Sheffield's Stanage (rcgsheffield/sheffield_hpc: stanage/cluster_specs.rst,
    # hpc/filestore.rst, referenceinfo/imports/scheduler), snapshot of 2024-07-31. The largest nodes have 2 TB, the most
    # that a standard one gives is 251 GB; jobs end after 96 h. Lustre has no quota, home 300,000 files at most.
    "stanage": Site(
        name="stanage",
        module_init="[ -r /etc/profile.d/modules.sh ] && . /etc/profile.d/modules.sh || true",
        modules=("Java/17.0.4",),
        max_time_min=96 * 60,
        max_memory_mib=2 * 1024 * 1024,
        max_cpus=64,
        base_dir="/mnt/parscratch/users/$USER/millrace",
    ),
    # Two virtual nodes on one machine, without modules: what infra/slurm starts.
    "lab": Site(name="lab", max_time_min=60, max_memory_mib=6144, max_cpus=2),
    # Any machine that Java and the virtual environment are installed on.
    "plain": Site(name="plain"),
}


def site(name: str) -> Site:
    """The profile called ``name``; another name is a SpecError that lists those that exist."""
    if name not in SITES:
        raise SpecError(
            "Choosing a site profile",
            found=repr(name),
            required="one of " + ", ".join(SITES),
            next_step="Correct the name, or add the site to dags/operators/slurm/sites.py.",
        )
    return SITES[name]


def require_fits(spec: SbatchSpec, place: Site) -> None:
    """Refuse what no node of the site can give; Slurm would let some of it wait for ever."""
    for what, wanted, most in (
        ("time_limit_min", spec.time_limit_min, place.max_time_min),
        ("memory_mib", spec.memory_mib, place.max_memory_mib),
        ("cpus_per_task", spec.cpus_per_task, place.max_cpus),
    ):
        if most is not None and wanted > most:
            raise SpecError(
                f"Asking {place.name} for a job",
                found=f"{what}={wanted}",
                required=f"at most {most}",
                next_step="Ask for less, or for another partition and site.",
            )


def activation(place: Site, modules: tuple[str, ...]) -> list[str]:
    """Lines of bash that load the modules of the site and of the task."""
    wanted = [*place.modules, *modules]
    if not wanted:
        return []
    loads = " ".join(shlex.quote(module) for module in wanted)
    return [line for line in (place.module_init, f"module load {loads} || fail 69 'module load failed'") if line]
