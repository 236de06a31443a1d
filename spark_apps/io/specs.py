"""What a run is told to train, and by which code: the pipeline argument and the git revision."""

import subprocess
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from contracts import pipelines
from contracts.errors import ConfigurationError
from contracts.pipelines import PipelineSpec
from contracts.pipelines.study import StudySpec
from contracts.settings import REPOSITORY
from spark_apps.io.pointers import Snapshot

UNKNOWN = "unknown"

_Spec = TypeVar("_Spec", PipelineSpec, StudySpec)


def pipeline(name: str) -> PipelineSpec:
    """For ``add_argument(type=...)``: a wrong spec ends the application with exit code 2 before Spark starts."""
    return _argument(pipelines.load, name)


def study(name: str) -> StudySpec:
    """As ``pipeline``, for a study."""
    return _argument(pipelines.load_study, name)


def require_built_by(spec: PipelineSpec, snapshot: Snapshot) -> None:
    """A snapshot of another pipeline, or of what its file said before, is a ConfigurationError."""
    found = (snapshot.name, snapshot.provenance.get("spec_hash", spec.hash))
    if found != (spec.snapshot_name, spec.hash):
        raise ConfigurationError(
            f"Using a snapshot for {spec.name}",
            found=f"snapshot {snapshot.name}/{snapshot.hash[:12]} of spec {found[1][:12]}",
            required=f"{spec.snapshot_name} of spec {spec.hash[:12]}, which its file says now",
            next_step="Run build_features and what follows again.",
        )  # fmt: skip


def git_revision(repository: Path = REPOSITORY) -> str:
    """Commit of the code that runs, with ``+dirty`` where files differ from it; ``unknown`` outside a repository."""
    head = _git(repository, "rev-parse", "--verify", "HEAD")
    if head is None:
        return UNKNOWN
    return f"{head}+dirty" if _git(repository, "status", "--porcelain") else head


def _git(repository: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _argument(load: Callable[[str], _Spec], name: str) -> _Spec:
    try:
        return load(name)
    except ConfigurationError as error:
        raise ArgumentTypeError(str(error)) from error
