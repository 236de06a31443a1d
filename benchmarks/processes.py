"""CPU seconds and memory of this process and everything that it started."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS, _PAGE_MIB = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s() -> float:
    """CPU seconds so far, those of ended children included."""
    return sum(sum(map(int, fields[11:15])) for fields in _family().values()) / _TICKS


def cpu_s_of(pid: int) -> float:
    """CPU seconds of one process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / _TICKS


def resident_mib() -> float:
    """Resident memory now, added up."""
    return sum(int(fields[21]) for fields in _family().values()) * _PAGE_MIB


@contextmanager
def peak_mib() -> Iterator[Callable[[], float]]:
    """For the block, look four times a second; what is yielded tells the most that was seen."""
    most, done = [resident_mib()], threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            most[0] = max(most[0], resident_mib())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: most[0]
    finally:
        done.set()
        watcher.join()


def _family() -> dict[int, list[str]]:
    """The fields of /proc/PID/stat from the state on, of this process and its descendants."""
    found: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
    mine = {os.getpid()}
    while added := {pid for pid, fields in found.items() if int(fields[1]) in mine} - mine:
        mine |= added
    return {pid: found[pid] for pid in mine}
