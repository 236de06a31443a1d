"""Programs of this machine, started and ended without leaving one behind."""

import asyncio
import contextlib
import os
import signal

from dags.operators.slurm.errors import CommandTimeoutError, TransportError
from dags.operators.slurm.transports import Completed


async def run_program(
    words: list[str], stdin: bytes, timeout_s: float, environment: dict[str, str] | None = None
) -> Completed:
    """Run to its end; after ``timeout_s`` seconds, or when the caller is cancelled, its whole session is killed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise TransportError(
            f"Starting {words[0]}", found=str(error), required="that program on this machine",
            next_step="Install it, or choose another transport in the connection.",
        ) from error  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), timeout_s)
    except TimeoutError as error:
        raise CommandTimeoutError(
            f"Running {words[0]}", found=f"no end after {timeout_s:.0f} s", required="an answer",
            next_step="It is tried again.", changed="It may have had its effect.",
        ) from error  # fmt: skip
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Completed(process.returncode or 0, out, err)
