"""Starting and ending the daemons of a lab, and finding what hangs below them."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from contracts.errors import DependencyUnavailableError
from contracts.files import write_atomically
from infra.local import processes
from infra.local.processes import MARKER, Process
from infra.slurm.packages import program
from infra.slurm.parts import Part
from infra.slurm.places import LabPlaces

_INHERITED = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")

#: Ours while this process lives: they are asked for their exit status, so that none stays behind as a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}


def find(places: LabPlaces, name: str) -> Process | None:
    """The living process of a part, by the record of its last start."""
    process = _recorded(places, name)
    return process if process and _lives(process) else None


def begin(places: LabPlaces, part: Part, timeout_s: float = 30) -> None:
    """Start a part that does not run and return when it is ready; otherwise an error with what it said last."""
    _prepare(places, part)
    output = places.logs / f"{part.name}.out"
    with output.open("wb") as log:
        child = subprocess.Popen(
            part.command, env=_environment(places, part.name), cwd=places.home, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    _children[child.pid] = child
    if process := processes.find(child.pid):
        write_atomically(_record(places, part.name), json.dumps(asdict(process)))
    deadline = time.monotonic() + timeout_s
    while child.poll() is None and time.monotonic() < deadline:
        if part.ready():
            return
        time.sleep(0.02)
    why = f"no answer after {timeout_s:.0f} s" if child.poll() is None else f"exit status {child.returncode}"
    raise DependencyUnavailableError(
        f"Starting {part.name} of the Slurm lab",
        found=f"{why}. It said:\n{last_lines(output) or last_lines(part.log)}\n",
        required="an answer",
        next_step=f"Read {part.log}; docs/runbooks/slurm_lab.md names the usual causes.",
        changed="What started before stays up.",
    )


def family(places: LabPlaces, name: str) -> list[Process]:
    """A part's process and all below it; for a node the steps and jobs that it started, too, by their mark."""
    found: set[Process] = set()
    if leader := _recorded(places, name):
        found |= set(processes.in_session(leader))
        if leader.is_alive():
            found |= set(processes.tree(leader.pid))
    for process in processes.marked(_mark(places, name)):
        found |= set(processes.tree(process.pid))
    return sorted(found, key=lambda process: process.started)


def strays(places: LabPlaces) -> list[Process]:
    """What was begun over SSH in this lab and is no longer below its sshd."""
    return [each for process in processes.marked(str(places.home)) for each in processes.tree(process.pid)]


def end(which: list[Process], grace_s: float = 5.0) -> int:
    """SIGTERM, then SIGKILL; returns how many there were."""
    ended = processes.end(which, grace_s)
    _reap(which)
    return len(ended)


def kill(which: list[Process], timeout_s: float = 5.0) -> None:
    """SIGKILL to all of them at once, without a word before; returns when they are gone."""
    for process in which:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    _reap(which)
    deadline = time.monotonic() + timeout_s
    while any(process.is_alive() for process in which) and time.monotonic() < deadline:
        time.sleep(0.02)


def client_environment(places: LabPlaces) -> dict[str, str]:
    """This process's variables, aimed at the lab; those of a Slurm job that we may run in ourselves are left out."""
    foreign = ("SLURM", "SBATCH_", "SQUEUE_", "SINFO_", "SRUN_", "SACCT_")
    mine = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return mine | places.environment()


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log; empty where there is none."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _prepare(places: LabPlaces, part: Part) -> None:
    if part.name == "mariadb":
        _database_folder(places)
    if part.name == "sshd" and os.geteuid() == 0:
        # Started by root, sshd insists on this folder, which Debian's own service would have made.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _database_folder(places: LabPlaces) -> None:
    """MariaDB's own tables, made beside and moved when complete."""
    folder, made = places.home / "mariadb", places.home / "mariadb.new"
    if folder.exists():
        return
    shutil.rmtree(made, ignore_errors=True)
    command = [
        program("mariadb-install-db"), "--no-defaults", f"--datadir={made}", f"--user={places.user}",
        "--auth-root-authentication-method=normal", "--skip-test-db",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise DependencyUnavailableError(
            "Making the database of the Slurm lab", found=(done.stdout + done.stderr)[-2000:],
            required="success of mariadb-install-db", next_step="Read what it says; is the disk full?",
        )  # fmt: skip
    made.rename(folder)


def _reap(which: list[Process]) -> None:
    for child in [_children[process.pid] for process in which if process.pid in _children]:
        child.wait(timeout=5)
        del _children[child.pid]


def _lives(process: Process) -> bool:
    if child := _children.get(process.pid):
        child.poll()
    return process.is_alive()


def _environment(places: LabPlaces, name: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    # slurmdbd has no setting for the socket of its database; the client library it uses has this variable.
    socket = {"MYSQL_UNIX_PORT": str(places.database_socket)}
    return kept | places.environment() | socket | {MARKER: _mark(places, name)}


def _mark(places: LabPlaces, name: str) -> str:
    # What one node starts must be told from what the other one starts.
    return f"{places.home}:{name}"


def _record(places: LabPlaces, name: str) -> Path:
    return places.run / f"{name}.process.json"


def _recorded(places: LabPlaces, name: str) -> Process | None:
    try:
        return Process(**json.loads(_record(places, name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
