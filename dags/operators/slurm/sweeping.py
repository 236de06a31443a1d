"""What old jobs leave on a cluster, and its removal."""

from dataclasses import dataclass

from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.errors import TransportError
from dags.operators.slurm.ledger import refuse
from dags.operators.slurm.settings import ClusterSettings
from dags.operators.slurm.sites import site


@dataclass(frozen=True)
class Swept:
    """Folders of tasks and staged objects that were removed, and what was kept; ``alive`` jobs keep every object."""

    jobs: int
    objects: int
    mib: float
    kept: int
    alive: int


async def sweep(cluster: Cluster, settings: ClusterSettings, *, days: int) -> Swept:
    """Remove the folders of tasks whose jobs are over and that nobody touched for ``days`` days, and old objects.

    A task that is cleared after that starts with a first job again.
    """
    found = await cluster.ask("sweep", settings.base_dir or site(settings.site).base_dir, str(days))
    refuse(found, "Sweeping")
    said = found.one("SWEPT")
    if said is None:
        raise TransportError(
            "Sweeping", found="an answer that does not say what was removed", required="one that does",
            next_step="Is the disk of the login node full? Start it again.",
        )  # fmt: skip
    jobs, objects, kib, kept, alive = map(int, said.split())
    return Swept(jobs, objects, round(kib / 1024, 1), kept, alive)
