"""What runs on this machine, read from /proc: process trees, memory, who holds a port, who belongs to a stack."""

import errno
import os
import re
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: In the environment of everything that the supervisor starts, so that a process whose parents died is still found.
MARKER = "MILLRACE_SUPERVISED"

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process; ``started`` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    started: int

    def is_alive(self) -> bool:
        stat = _stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state != "Z"

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""
        return _boot_time() + self.started / _TICKS_PER_S


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    session: int
    started: int


def find(pid: int) -> Process | None:
    stat = _stat(pid)
    return Process(pid, stat.started) if stat and stat.state != "Z" else None


def tree(root: int) -> list[Process]:
    """The process ``root`` and everything below it."""
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid))}
    children: dict[int, list[int]] = defaultdict(list)
    for pid, stat in stats.items():
        children[stat.parent].append(pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            found.append(Process(pid, stats[pid].started))
        waiting += children[pid]
    return found


def marked(value: str) -> list[Process]:
    """Processes that a supervisor of the stack ``value`` started, wherever they hang in the tree by now.

    Those that overwrite their own environment (Airflow's, by setproctitle) are missed; ``in_session`` finds them.
    """
    wanted = f"{MARKER}={value}".encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and pid != os.getpid() and (process := find(pid)):
            found.append(process)
    return found


def in_session(leader: Process) -> list[Process]:
    """Processes of the session that ``leader`` began, also when the leader itself is gone.

    The system gives a session's number to nobody else as long as one process is in it; another process of that number
    means that the session is over.
    """
    now = find(leader.pid)
    if now is not None and now != leader:
        return []
    stats = ((pid, _stat(pid)) for pid in _pids())
    return [
        Process(pid, stat.started) for pid, stat in stats if stat and stat.session == leader.pid and stat.state != "Z"
    ]


def memory_mib(processes: Iterable[Process]) -> float:
    """Proportional set size in MiB: pages shared by several processes are counted once over all of them."""
    kib = 0
    for process in processes:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        if match := re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE):
            kib += int(match[1])
    return kib / 1024


def available_memory_mib() -> float:
    """What may still be allocated without swapping, the limit of our own control group included."""
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    match = re.search(r"^MemAvailable:\s+(\d+)", meminfo, re.MULTILINE)
    available = int(match[1]) / 1024 if match else float("inf")
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            cache = re.search(
                r"^inactive_file (\d+)", (group / "memory.stat").read_text(encoding="ascii"), re.MULTILINE
            )
            free = int(limit) - used + (int(cache[1]) if cache else 0)
            available = min(available, free / 2**20)
    except OSError:
        # No control group of version 2 at this place: only the machine's own limit counts.
        return available
    return available


def is_port_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without this a connection that closed a minute ago (TIME_WAIT) counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return True
            raise
    return False


def port_holder(port: int) -> str:
    """Who listens on ``port``: ``pid 123 (java -cp …)``, or that it cannot be seen (another user's process)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in _pids():
        try:
            if any(os.readlink(handle.path) in inodes for handle in os.scandir(f"/proc/{pid}/fd")):
                return f"pid {pid} ({command(pid)})"
        except OSError:
            continue
    return "a process of another user (its pid cannot be seen from here)"


def lock_holders(folder: Path) -> list[tuple[Path, int]]:
    """Lock files below ``folder`` that a process holds, with its pid."""
    inodes = {path.stat().st_ino: path for path in folder.rglob("*.lock")} if folder.exists() else {}
    held = []
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        # 1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF; a waiter has "->" after the number and holds nothing
        fields = line.split()
        if fields[1] != "->" and (path := inodes.get(int(fields[5].rsplit(":", 1)[1]))):
            held.append((path, int(fields[4])))
    return held


def command(pid: int, width: int = 100) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "gone"
    return words if len(words) <= width else words[: width - 1] + "…"


def end(processes: Iterable[Process], grace_s: float = 5.0) -> list[Process]:
    """Ask with SIGTERM, then SIGKILL; returns what was still there to be ended."""
    left = [process for process in processes if process.is_alive()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in left:
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + grace_s
        while any(process.is_alive() for process in left) and time.monotonic() < deadline:
            time.sleep(0.1)
        if not any(process.is_alive() for process in left):
            break
    return left


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may itself hold parentheses and spaces.
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(state=fields[0], parent=int(fields[1]), session=int(fields[3]), started=int(fields[19]))


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise OSError("/proc/stat has no btime")
