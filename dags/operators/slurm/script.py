"""The text of a job's script: what differs between jobs, in front of ``job.sh``, which is equal for all."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from importlib import resources

from dags.operators.slurm.sites import Site, activation
from dags.operators.slurm.spec import PATH_PATTERN, QueueName, SbatchSpec


@dataclass(frozen=True)
class StagedInput:
    """An object on the cluster, and the name by which the job sees it below its inputs."""

    object_path: str
    name: str
    is_folder: bool


@dataclass(frozen=True)
class Program:
    """What a job runs. ``application`` is a path below the input ``code``.

    In ``args`` the job replaces ``@inputs@``, ``@outputs@`` and ``@job@`` by its folders. ``venv`` and ``jars`` are
    paths on the cluster.
    """

    application: str
    code: str
    args: tuple[str, ...] = ()
    inputs: tuple[StagedInput, ...] = ()
    venv: str = ""
    jars: str = ""
    java_home: str = ""


def job_script(spec: SbatchSpec, program: Program, place: Site, queue: QueueName = "slurm") -> str:
    """The whole script. It holds no secret: those are made on the node, when the job runs."""
    is_slurm = queue == "slurm"
    lines = ["#!/bin/bash"]
    lines += [f"#SBATCH {option}" for option in spec.directives()] if is_slurm else []
    # Slurm runs a copy from its spool folder, but in the folder that --chdir names.
    lines += ["JOB_DIR=$PWD" if is_slurm else 'JOB_DIR=$(cd "$(dirname "$0")" && pwd)']
    assigned = (
        ("APPLICATION", program.application), ("CODE", program.code), ("NODES", spec.nodes),
        ("CPUS", spec.cpus_per_task), ("MEMORY_MIB", spec.memory_mib), ("TIME_LIMIT_S", spec.time_limit_min * 60),
        ("SIGNAL_S", spec.signal_s), ("DETACHED", "no" if is_slurm else "yes"),
    )  # fmt: skip
    lines += [f"{name}={shlex.quote(str(value))}" for name, value in assigned]
    lines += [f"VENV={_expanding(program.venv)}", f"JARS={_expanding(program.jars)}"]
    lines += _array("ARGS", program.args)
    lines += _array("INPUTS", [_input(each) for each in program.inputs])
    lines += ["ACTIVATE() {"]
    lines += [f"    {line}" for line in activation(place, spec.modules)]
    if program.java_home:
        lines += [f"    export JAVA_HOME={_expanding(program.java_home)}"]
    lines += [f"    export {name}={shlex.quote(value)}" for name, value in sorted(spec.env.items())]
    lines += ["    :", "}"]
    return "\n".join(lines) + "\n\n" + _body()


def _array(name: str, values: "tuple[str, ...] | list[str]") -> list[str]:
    return [f"{name}=(", *(f"    {shlex.quote(value)}" for value in values), ")"]


def _input(each: StagedInput) -> str:
    return f"{'folder' if each.is_folder else 'file'}|{each.object_path}|{each.name}"


def _expanding(path: str) -> str:
    """For the cluster's shell, which knows what $HOME and $USER are there. Settings allow only plain characters."""
    if not re.fullmatch(PATH_PATTERN, path):
        raise ValueError(f"{path!r} is no plain path")
    return f'"{path}"'


@cache
def _body() -> str:
    return (resources.files("dags.operators.slurm") / "job.sh").read_text(encoding="utf-8")
