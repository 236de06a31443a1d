"""Talking to supervisord: start it, ask it, and read from its log how often a service died."""

import ctypes
import json
import os
import re
import subprocess
import time
import xmlrpc.client
from dataclasses import asdict, dataclass
from typing import Any

from contracts.errors import DependencyUnavailableError
from contracts.files import write_atomically
from infra.local import processes
from infra.local.places import Places
from infra.local.processes import Process
from infra.local.render import supervisor_environment

_PR_SET_CHILD_SUBREAPER = 36
_DO_NOT_WAIT = False
_NOT_THERE = (OSError, xmlrpc.client.ProtocolError)


@dataclass(frozen=True)
class State:
    """What is known of a service. ``name``: the supervisor's word in lower case, or ``waiting`` for the next start."""

    name: str
    pid: int
    started_at: float
    description: str


@dataclass(frozen=True)
class Deaths:
    """How often a service ended by itself since the supervisor started, and how it ended the last time."""

    count: int = 0
    last: str = ""


def is_up(places: Places) -> bool:
    try:
        _call(places, "getState")
    except DependencyUnavailableError:
        return False
    return True


def pid(places: Places) -> int:
    return int(_call(places, "getPID"))


def launch(places: Places) -> None:
    """Start supervisord in a session of its own; returns when it answers.

    It adopts orphans of its services (PR_SET_CHILD_SUBREAPER), so that the tree below it stays complete and ``down``
    finds every process.
    """
    places.supervisor_log.unlink(missing_ok=True)
    output = places.logs / "supervisord.out"
    with output.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(places.tool("tools", "supervisord")), "-c", str(places.conf / "supervisord.conf")],
            env=supervisor_environment(places), cwd=places.state, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_adopt_orphans,  # noqa: PLW1509 - this process has no threads
        )  # fmt: skip
    if supervisor := processes.find(process.pid):
        write_atomically(places.session, json.dumps(asdict(supervisor)))
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        if is_up(places):
            return
        time.sleep(0.05)
    raise DependencyUnavailableError(
        "Starting the supervisor",
        found=output.read_text(encoding="utf-8").strip()[-2000:] or "no answer within 15 s",
        required="supervisord answering on its socket",
        next_step=f"Read {output}; then run: bin/millrace up",
    )


def start(places: Places, name: str) -> None:
    """Ask for a start; does not wait. A service that runs already is left alone; its earlier deaths are forgotten."""
    places.pace(name).unlink(missing_ok=True)
    _tolerating({"ALREADY_STARTED"}, places, "startProcess", name, _DO_NOT_WAIT)


def stop(places: Places, name: str) -> None:
    """Ask for a stop; does not wait."""
    _tolerating({"NOT_RUNNING"}, places, "stopProcess", name, _DO_NOT_WAIT)


def replace(places: Places, names: list[str]) -> None:
    """Read the supervisor's file again and take these services, which do not run, as it describes them now."""
    _call(places, "reloadConfig")
    for name in names:
        _call(places, "removeProcessGroup", name)
        _call(places, "addProcessGroup", name)


def shut_down(places: Places) -> None:
    _call(places, "shutdown")


def states(places: Places) -> dict[str, State]:
    """Every service by name."""
    return {info["name"]: _state(places, info) for info in _call(places, "getAllProcessInfo")}


def deaths(places: Places) -> dict[str, Deaths]:
    """Counted from the supervisor's own log, which begins anew with each supervisor."""
    found: dict[str, Deaths] = {}
    if not places.supervisor_log.exists():
        return found
    # 2026-01-01 10:00:00,000 WARN exited: kafka (terminated by SIGKILL; not expected)
    pattern = re.compile(r"^(\S+ [^ ,]+)\S* \w+ exited: (\S+) \(([^;)]*)")
    for line in places.supervisor_log.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := pattern.match(line):
            at, name, how = match.groups()
            found[name] = Deaths(found.get(name, Deaths()).count + 1, f"{how} at {at}")
    return found


def family(places: Places) -> list[Process]:
    """Every process of this stack, whether its supervisor lives or not: by tree, by session and by mark."""
    found = set(processes.marked(str(places.state)))
    if leader := _last_supervisor(places):
        found |= (
            {*processes.in_session(leader), *processes.tree(leader.pid)}
            if leader.is_alive()
            else set(processes.in_session(leader))
        )
    return sorted(found, key=lambda process: process.started)


def _last_supervisor(places: Places) -> Process | None:
    try:
        return Process(**json.loads(places.session.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _state(places: Places, info: dict[str, Any]) -> State:
    name, started, description = (
        info["statename"].lower(),
        float(info["start"]),
        str(info["spawnerr"] or info["description"]),
    )
    pause = began_at(places, info["name"]) - time.time()
    if name == "running" and pause > 0:
        name, description = "waiting", f"starts again in {pause:.0f} s"
    return State(name=name, pid=info["pid"], started_at=started, description=description)


def began_at(places: Places, name: str) -> float:
    """When the service's own program began, or will begin (epoch seconds); 0 where that is not known."""
    try:
        return float(json.loads(places.pace(name).read_text(encoding="utf-8"))["began_at"])
    except (OSError, ValueError, KeyError):
        return 0.0


def _tolerating(faults: set[str], places: Places, method: str, *arguments: object) -> None:
    try:
        _call(places, method, *arguments)
    except xmlrpc.client.Fault as error:
        if not any(error.faultString.startswith(fault) for fault in faults):
            raise DependencyUnavailableError(
                f"Asking the supervisor: {method} {arguments[0]}",
                found=error.faultString,
                required="its consent",
                next_step="Run: bin/millrace doctor",
            ) from error


def _call(places: Places, method: str, *arguments: object) -> Any:  # noqa: ANN401 - XML-RPC answers are untyped
    # Only the environment `tools` has it, and whoever reads a supervisor's log elsewhere does not need it.
    from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-not-found]

    # One connection per call: the transport keeps no socket open that a dying supervisor could wait for.
    transport = SupervisorTransport(serverurl=f"unix://{places.socket}")
    try:
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        return getattr(proxy.supervisor, method)(*arguments)
    except _NOT_THERE as error:
        raise DependencyUnavailableError(
            "Asking the supervisor",
            found=f"no answer on {places.socket}",
            required="a running stack",
            next_step="Run: bin/millrace up",
        ) from error
    finally:
        transport.close()


def _adopt_orphans() -> None:
    # Kept across the execve that follows.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
