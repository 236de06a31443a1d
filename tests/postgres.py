"""A real Postgres for tests, from Debian's package: loopback only, its own folder, ended with the test run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from infra.slurm import packages

if TYPE_CHECKING:
    from types import TracebackType

#: The user that Debian's package makes; the server refuses to run as root.
_USER = "postgres"


class Postgres:
    """``with Postgres(port) as server:`` and then ``server.url``, a database that trusts whoever connects."""

    def __init__(self, port: int) -> None:
        programs = packages.postgres_programs()
        if programs is None:
            pytest.skip(f"needs a Debian package: {packages.install_line(['postgresql'])}")
        self._programs, self.port = programs, port
        # Not below pytest's folder: that one is closed to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://{_USER}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER)
        self._call("initdb", "--pgdata", "data", "--username", _USER, "--auth", "trust", "--no-sync")
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._call("pg_ctl", "start", "--wait", "--pgdata", "data", "--log", "log", "--options", settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("pg_ctl", "stop", "--wait", "--pgdata", "data", "--mode", "immediate")
        shutil.rmtree(self._folder)

    def _call(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *command]
        # Not captured: the server would keep the pipe open for as long as it lives.
        output = self._folder / f"{program}.out"
        with output.open("ab") as said:
            done = subprocess.run(command, cwd=self._folder, stdout=said, stderr=said, check=False, timeout=120)
        assert done.returncode == 0, output.read_text(errors="replace")
