"""What Slurm's commands print, and what our remote scripts answer, as values."""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dags.operators.slurm.errors import QueueUnavailableError, TransportError
from dags.operators.slurm.states import PHASES, plain_state

_MIB = {"": 1 / 1024**2, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}


@dataclass(frozen=True)
class JobView:
    """One job as one command showed it. ``starts_at`` is Slurm's guess while the job is pending."""

    job_id: str
    state: str
    name: str = ""
    reason: str = ""
    exit_code: str = ""
    starts_at: str = ""
    nodes: str = ""
    restarts: int = 0
    source: str = "squeue"
    #: How long it has been running, where the source says.
    elapsed_s: float | None = None


@dataclass(frozen=True)
class OwnState:
    """What the job's script last wrote about itself; ``at`` is seconds since 1970."""

    phase: str
    restart: int = 0
    exit_code: int | None = None
    node: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class PartitionInfo:
    """One Slurm partition from sinfo; limits in minutes and MiB per node, None for none."""

    name: str
    is_up: bool
    max_time_min: int | None
    nodes: int
    cpus: int
    memory_mib: int


#: Rows of squeue and sacct, lines of scontrol, and what our scripts say of a job.
_JOB_ID = re.compile(r"(?:JobId=)?([^\s|]+)")


@dataclass(frozen=True)
class Answer:
    """Lines of a remote script, by their first word."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    def one(self, word: str) -> str | None:
        found = self.lines.get(word)
        return found[-1] if found else None

    def all(self, word: str) -> list[str]:
        return self.lines.get(word, [])

    def about(self, job_id: str) -> "Answer":
        """The lines that begin with the id of this job; an answer about hundreds is looked through once."""
        return Answer(self._by_job.get(job_id, {}))

    @cached_property
    def _by_job(self) -> dict[str, dict[str, list[str]]]:
        found: dict[str, dict[str, list[str]]] = {}
        for word, lines in self.lines.items():
            for line in lines:
                if named := _JOB_ID.match(line):
                    found.setdefault(named.group(1), {}).setdefault(word, []).append(line)
        return found


def answer(output: bytes, what: str) -> Answer:
    """Read a remote script's answer; a QueueUnavailableError or TransportError where there is none, or half of one.

    Lines before the first that we know are the host's greetings.
    """
    lines: dict[str, list[str]] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        if re.fullmatch(r"[A-Z]+", word):
            lines.setdefault(word, []).append(rest)
    if "END" not in lines:
        raise TransportError(
            what, found=f"an answer that is cut short ({output[-200:]!r})", required="the whole answer",
            next_step="It is asked again.",
        )  # fmt: skip
    found = Answer(lines)
    if (problem := found.one("PROBLEM")) and problem.startswith("queue "):
        raise QueueUnavailableError(
            what, found=unpacked(problem.split(" ", 1)[1]).decode("utf-8", "replace").strip(),
            required="an answer of the queue", next_step="It is asked again.",
        )  # fmt: skip
    return found


def unpacked(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise TransportError(
            "Reading an answer", found=f"damaged base64 ({error})", required="what was sent",
            next_step="It is asked again.",
        ) from error  # fmt: skip


def squeue_rows(rows: Iterable[str]) -> list[JobView]:
    """Rows of ``squeue -o '%i|%T|%r|%S|%j|%N|%M|%l'``."""
    views = []
    for row in rows:
        fields = row.strip().split("|")
        if len(fields) < 6 or not fields[0]:
            continue
        job_id, state, reason, starts_at, name, nodes, *more = (text.strip() for text in fields)
        elapsed = duration_s(more[0]) if more else None
        views.append(
            JobView(
                job_id, plain_state(state), name, _none(reason), starts_at=_none(starts_at), nodes=_none(nodes),
                elapsed_s=elapsed,
            )
        )  # fmt: skip
    return views


def scontrol_rows(rows: Iterable[str]) -> list[JobView]:
    """Rows of ``scontrol -o show job``."""
    views = []
    for row in rows:
        pairs = dict(re.findall(r"(?:^|\s)([A-Za-z/:]+)=(\S*)", row))
        if "JobId" in pairs and "JobState" in pairs:
            views.append(
                JobView(
                    pairs["JobId"], plain_state(pairs["JobState"]), pairs.get("JobName", ""),
                    _none(pairs.get("Reason", "")), pairs.get("ExitCode", ""), _none(pairs.get("StartTime", "")),
                    _none(pairs.get("NodeList", "")), int(pairs.get("Restarts") or 0), source="scontrol",
                )
            )  # fmt: skip
    return views


def sacct_rows(rows: Iterable[str]) -> list[JobView]:
    """Rows of ``sacct -X -n -P --format=JobIDRaw,State,ExitCode,JobName``; the last one of a job counts."""
    views = []
    for row in rows:
        fields = row.strip().split("|")
        if len(fields) >= 4 and fields[1]:
            views.append(
                JobView(fields[0], plain_state(fields[1]), fields[3], _by(fields[1]), fields[2], source="sacct")
            )
    return views


def sinfo_rows(rows: Iterable[str]) -> list[PartitionInfo]:
    """Rows of ``sinfo -o '%R|%a|%l|%D|%c|%m|%G'``; one partition has a row per kind of node."""
    found = []
    for row in rows:
        fields = row.strip().split("|")
        if len(fields) >= 6:
            name, up, limit, nodes, cpus, memory = fields[:6]
            seconds = duration_s(limit)
            found.append(
                PartitionInfo(
                    name, up == "up", None if seconds is None else int(seconds // 60), _number(nodes), _number(cpus),
                    _number(memory),
                )
            )  # fmt: skip
    return found


def own_state(text: str) -> OwnState | None:
    """The content of state.json; None for one that is damaged, which a full file system can make of it."""
    try:
        raw: dict[str, Any] = json.loads(text)
        code = raw.get("exit_code")
        return OwnState(
            str(raw["phase"]), int(raw.get("restart", 0)), None if code is None else int(code),
            str(raw.get("node", "")), float(raw.get("at", 0)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def seen(job_id: str, name: str, found: Answer, own: OwnState | None) -> JobView | None:
    """The job as all sources together show it, None where nobody knows it.

    squeue comes first: a job that was requeued is pending there while the accounts show the end of its first life.
    A row with another name is another job that was given the same id. The job's own word counts where Slurm has
    forgotten it, and where Slurm cannot know: a script that heard the time limit coming ends as FAILED 143.
    """
    sources = (
        scontrol_rows(found.all("DETAIL")), squeue_rows(found.all("QUEUE")), sacct_rows(found.all("ACCOUNT"))[::-1],
    )  # fmt: skip
    rows = [view for views in sources for view in views if view.job_id == job_id and view.name == name]
    if not rows:
        if own is None or own.phase not in PHASES:
            return None
        return JobView(job_id, PHASES[own.phase], name, "", f"{own.exit_code or 0}:0", source="state.json")
    view = rows[0]
    if view.state == "FAILED" and own and own.phase in {"time_limit", "unwatched"}:
        return JobView(job_id, PHASES[own.phase], name, "", view.exit_code, nodes=view.nodes, source="state.json")
    return view


def duration_s(text: str) -> float | None:
    """Seconds of Slurm's ``[D-]HH:MM:SS[.mmm]`` or ``MM:SS``; None for UNLIMITED and what is no duration."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", text.strip())
    if not match:
        return None
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)


def memory_mib(text: str) -> float | None:
    """MiB of Slurm's ``12345K``, ``2G``, ``4096M``, ``3Gn``, ``0``; None for an empty field."""
    match = re.fullmatch(r"([\d.]+)([KMGTP]?)[nc]?", text.strip())
    if not match:
        return None
    return float(match.group(1)) * _MIB[match.group(2)]


def _none(text: str) -> str:
    return "" if text in {"None", "N/A", "(null)", "Unknown"} else text


def _by(state: str) -> str:
    match = re.search(r"by (\S+)", state)
    return f"by user {match.group(1)}" if match else ""


def _number(text: str) -> int:
    # sinfo writes "64+" where nodes differ.
    digits = re.match(r"\d+", text)
    return int(digits.group()) if digits else 0
