"""The trigger that waits for a job: no worker slot, one connection for all jobs of a cluster in a triggerer."""

import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from dags.operators.slurm.cluster import Cluster, shared
from dags.operators.slurm.connections import open_cluster, settings_in_triggerer
from dags.operators.slurm.ledger import Job
from dags.operators.slurm.spec import Limits, QueueName
from dags.operators.slurm.waiting import retrying_kill, wait


class ClusterJobTrigger(BaseTrigger):
    """Fires once, with ``{"job": ..., "ending": ...}``, when the job is over or a limit of ours is met.

    A triggerer that dies loses nothing: another one begins again, and goes on in the job's log where the first one
    stopped (``reader`` is the try whose log it is). ``on_kill`` runs when a person marks or clears the task; not when
    a triggerer stops.
    """

    def __init__(
        self, *, ssh_conn_id: str, queue: QueueName, job: dict[str, Any], limits: dict[str, Any], since: float,
        reader: str = "1",
    ) -> None:  # fmt: skip
        super().__init__()
        self.ssh_conn_id, self.queue, self.job = ssh_conn_id, queue, job
        self.limits, self.since, self.reader = limits, since, reader

    def serialize(self) -> tuple[str, dict[str, Any]]:
        fields = ("ssh_conn_id", "queue", "job", "limits", "since", "reader")
        return (f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in fields})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        job = Job(**self.job)
        async with shared(self._key, self._open) as cluster:
            ending = await wait(
                cluster, job, Limits(**self.limits), say=self.log.info, since=self.since, reader=self.reader
            )  # fmt: skip
        # All that execute_complete needs is in the event: Airflow 3.3.2 loses defer's kwargs in dag.test().
        yield TriggerEvent({"job": self.job, "ending": ending.as_dict(), "at": time.time()})

    async def on_kill(self) -> None:
        async with shared(self._key, self._open) as cluster:
            await retrying_kill(cluster, Job(**self.job), self.log.info)

    async def _open(self) -> Cluster:
        return open_cluster(await settings_in_triggerer(self.ssh_conn_id), self.queue)

    @property
    def _key(self) -> str:
        return f"{self.ssh_conn_id}/{self.queue}"
