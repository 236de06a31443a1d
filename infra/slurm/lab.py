"""One lab: start it, look at it, hurt it, stop it. ``with Lab(folder, ports) as lab:`` is all that a test needs."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from contracts.errors import ConfigurationError, DependencyUnavailableError
from contracts.files import read_json, write_atomically
from contracts.settings import Ports
from infra.local import processes
from infra.slurm import access, packages, render, running
from infra.slurm.packages import Accounting
from infra.slurm.parts import Part, parts
from infra.slurm.places import LOOPBACK, NODES, LabPlaces

Say = Callable[[str], None]

#: What Slurm calls a node that takes or runs jobs; ``idle*`` would be one that does not answer.
_WELL = {"idle", "mixed", "allocated", "completing"}
_ENDING_ORDER = ("sshd", *NODES, "slurmctld", "slurmdbd", "mariadb", "munged")


@dataclass(frozen=True)
class PartStatus:
    """One daemon. ``health``: ``healthy``, ``down``, or what is wrong."""

    name: str
    health: str
    ports: dict[str, int]
    process: processes.Process | None = None


@dataclass(frozen=True)
class Lab:
    """The lab in ``folder`` on the ports of ``ports``; ``accounting="dbd"`` makes ``sacct`` answer.

    sshd listens on loopback, or on every address where the lab is ``reached_by`` another name; Slurm's daemons listen
    on what this machine's name stands for: on Debian loopback, too.

    Everything runs as the calling user, root included, and so do the jobs: their files can be read by who calls.
    """

    folder: Path
    ports: Ports
    accounting: Accounting = "filetxt"
    reached_by: str = LOOPBACK

    @property
    def places(self) -> LabPlaces:
        return LabPlaces(self.folder, self.ports, self.accounting, self.reached_by)

    def start(self, timeout_s: float = 60) -> None:
        """Start what does not run and return when both nodes take jobs; what runs already is left alone."""
        packages.require(self.accounting)
        known = parts(self.places)
        missing = [part for part in known.values() if running.find(self.places, part.name) is None]
        self._refuse_other_accounting(all_missing=len(missing) == len(known))
        _refuse_taken_ports(missing)
        self.places.make()
        render.keys(self.places)
        render.configuration(self.places)
        write_atomically(self._wanted, f'{{"accounting": "{self.accounting}"}}')
        if any(part.name == "slurmctld" for part in missing):
            # It remembers with which accounting the cluster was made and refuses another.
            (self.places.home / "state" / "clustername").unlink(missing_ok=True)
        for part in missing:
            running.begin(self.places, part)
        self.wait_for_nodes(timeout_s)

    def stop(self) -> int:
        """Cancel every job and end every process of the lab; returns how many processes there were."""
        if running.find(self.places, "slurmctld") and running.find(self.places, "munged"):
            self._cancel_all()
        ended = 0
        for name in _ENDING_ORDER:
            ended += running.end(running.family(self.places, name), grace_s=20 if name == "mariadb" else 5)
        ended += running.end(running.strays(self.places))
        if self.places.run.exists():
            self._wanted.unlink(missing_ok=True)
        if self.places.home.is_symlink():
            self.places.home.unlink()
        return ended

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def started_with(self) -> Accounting | None:
        """The accounting of the lab in this folder; None where it was never started, or stopped since."""
        if not self._wanted.exists():
            return None
        found: Accounting = read_json(self._wanted, "how the Slurm lab was started")["accounting"]
        return found

    @property
    def is_wanted(self) -> bool:
        """It was started and not stopped since, whether its daemons live or not."""
        return self._wanted.exists()

    def logs(self) -> dict[str, Path]:
        """Where each daemon writes its log."""
        return {part.name: part.log for part in parts(self.places).values()}

    def status(self) -> list[PartStatus]:
        """Every daemon; never raises because one is down."""
        found = {name: running.find(self.places, name) for name in parts(self.places)}
        states = self.node_states() if found["slurmctld"] else {}
        return [
            PartStatus(name, _health(part, states, is_alive=found[name] is not None), part.ports, found[name])
            for name, part in parts(self.places).items()
        ]

    def dead(self) -> list[str]:
        """Daemons that do not live; Slurm itself is not asked."""
        return [name for name in parts(self.places) if running.find(self.places, name) is None]

    def processes(self) -> list[processes.Process]:
        """Every living process of the lab, jobs and SSH sessions included."""
        found = {each for name in _ENDING_ORDER for each in running.family(self.places, name)}
        return [process for process in found | set(running.strays(self.places)) if process.is_alive()]

    def kill(self, name: str) -> None:
        """SIGKILL one daemon with all below it. For a node that is a machine that lost its power: jobs die too."""
        running.kill(running.family(self.places, self._known(name).name))

    def restart(self, name: str) -> None:
        """Start one daemon anew, ending it first where it lives (a node with its jobs)."""
        part = self._known(name)
        running.end(running.family(self.places, name))
        running.begin(self.places, part)

    def run(self, *command: str, stdin: str | None = None, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run ``sbatch``, ``squeue`` and so on in the scratch folder; their exit status is the caller's to judge."""
        return subprocess.run(
            command, env=self.environment(), cwd=self.places.scratch, input=stdin, capture_output=True, text=True,
            check=False, timeout=timeout_s,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """For a process that calls Slurm's commands itself: this process's variables without those of another Slurm."""
        return running.client_environment(self.places)

    def node_states(self) -> dict[str, str]:
        """``{"hpc1": "idle", …}`` in Slurm's words; empty where the controller does not answer."""
        answer = self.run("sinfo", "--noheader", "--Node", "--partition=compute", "--format=%N %T")
        lines = [line.split() for line in answer.stdout.splitlines()]
        return {words[0]: words[1] for words in lines if len(words) == 2}

    def wait_for_nodes(self, timeout_s: float = 60) -> None:
        """Return when both nodes take or run jobs."""
        deadline = time.monotonic() + timeout_s
        while set((states := self.node_states()).values()) - _WELL or len(states) < len(NODES):
            if time.monotonic() > deadline:
                raise DependencyUnavailableError(
                    "Starting the Slurm lab", found=f"nodes {states or 'unknown'} after {timeout_s:.0f} s",
                    required="both nodes idle", changed="Its daemons keep running.",
                    next_step=f"Read {self.places.logs}/slurmctld.log and hpc1.log.",
                )  # fmt: skip
            time.sleep(0.1)

    @property
    def airflow_connection(self) -> str:
        """The value of ``AIRFLOW_CONN_HPC``; the lab has to be started before."""
        return access.airflow_connection(self.places)

    @property
    def ssh_config(self) -> Path:
        """``ssh -F <this file> hpc``."""
        return access.ssh_config(self.places)

    @property
    def _wanted(self) -> Path:
        return self.places.run / "lab.json"

    def _known(self, name: str) -> Part:
        known = parts(self.places)
        if name not in known:
            raise ConfigurationError(
                f"Choosing {name} of the Slurm lab", found="no such daemon",
                required=f"one of {', '.join(known)}", next_step="Correct the name.",
            )  # fmt: skip
        return known[name]

    def _refuse_other_accounting(self, *, all_missing: bool) -> None:
        has = self.started_with
        if has not in {None, self.accounting} and not all_missing:
            raise ConfigurationError(
                f"Starting the Slurm lab with accounting {self.accounting}", found=f"it runs with accounting {has}",
                required="one kind at a time", next_step="Stop it first.",
            )  # fmt: skip

    def _cancel_all(self) -> None:
        """Jobs end in Slurm's own way, so that accounting says CANCELLED; those that do not end with their node."""
        self.run("scancel", f"--user={self.places.user}")
        deadline = time.monotonic() + 10
        while self.run("squeue", "--noheader", "--format=%A").stdout.strip() and time.monotonic() < deadline:
            time.sleep(0.1)


def _health(part: Part, states: dict[str, str], *, is_alive: bool) -> str:
    if not is_alive:
        return "down"
    if not part.ready() or (part.name == "slurmctld" and not states):
        return "does not answer"
    if part.name in NODES and states.get(part.name) not in _WELL:
        return f"the controller calls it {states.get(part.name, 'nothing: it does not answer')}"
    return "healthy"


def _refuse_taken_ports(starting: list[Part]) -> None:
    taken = [
        f"port {port} ({part.name}) is held by {processes.port_holder(port)}"
        for part in starting
        for port in part.ports.values()
        if processes.is_port_taken(port)
    ]
    if taken:
        raise DependencyUnavailableError(
            "Starting the Slurm lab", found="; ".join(taken), required="these ports free",
            next_step="End that process, or choose another base: MILLRACE_PORTS__BASE=28000",
        )  # fmt: skip
