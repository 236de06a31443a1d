"""Slurm jobs as tests see them: submitted, waited for, asked about."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.slurm.lab import Lab


def submit(lab: Lab, script: str, *options: str) -> str:
    """Id of a job that runs ``script``; what it writes is in ``<id>.out`` of the lab's scratch folder."""
    done = lab.run("sbatch", "--parsable", "--output=%j.out", *options, stdin=f"#!/bin/bash\n{script}\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def look(lab: Lab, job: str, what: str = "%T") -> str:
    """What ``squeue`` says of a job, finished or not: ``%T`` state, ``%r`` reason."""
    return lab.run("squeue", "--noheader", "--states=all", f"--jobs={job}", f"--format={what}").stdout.strip()


def wait(lab: Lab, job: str, *states: str, timeout_s: float = 60) -> None:
    """Return when the job is in one of ``states``."""
    deadline = time.monotonic() + timeout_s
    while (state := look(lab, job)) not in states:
        assert time.monotonic() < deadline, f"job {job} is {state} ({look(lab, job, '%r')}), wanted {states}"
        time.sleep(0.1)


def output(lab: Lab, job: str) -> str:
    """What the job wrote so far; empty where it wrote nothing yet."""
    path = lab.places.scratch / f"{job}.out"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def wait_for_output(lab: Lab, job: str, words: str, timeout_s: float = 60) -> None:
    """Return when the job has written ``words``."""
    deadline = time.monotonic() + timeout_s
    while words not in output(lab, job):
        assert time.monotonic() < deadline, f"job {job} ({look(lab, job)}) wrote {output(lab, job)!r}"
        time.sleep(0.1)
