"""Start, stop and look at the local stack."""

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from contracts.errors import DependencyUnavailableError, LockHeldError
from contracts.files import read_json, write_atomically
from infra.local import credentials, hpc, preflight, processes, render, supervision
from infra.local.airflow_api import AirflowApi
from infra.local.places import Places
from infra.local.services import Service, services, with_needs
from infra.local.start import AIRFLOW, Start, health_of
from infra.slurm.access import CONNECTION
from infra.slurm.lab import Lab

Say = Callable[[str], None]

#: Airflow's slots for Spark applications: the cluster has six, each application takes two, and so does the stream.
SPARK_POOL, SPARK_POOL_SLOTS = "spark_small", 2
#: Stopped first: they use everything else.
_USERS = ("stream", "page", *AIRFLOW)


@dataclass(frozen=True)
class ServiceStatus:
    """One line of ``status``. ``health``: ``healthy``, ``down``, or what is wrong. Memory is the process tree's."""

    name: str
    state: str
    health: str
    wanted: bool
    pid: int | None = None
    ports: dict[str, int] = field(default_factory=dict)
    url: str = ""
    uptime_s: int | None = None
    memory_mib: int = 0
    restarts: int = 0
    last_end: str = ""


@dataclass(frozen=True)
class StackStatus:
    """``state`` is ``healthy`` (all that was asked for is well), ``degraded`` or ``down``."""

    state: str
    state_folder: str
    memory_mib: int
    services: list[ServiceStatus]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def up(places: Places, wanted: list[str], timeout_s: float, say: Say, lab: Lab | None = None) -> None:
    """Start what is not running, ``lab`` before the services, and return when all of it is healthy.

    Raises DependencyUnavailableError naming the service that is not, with its last log lines; what did start stays up.
    """
    started = time.monotonic()
    with _alone(places):
        secrets = credentials.load(places.state)
        known = services(places, secrets)
        chosen = with_needs(wanted, known)
        running = supervision.is_up(places)
        if not running:
            for note in preflight.check(places, [known[name] for name in chosen]):
                say(note)
            hpc.forget_unless_alive(places.settings)
        if lab:
            hpc.start(lab, say)
        # Again: Airflow's variables tell of the lab while there is one.
        known = services(places, secrets)
        if running and lab:
            chosen = with_needs([*chosen, *_show_airflow_the_lab(places, known, say)], known)
        states = supervision.states(places) if running else {}
        every = [known[name] for name in chosen]
        starting = [service for service in every if not running or states[service.name].pid == 0]
        if not running:
            _remember(places, [])
            render.configuration(places, secrets, known)
            supervision.launch(places)
        elif starting:
            preflight.ports(starting)
        _remember(places, sorted({*_remembered(places), *chosen}))
        Start(places, every, {service.name for service in starting}, say=say, timeout_s=timeout_s).run()
        if any(service.name == "airflow-api-server" for service in starting):
            _airflow_pool(places)
    if not starting:
        say(f"already up: {len(chosen)} services healthy ({time.monotonic() - started:.1f} s)")
    else:
        say(f"up: {len(chosen)} services healthy after {time.monotonic() - started:.0f} s")


def down(places: Places, say: Say) -> int:
    """Stop everything, what is left of an earlier start too; returns how many processes had to be ended by force."""
    started = time.monotonic()
    with _alone(places):
        family = set(supervision.family(places))
        if not family:
            say("down: every process ended" if hpc.stop(places.settings, say) else "nothing of this stack runs")
            return 0
        if supervision.is_up(places):
            names = list(supervision.states(places))
            _stop(places, [name for name in names if name in _USERS], say)
            # What was started since the last look.
            family |= set(supervision.family(places))
            _stop(places, [name for name in names if name not in _USERS], say)
            family |= set(supervision.family(places))
            supervisor = supervision.pid(places)
            supervision.shut_down(places)
            _wait(lambda: processes.find(supervisor) is None, 15)
        # After Airflow: its tasks would take the end of the lab's jobs for their own failure.
        hpc.stop(places.settings, say)
        left = processes.end(family | set(supervision.family(places)))
        for path in (places.supervisor_pid, places.socket):
            path.unlink(missing_ok=True)
        remaining = [process for process in family | set(supervision.family(places)) if process.is_alive()]
        if remaining:
            raise DependencyUnavailableError(
                "Stopping the stack",
                found=f"still running: {', '.join(str(process.pid) for process in remaining)}",
                required="no process of this stack",
                next_step="Look at them with ps; they ignore SIGKILL (waiting for a disk?).",
                changed="Everything else was stopped.",
            )
    ended = f", {len(left)} of them by force" if left else ""
    say(f"down: every process ended{ended} ({time.monotonic() - started:.1f} s)")
    return len(left)


def restart(places: Places, name: str, timeout_s: float, say: Say) -> None:
    """Stop one service and start it again; returns when it is healthy."""
    known = services(places, credentials.load(places.state))
    with_needs([name], known)
    with _alone(places):
        _stop(places, [name], say)
        Start(places, [known[name]], {name}, say=say, timeout_s=timeout_s).run()


def status(places: Places) -> StackStatus:
    """Look at every service; never raises because something is down."""
    known = services(places, credentials.load(places.state))
    if not supervision.is_up(places):
        rows = [
            ServiceStatus(name=name, state="down", health="down", wanted=False, ports=service.ports, url=service.url)
            for name, service in known.items()
        ]
        return StackStatus("down", str(places.state), 0, rows + _lab_rows(places))
    wanted = _remembered(places)
    states, deaths = supervision.states(places), supervision.deaths(places)
    rows = []
    for name, service in known.items():
        state, died = states[name], deaths.get(name, supervision.Deaths())
        alive = state.pid != 0
        rows.append(ServiceStatus(
            name=name, state=state.name, health=health_of(service, state), wanted=name in wanted, pid=state.pid or None,
            ports=service.ports, url=service.url, uptime_s=_uptime_s(places, name, state) if alive else None,
            memory_mib=round(processes.memory_mib(processes.tree(state.pid))) if alive else 0,
            restarts=died.count, last_end=died.last,
        ))  # fmt: skip
    lab = _lab_rows(places)
    total = round(processes.memory_mib(processes.tree(supervision.pid(places)))) + sum(row.memory_mib for row in lab)
    rows += lab
    healthy = all(row.health == "healthy" for row in rows if row.wanted)
    return StackStatus("healthy" if healthy else "degraded", str(places.state), total, rows)


def _lab_rows(places: Places) -> list[ServiceStatus]:
    """The daemons of the Slurm lab; none where it was not asked for."""
    lab = hpc.lab(places.settings)
    rows = []
    for part in lab.status() if lab.is_wanted else []:
        process = part.process
        rows.append(ServiceStatus(
            name=part.name, state="running" if process else "exited", health=part.health, wanted=True,
            pid=process.pid if process else None, ports=part.ports,
            uptime_s=max(0, int(time.time() - process.started_at)) if process else None,
            memory_mib=round(processes.memory_mib(processes.tree(process.pid))) if process else 0,
        ))  # fmt: skip
    return rows


def _show_airflow_the_lab(places: Places, known: dict[str, Service], say: Say) -> list[str]:
    """Airflow gets its connections when it starts: what runs without the lab's is stopped; returns what that was."""
    path = places.conf / "supervisord.conf"
    if known[AIRFLOW[0]].environment[CONNECTION] in path.read_text(encoding="utf-8"):
        return []
    running = [name for name in AIRFLOW if supervision.states(places)[name].pid]
    if running:
        say("  Airflow is started anew, with the connection hpc")
    _stop(places, running, say)
    render.write_supervisor(places, known)
    supervision.replace(places, list(AIRFLOW))
    return running


def _uptime_s(places: Places, name: str, state: supervision.State) -> int:
    return max(0, int(time.time() - max(state.started_at, supervision.began_at(places, name))))


def _wait_stopped(places: Places, names: list[str], timeout_s: float = 90) -> None:
    """Return when none of ``names`` runs any more; supervisord itself kills those that take too long."""

    def stopped() -> bool:
        states = supervision.states(places)
        return all(states[name].pid == 0 for name in names)

    if not _wait(stopped, timeout_s):
        raise DependencyUnavailableError(
            f"Stopping {', '.join(names)}",
            found=f"still running after {timeout_s:.0f} s",
            required="stopped",
            next_step="Run: bin/millrace down",
        )


def _stop(places: Places, names: list[str], say: Say) -> None:
    started = time.monotonic()
    running = [name for name, state in supervision.states(places).items() if name in names and state.name != "stopped"]
    for name in running:
        supervision.stop(places, name)
    _wait_stopped(places, names)
    if running:
        say(f"  stopped {', '.join(running)} ({time.monotonic() - started:.1f} s)")


def _airflow_pool(places: Places) -> None:
    api = AirflowApi.login(places.settings.ports.airflow, credentials.load(places.state).airflow_password)
    api.set_pool(SPARK_POOL, SPARK_POOL_SLOTS, "Spark applications at the same time on the local cluster")


def _remembered(places: Places) -> list[str]:
    path = places.run / "wanted.json"
    return list(read_json(path, "the services that were asked for")) if path.exists() else []


def _remember(places: Places, names: list[str]) -> None:
    write_atomically(places.run / "wanted.json", json.dumps(names))


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Two people (or a test and a person) do not start and stop the same stack at the same time."""
    render.folders(places)
    with (places.run / "stack.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeldError(
                "Starting or stopping the stack",
                found="another up, down or restart of this stack at work",
                required="one at a time",
                next_step="Wait for it and run this again.",
            ) from error
        yield
