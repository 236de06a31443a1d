"""The ``ssh`` of this machine, for sites with one-time passwords: a person opens the connection, we go through it.

    ssh -fNM -o ControlPath=PATH -o ControlPersist=12h -J JUMPHOST USER@HOST

With ``BatchMode`` and ``ControlMaster no`` nothing here ever asks for a password, and no seed of one is stored.
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from dags.operators.slurm.errors import MasterGoneError, TransferError, TransportError
from dags.operators.slurm.transports import COMMAND_TIMEOUT_S, TRANSFER_TIMEOUT_S, Completed
from dags.operators.slurm.transports.processes import run_program

#: What ssh itself exits with when it is the connection that failed.
_SSH_FAILED = 255


@dataclass
class OpenSSHTransport:
    """``control_path`` names the connection that a person opened; empty: ssh opens one of its own for a service key.

    ``options`` are further options of ssh, as ``Name=value``. ``copy`` chooses sftp or rsync for files.
    """

    host: str
    port: int | None = None
    user: str = ""
    control_path: str = ""
    proxy_jump: str = ""
    config_file: str = ""
    known_hosts: str = ""
    key_file: str = ""
    copy: str = "sftp"
    options: tuple[str, ...] = ()
    #: Programs, in tests replaced by others.
    programs: dict[str, str] = field(default_factory=dict)

    async def run(self, command: str, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Completed:
        await self._require_master()
        words = [self._program("ssh"), *self._settings(), *self._port("-p"), self._target, "--", command]
        done = await run_program(words, stdin, timeout_s)
        if done.code == _SSH_FAILED:
            raise self._lost(done)
        return done

    async def put(self, local: Path, remote: str) -> None:
        await self._copy(str(local), remote, is_upload=True)

    async def get(self, remote: str, local: Path) -> None:
        await self._copy(str(local), remote, is_upload=False)

    async def close(self) -> None:
        """Leaves the connection open: it belongs to the person who opened it."""

    async def _copy(self, local: str, remote: str, *, is_upload: bool) -> None:
        await self._require_master()
        if self.copy == "rsync":
            shell = shlex.join([self._program("ssh"), *self._settings(), *self._port("-p")])
            there = f"{self._target}:{remote}"
            ends = [local, there] if is_upload else [there, local]
            # A half transfer is continued; --inplace would let a reader see it under its own name.
            words = [self._program("rsync"), "--partial", "--times", "--protect-args", "-e", shell, "--", *ends]
            done = await run_program(words, b"", TRANSFER_TIMEOUT_S)
        else:
            line = f"put {_quoted(local)} {_quoted(remote)}" if is_upload else f"get {_quoted(remote)} {_quoted(local)}"
            words = [self._program("sftp"), "-q", *self._settings(), *self._port("-P"), "-b", "-", self._target]
            done = await run_program(words, f"{line}\n".encode(), TRANSFER_TIMEOUT_S)
        if done.code == _SSH_FAILED:
            raise self._lost(done)
        if done.code != 0:
            raise TransferError(
                f"Copying {remote} {'to' if is_upload else 'from'} {self.host}", found=_said(done),
                required="a whole transfer", next_step="It is tried again.",
            )  # fmt: skip

    async def _require_master(self) -> None:
        """Ask the connection's own socket, which takes milliseconds, so that its end has a message that says it."""
        if not self.control_path:
            return
        words = [self._program("ssh"), *self._settings(), *self._port("-p"), "-O", "check", self._target]
        done = await run_program(words, b"", 20)
        if done.code != 0:
            raise MasterGoneError(
                f"Reaching {self.host} through the connection that a person opened",
                found=f"it is closed ({_said(done)})",
                required=f"a living connection at {self.control_path}",
                next_step=f"A person must log in again: {self._opening()}",
                changed="Jobs on the cluster go on.",
            )  # fmt: skip

    def _settings(self) -> list[str]:
        words = ["-F", self.config_file] if self.config_file else []
        settings = ["BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=20", "ServerAliveInterval=30"]
        if self.control_path:
            settings += ["ControlMaster=no", f"ControlPath={self.control_path}"]
        if self.proxy_jump:
            settings.append(f"ProxyJump={self.proxy_jump}")
        if self.known_hosts:
            settings.append(f"UserKnownHostsFile={self.known_hosts}")
        if self.key_file:
            settings += [f"IdentityFile={self.key_file}", "IdentitiesOnly=yes"]
        for setting in [*settings, *self.options]:
            words += ["-o", setting]
        return words

    def _port(self, option: str) -> list[str]:
        return [option, str(self.port)] if self.port else []

    def _opening(self) -> str:
        jump = ["-J", self.proxy_jump] if self.proxy_jump else []
        config = ["-F", self.config_file] if self.config_file else []
        words = ["ssh", *config, "-fNM", "-o", f"ControlPath={self.control_path}", "-o", "ControlPersist=12h", *jump]
        return shlex.join([*words, *self._port("-p"), self._target])

    def _lost(self, done: Completed) -> TransportError:
        return TransportError(
            f"Reaching {self.host} by ssh", found=_said(done), required="a connection",
            next_step="It is tried again; jobs on the cluster go on.",
        )  # fmt: skip

    @property
    def _target(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def _program(self, name: str) -> str:
        return self.programs.get(name, name)


def _said(done: Completed) -> str:
    return (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-500:] or f"exit status {done.code}"


def _quoted(path: str) -> str:
    """As sftp reads words."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
