"""What must be true before anything starts; each failure is one message that says what to do."""

import shutil

from contracts.errors import ConfigurationError, DependencyUnavailableError
from infra.local import machine, processes, supervision
from infra.local.places import Places
from infra.local.services import Service

#: Idle stack 2.0 GiB, two Spark applications with driver and executor 2 GiB each.
NEEDED_MEMORY_MIB = 6 * 1024
NEEDED_DISK_MIB = 5 * 1024


def check(places: Places, starting: list[Service]) -> list[str]:
    """Raise at the first thing that would make the start fail; returns notes about what was tidied up."""
    toolchain(places, starting)
    notes = leftovers(places)
    ports(starting)
    memory()
    disk(places)
    return notes


def toolchain(places: Places, starting: list[Service]) -> None:
    """The environments and archives of set-up are there."""
    root = places.settings.toolchain
    needed = [places.python(name) for name in ("tools", "spark", "airflow", "serving")]
    missing = [str(path) for path in needed if not path.exists()]
    missing += [
        str(root / "jars" / name) for name in ("spark", "kafka") if not any((root / "jars" / name).glob("*.jar"))
    ]
    if shutil.which(machine.java()) is None:
        missing.append(machine.java())
    if missing:
        raise ConfigurationError(
            f"Starting {len(starting)} services",
            found=f"no {', '.join(missing)}",
            required="the environments and archives that set-up installs",
            next_step="Run: bin/millrace setup",
        )


def leftovers(places: Places) -> list[str]:
    """Remove the pid file and socket of a supervisor that is gone; refuse while its services still run."""
    refuse_orphans(places)
    notes = []
    for path in (places.supervisor_pid, places.socket):
        if path.exists():
            path.unlink()
            notes.append(f"removed the stale {path.name} of a supervisor that is gone")
    return notes


def refuse_orphans(places: Places) -> None:
    """No service of an earlier start lives on without its supervisor."""
    family = supervision.family(places)
    if family:
        shown = "; ".join(f"pid {process.pid} ({processes.command(process.pid, 60)})" for process in family[:4])
        raise DependencyUnavailableError(
            "Starting the stack",
            found=f"{len(family)} processes of an earlier start whose supervisor is gone: {shown}",
            required="none of them running",
            next_step="Run: bin/millrace down, then bin/millrace up again.",
        )


def ports(starting: list[Service]) -> None:
    """Nobody else listens on a port of a service that is about to start."""
    taken = [
        f"port {port} ({service.name}, {meaning}) is held by {processes.port_holder(port)}"
        for service in starting
        for meaning, port in service.ports.items()
        if processes.is_port_taken(port)
    ]
    if taken:
        raise DependencyUnavailableError(
            "Starting the stack",
            found="; ".join(taken),
            required="these ports free",
            next_step="End that process, or move this stack: MILLRACE_PORTS__BASE=28000 bin/millrace up",
        )


def memory() -> None:
    available = processes.available_memory_mib()
    if available < NEEDED_MEMORY_MIB:
        raise DependencyUnavailableError(
            "Starting the stack",
            found=f"{available / 1024:.1f} GiB of memory available",
            required=f"{NEEDED_MEMORY_MIB / 1024:.0f} GiB",
            next_step="End what uses the memory and start again.",
        )


def disk(places: Places) -> None:
    # The folder itself is made by the first start.
    there = next(path for path in (places.state, *places.state.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**20
    if free < NEEDED_DISK_MIB:
        raise DependencyUnavailableError(
            "Starting the stack",
            found=f"{free / 1024:.1f} GiB free on the disk of {places.state}",
            required=f"{NEEDED_DISK_MIB / 1024:.0f} GiB",
            next_step="Make room, or keep the state elsewhere: MILLRACE_STATE=/a/larger/disk bin/millrace up",
        )
