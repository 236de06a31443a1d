"""SSH inside this process: one connection, any number of commands at a time over it."""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from dags.operators.slurm.errors import CommandTimeoutError, HostKeyError, TransferError, TransportError
from dags.operators.slurm.transports import COMMAND_TIMEOUT_S, TRANSFER_TIMEOUT_S, Completed

# It logs every command at INFO.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

_LOST = (OSError, asyncssh.ConnectionLost, asyncssh.DisconnectError, asyncssh.ChannelOpenError)


@dataclass
class AsyncSSHTransport:
    """``host_key`` is one line of a public key, ``known_hosts`` a file; one of the two is required.

    Commands at a time are limited: sshd refuses more than its MaxSessions on one connection, ten where nobody says.
    """

    host: str
    port: int = 22
    user: str = ""
    host_key: str = ""
    known_hosts: str = ""
    key_file: str = ""
    key_text: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    jump: str = ""
    at_a_time: int = 8
    _connection: asyncssh.SSHClientConnection | None = field(default=None, init=False, repr=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _slots: asyncio.Semaphore | None = field(default=None, init=False, repr=False)

    async def run(self, command: str, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Completed:
        connection = await self._connect()
        async with self._limit():
            try:
                async with asyncio.timeout(timeout_s):
                    done = await connection.run(command, input=stdin, encoding=None, check=False)
            except TimeoutError as error:
                # Whether the host or the network is gone is not known: the next command opens a new connection.
                await self.close()
                raise CommandTimeoutError(
                    f"Running a command on {self.host}", found=f"no end after {timeout_s:.0f} s",
                    required="an answer", next_step="It is tried again.", changed="It may have had its effect.",
                ) from error  # fmt: skip
            except (*_LOST, asyncssh.Error) as error:
                await self.close()
                raise self._lost(error) from error
        if done.exit_status is None:
            await self.close()
            raise self._lost("the command ended without an exit status")
        return Completed(done.returncode or 0, _bytes(done.stdout), _bytes(done.stderr))

    async def put(self, local: Path, remote: str) -> None:
        await self._copy(str(local), remote, is_upload=True)

    async def get(self, remote: str, local: Path) -> None:
        await self._copy(str(local), remote, is_upload=False)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    async def _copy(self, local: str, remote: str, *, is_upload: bool) -> None:
        connection = await self._connect()
        async with self._limit():
            try:
                async with asyncio.timeout(TRANSFER_TIMEOUT_S), connection.start_sftp_client() as files:
                    await (files.put(local, remote) if is_upload else files.get(remote, local))
            except asyncssh.SFTPError as error:
                raise TransferError(
                    f"Copying {remote} {'to' if is_upload else 'from'} {self.host}", found=str(error),
                    required="a whole transfer", next_step="It is tried again.",
                ) from error  # fmt: skip
            except (TimeoutError, *_LOST, asyncssh.Error) as error:
                await self.close()
                raise self._lost(error) from error

    async def _connect(self) -> asyncssh.SSHClientConnection:
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open()
            return self._connection

    async def _open(self) -> asyncssh.SSHClientConnection:
        # Those that will be read: a key's text goes before its file, and one host key before a list of them.
        files = ("" if self.key_text else self.key_file, "" if self.host_key else self.known_hosts)
        if missing := [path for path in files if path and not Path(path).expanduser().exists()]:
            raise TransportError(
                f"Connecting to {self.host}", found=f"no file {' and none '.join(missing)}",
                required="the files that the connection's key_file and known_hosts name",
                next_step="Correct the connection or put them there; the lab in containers makes its own: "
                "docker compose --profile slurm up --detach",
            )  # fmt: skip
        try:
            async with asyncio.timeout(60):
                jump = None
                if self.jump:
                    user, _, place = self.jump.rpartition("@")
                    host, _, port = place.partition(":")
                    # Its key is in the same known_hosts; settings require that file where there is a jump host.
                    jump = await self._connect_to(host, int(port or 22), user or self.user, None)
                return await self._connect_to(self.host, self.port, self.user, jump)
        except asyncssh.HostKeyNotVerifiable as error:
            raise HostKeyError(
                f"Connecting to {self.host}", found=f"a host key that is not the one we know ({error})",
                required="the key in the connection's host_key or known_hosts",
                next_step="Ask the site whether its key changed; then put the new one into the connection.",
            ) from error  # fmt: skip
        except (TimeoutError, *_LOST, asyncssh.Error) as error:
            raise self._lost(error) from error

    async def _connect_to(
        self, host: str, port: int, user: str, jump: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        keys = [asyncssh.import_private_key(self.key_text)] if self.key_text else [self.key_file]
        return await asyncssh.connect(
            host, port, username=user or (), known_hosts=self._known(), config=None, tunnel=jump or (),
            client_keys=keys if keys != [""] else (), password=self.password or None, agent_path=None,
            keepalive_interval=30, keepalive_count_max=3, connect_timeout=30,
        )  # fmt: skip

    def _known(self) -> "tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]] | str":
        if self.host_key:
            return [asyncssh.import_public_key(self.host_key)], [], []
        if self.known_hosts:
            return self.known_hosts
        raise HostKeyError(
            f"Connecting to {self.host}", found="a connection without host_key and known_hosts",
            required="one of them: a host that nobody vouches for gets no code and no data",
            next_step="Put the line that `ssh-keyscan -t ed25519 HOST` prints, once checked, into extra.host_key.",
        )  # fmt: skip

    def _limit(self) -> asyncio.Semaphore:
        if self._slots is None:
            self._slots = asyncio.Semaphore(self.at_a_time)
        return self._slots

    def _lost(self, error: "BaseException | str") -> TransportError:
        found = str(error) or type(error).__name__
        return TransportError(
            f"Reaching {self.host} by SSH", found=found, required="a connection",
            next_step="It is tried again; jobs on the cluster go on.",
        )  # fmt: skip


def _bytes(output: "bytes | str | None") -> bytes:
    return output if isinstance(output, bytes) else (output or "").encode()
