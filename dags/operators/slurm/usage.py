"""What a job used against what it asked for."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from dags.operators.slurm.parsing import duration_s, memory_mib
from dags.operators.slurm.spec import SbatchSpec


@dataclass(frozen=True)
class Usage:
    """Figures of one job, None where nothing accounts for them. Memory is the largest of any step, per task."""

    elapsed_s: float | None = None
    cpu_s: float | None = None
    cpus: int | None = None
    nodes: int | None = None
    peak_memory_mib: float | None = None
    cpu_efficiency: float | None = None
    node_hours: float | None = None
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


def usage(sacct: list[str], own: str | None, spec: SbatchSpec) -> Usage:
    """From rows of sacct (all steps) and the script's own usage.json; the accounts win where both have a figure.

    Rows: ``JobIDRaw,State,ElapsedRaw,AllocCPUS,AllocNodes,TotalCPU,MaxRSS,ReqMem,TimelimitRaw``. The first is the
    allocation, the others its steps. cpu_efficiency is CPU time over elapsed time of all CPUs, as ``seff`` has it.
    """
    rows = [row.split("|") for row in sacct if row.count("|") >= 6]
    note = _own(own)
    elapsed = float(rows[0][2]) if rows and rows[0][2].isdigit() else note.get("elapsed_s")
    cpus = _positive(rows[0][3]) if rows else None
    nodes = _positive(rows[0][4]) if rows else None
    # While a step runs, or for one that was killed, TotalCPU is 0 and the script's own sum is the better figure.
    cpu = max((duration_s(rows[0][5]) or 0.0) if rows else 0.0, note.get("cpu_s", 0.0)) or None
    peaks = [memory for row in rows if (memory := memory_mib(row[6]))]
    peak = max(peaks) if peaks else note.get("peak_memory_mib")
    cpus, nodes = cpus or spec.cpus_per_task * spec.nodes, nodes or spec.nodes
    efficiency = cpu / (elapsed * cpus) if elapsed and cpu else None
    return Usage(
        elapsed_s=elapsed, cpu_s=_round(cpu), cpus=cpus, nodes=nodes, peak_memory_mib=_round(peak, 1),
        cpu_efficiency=_round(efficiency, 3), node_hours=None if elapsed is None else _round(nodes * elapsed / 3600, 4),
        source="sacct" if rows else "script" if note else "",
    )  # fmt: skip


def against(used: Usage, spec: SbatchSpec) -> str:
    """One sentence: requested against used."""
    memory = "unknown" if used.peak_memory_mib is None else f"{used.peak_memory_mib:.0f} MiB"
    time = "unknown" if used.elapsed_s is None else f"{used.elapsed_s / 60:.1f} min"
    return (
        f"memory used {memory} of {spec.memory_mib} MiB requested per node; "
        f"time used {time} of {spec.time_limit_min} min requested"
    )


def hint(state: str, exit_code: str, log_tail: str, used: Usage, spec: SbatchSpec) -> str:
    """What a person may do about it; empty where the log says more than we can."""
    lowered = log_tail.lower()
    if state == "OUT_OF_MEMORY" or ran_out_of_memory(exit_code, log_tail):
        more = int(max(spec.memory_mib * 1.5, (used.peak_memory_mib or 0) * 1.25))
        return f"It ran out of memory: set memory_mib to {more} or more, or let the task escalate OUT_OF_MEMORY."
    if "java.lang.outofmemoryerror" in lowered:
        return "The Java heap was too small: it is a share of memory_mib, so raise that."
    if state == "TIMEOUT":
        return (
            f"It met the time limit: set time_limit_min above {spec.time_limit_min}, or let the task escalate TIMEOUT."
        )
    if state == "CANCELLED":
        return "Somebody else cancelled it: ask the owner of that user id, or the site's administrators."
    if "no space left on device" in lowered or "disk quota exceeded" in lowered:
        return "A file system is full: look at the quota of the base folder and of the local scratch."
    if exit_code.startswith("69:"):
        return "The environment of the job is not there: check the site profile, its modules and the venv."
    return ""


def ran_out_of_memory(exit_code: str, log_tail: str) -> bool:
    """Without cgroups Slurm kills the job and calls it FAILED 0:9; only its log says why."""
    lowered = log_tail.lower()
    said = "exceeded memory limit" in lowered or "oom-kill" in lowered or "oom_kill" in lowered
    return said or exit_code.endswith(":125")


def _own(text: str | None) -> dict[str, float]:
    try:
        raw = json.loads(text) if text else {}
        return {key: float(value) for key, value in raw.items() if value is not None}
    except (ValueError, TypeError, AttributeError):
        return {}


def _positive(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) > 0 else None


def _round(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
