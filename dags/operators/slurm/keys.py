"""Names of jobs: which task of which run a job belongs to, for people and for the look-up before every submission."""

import hashlib
import json
import re
from dataclasses import dataclass

#: squeue, file systems and people all cope with this much.
MAX_NAME = 180
_GENERATION = 6


@dataclass(frozen=True)
class WorkKey:
    """Identity of one task instance of one run, equal for all its tries.

    ``item`` tells mapped tasks apart by what they work on: positions move when a list is expanded again.
    """

    dag_id: str
    task_id: str
    run_id: str
    item: str = ""

    def name(self, namespace: str = "millrace") -> str:
        """Safe for shells, file systems and Slurm, and never equal for different keys: it ends with a digest."""
        exact = json.dumps([namespace, self.dag_id, self.task_id, self.run_id, self.item])
        digest = hashlib.sha256(exact.encode()).hexdigest()[:16]
        parts = [namespace, self.dag_id, self.task_id, self.run_id, *([self.item] if self.item else [])]
        readable = ".".join(_slug(part) for part in parts)
        return f"{readable[: MAX_NAME - len(digest) - 1 - _GENERATION].rstrip('.-')}.{digest}"


def job_name(name: str, generation: int) -> str:
    """The name of one submission: a task that runs again after a clear has a new generation."""
    return f"{name}.g{generation}"


def item_of(explicit: str | None, map_index: int, arguments: list[str]) -> str:
    """What a mapped task works on: what the DAG says, else its arguments and, as these may repeat, its position."""
    if explicit:
        return explicit
    if map_index < 0:
        return ""
    return f"{map_index}-{hashlib.sha256(json.dumps(arguments).encode()).hexdigest()[:12]}"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "x"
