"""No SSH at all: the cluster's commands run on this machine. For tests, and for an Airflow on a login node."""

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from dags.operators.slurm.transports import COMMAND_TIMEOUT_S, Completed
from dags.operators.slurm.transports.processes import run_program


@dataclass
class LocalTransport:
    """``environment`` replaces this process's own when it is given."""

    environment: dict[str, str] | None = field(default=None, repr=False)

    async def run(self, command: str, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Completed:
        return await run_program(["bash", "-c", command], stdin, timeout_s, self.environment)

    async def put(self, local: Path, remote: str) -> None:
        await asyncio.to_thread(shutil.copyfile, local, remote)

    async def get(self, remote: str, local: Path) -> None:
        await asyncio.to_thread(shutil.copyfile, remote, local)

    async def close(self) -> None:
        pass
