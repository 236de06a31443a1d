"""What an application used, by job group, from Spark's event log."""

import json
import statistics
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

_MIB = 2**20


@dataclass
class Usage:
    """Sums over tasks. CPU and GC in seconds; bytes in MiB; ``executors`` by the tasks that ran there.

    ``cpu_s`` is that of the executors' JVM threads: Python workers are not in it.
    """

    tasks: int = 0
    cpu_s: float = 0.0
    run_s: float = 0.0
    gc_s: float = 0.0
    shuffle_read_mib: float = 0.0
    shuffle_written_mib: float = 0.0
    spilled_mib: float = 0.0
    peak_memory_mib: float = 0.0
    peak_heap_mib: float = 0.0
    longest_task_s: float = 0.0
    executors: dict[str, int] = field(default_factory=dict)

    def add(self, event: dict[str, Any]) -> None:
        metrics = event.get("Task Metrics") or {}
        read, written = metrics.get("Shuffle Read Metrics", {}), metrics.get("Shuffle Write Metrics", {})
        executor = event["Task Info"]["Executor ID"]
        self.tasks += 1
        self.cpu_s += metrics.get("Executor CPU Time", 0) / 1e9
        run_s = metrics.get("Executor Run Time", 0) / 1e3
        self.run_s += run_s
        self.longest_task_s = max(self.longest_task_s, run_s)
        self.gc_s += metrics.get("JVM GC Time", 0) / 1e3
        self.shuffle_read_mib += (read.get("Remote Bytes Read", 0) + read.get("Local Bytes Read", 0)) / _MIB
        self.shuffle_written_mib += written.get("Shuffle Bytes Written", 0) / _MIB
        self.spilled_mib += metrics.get("Disk Bytes Spilled", 0) / _MIB
        # The most that one task held for sorting, joining and aggregating; and the most of an executor's heap.
        self.peak_memory_mib = max(self.peak_memory_mib, metrics.get("Peak Execution Memory", 0) / _MIB)
        heap = (event.get("Task Executor Metrics") or {}).get("JVMHeapMemory", 0) / _MIB
        self.peak_heap_mib = max(self.peak_heap_mib, heap)
        self.executors[executor] = self.executors.get(executor, 0) + 1


def by_group(folder: Path) -> dict[str, Usage]:
    """Job group -> usage, of the one application whose log lies in ``folder``; tasks outside any group under ``""``."""
    [path] = [each for each in folder.iterdir() if not each.name.startswith(".")]
    group_of: dict[int, str] = {}
    found: dict[str, Usage] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["Event"] == "SparkListenerJobStart":
                group = (event.get("Properties") or {}).get("spark.jobGroup.id", "")
                # A stage that another group's job made already belongs to whoever made it.
                for stage in event["Stage IDs"]:
                    group_of.setdefault(stage, group)
            elif event["Event"] == "SparkListenerTaskEnd":
                found.setdefault(group_of.get(event["Stage ID"], ""), Usage()).add(event)
    return found


def mean(usages: list[Usage]) -> dict[str, float]:
    """Of every field that is a number."""
    names = [each.name for each in fields(Usage) if each.name != "executors"]
    return {name: statistics.mean(getattr(usage, name) for usage in usages) for name in names}


def total(usages: list[Usage]) -> Usage:
    """All of them as one."""
    every = Usage()
    for usage in usages:
        for name in ("tasks", "cpu_s", "run_s", "gc_s", "shuffle_read_mib", "shuffle_written_mib", "spilled_mib"):
            setattr(every, name, getattr(every, name) + getattr(usage, name))
        for name in ("peak_memory_mib", "peak_heap_mib", "longest_task_s"):
            setattr(every, name, max(getattr(every, name), getattr(usage, name)))
        for executor, tasks in usage.executors.items():
            every.executors[executor] = every.executors.get(executor, 0) + tasks
    return every
