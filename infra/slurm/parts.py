"""The daemons of a lab, in the order in which they start: what starts each, and how to tell that it is ready."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from infra.slurm.packages import program
from infra.slurm.places import LabPlaces


@dataclass(frozen=True)
class Part:
    """One daemon, run in the foreground. ``log`` holds what it says; ``ready`` is cheap and never raises."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    log: Path
    ports: dict[str, int] = field(default_factory=dict)


def parts(places: LabPlaces) -> dict[str, Part]:
    """Every daemon by name."""
    accounting = [_mariadb(places), _slurmdbd(places)] if places.accounting == "dbd" else []
    every = [_munged(places), *accounting, _slurmctld(places), *_nodes(places), _sshd(places)]
    return {part.name: part for part in every}


def _munged(places: LabPlaces) -> Part:
    folder = places.home / "munge"
    return Part(
        name="munged",
        # --force: it wants every user to reach its socket; here only this one shall.
        command=(
            program("munged"), "--foreground", "--force", f"--key-file={folder / 'munge.key'}",
            f"--socket={places.munge_socket}", f"--pid-file={places.run / 'munged.pid'}",
            f"--log-file={places.logs / 'munged.log'}", f"--seed-file={folder / 'munged.seed'}",
        ),
        ready=partial(_answers, places.munge_socket),
        log=places.logs / "munged.log",
    )  # fmt: skip


def _mariadb(places: LabPlaces) -> Part:
    return Part(
        name="mariadb",
        command=(program("mariadbd"), f"--defaults-file={places.etc / 'mariadb.cnf'}"),
        ready=partial(_answers, places.database_socket),
        log=places.logs / "mariadb.out",
    )


def _slurmdbd(places: LabPlaces) -> Part:
    port = places.ports.slurm_accounting
    return Part(
        name="slurmdbd",
        command=(program("slurmdbd"), "-D"),
        ready=partial(_listens, port),
        log=places.logs / "slurmdbd.log",
        ports={"accounting": port},
    )


def _slurmctld(places: LabPlaces) -> Part:
    port = places.ports.slurm_controller
    return Part(
        name="slurmctld",
        command=(program("slurmctld"), "-D"),
        ready=partial(_listens, port),
        log=places.logs / "slurmctld.log",
        ports={"controller": port},
    )


def _nodes(places: LabPlaces) -> list[Part]:
    return [
        Part(
            name=node,
            command=(program("slurmd"), "-D", "-N", node),
            ready=partial(_listens, port),
            log=places.logs / f"{node}.log",
            ports={"node": port},
        )
        for node, port in places.node_ports.items()
    ]


def _sshd(places: LabPlaces) -> Part:
    port = places.ports.slurm_ssh
    return Part(
        name="sshd",
        command=(
            program("sshd"), "-D", "-f", str(places.etc / "sshd_config"), "-E", str(places.logs / "sshd.log"),
        ),
        ready=partial(_listens, port),
        log=places.logs / "sshd.log",
        ports={"ssh": port},
    )  # fmt: skip


def _answers(path: Path) -> bool:
    """Something accepts connections on this Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _listens(port: int) -> bool:
    """Something listens on this port; asked of the system, because daemons log an empty connection as an error."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)
