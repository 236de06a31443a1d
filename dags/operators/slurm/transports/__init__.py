"""Ways to a cluster: one small protocol, three implementations. Each holds one connection and shares it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: Slurm's controller may take half a minute to say that it is too busy.
COMMAND_TIMEOUT_S = 90.0
TRANSFER_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Completed:
    """A command that ended; ``code`` is negative where a signal ended it."""

    code: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """Commands and files to and from one host.

    ``run`` raises CommandTimeoutError or another TransportError where the command's own end is not known; a command
    that fails is a Completed. ``put`` and ``get`` transfer one file and promise nothing about half transfers: callers
    compare checksums.
    """

    async def run(self, command: str, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Completed: ...

    async def put(self, local: Path, remote: str) -> None: ...

    async def get(self, remote: str, local: Path) -> None: ...

    async def close(self) -> None: ...
