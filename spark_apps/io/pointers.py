"""Pointer files of a training run: what one step leaves in the run folder for the next."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import ConfigurationError
from contracts.files import read_json, write_atomically
from spark_apps.ml.splitting.splits import Bounds

_POINTER = ConfigDict(frozen=True, extra="forbid")
_Pointer = TypeVar("_Pointer", bound=BaseModel)


class Snapshot(BaseModel):
    """``snapshot.json``: a training snapshot and what this run made it from.

    ``path`` says where it was written; reading goes by name and hash.
    """

    model_config = _POINTER

    name: str
    hash: str
    rows: int
    path: str
    key: tuple[str, ...]
    provenance: dict[str, Any] = {}

    def write_pointer(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json(indent=2))

    @classmethod
    def read_pointer(cls, path: Path) -> Self:
        return _read(cls, path, "build_features")


class Candidate(BaseModel):
    """``candidate.json``: what train made, for evaluate. No version and no split where there were not enough rows."""

    model_config = _POINTER

    pipeline: str
    status: Literal["registered", "not_enough_data"]
    reason: str
    snapshot: Snapshot
    version: int | None = None
    run_id: str | None = None
    split: Bounds | None = None

    def write(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json(indent=2))

    @classmethod
    def read(cls, path: Path, *, pipeline: str) -> Self:
        found = _read(cls, path, "train")
        _require_same(found.pipeline, pipeline, path, "train")
        return found


class Decision(BaseModel):
    """``decision.json``: what evaluate chose, for promote. ``evidence`` holds the errors of everyone compared."""

    model_config = _POINTER

    pipeline: str
    promote: bool
    reason: str
    candidate_version: int | None = None
    champion_version: int | None = None
    snapshot_hash: str
    evidence: dict[str, Any] = {}

    @classmethod
    def without_candidate(cls, candidate: Candidate) -> Self:
        """Nothing was trained, so nothing changes."""
        return cls(
            pipeline=candidate.pipeline, promote=False, reason=candidate.reason, snapshot_hash=candidate.snapshot.hash
        )

    @property
    def id(self) -> str:
        """The same question answered the same way is the same decision, whenever it was asked."""
        asked = [self.pipeline, self.candidate_version, self.champion_version, self.snapshot_hash, self.promote]
        return sha256(json.dumps(asked).encode()).hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """For the run result, where the DAG looks which way to go."""
        said = self.model_dump(include={"reason", "candidate_version", "champion_version"})
        return {"decision": "promote" if self.promote else "keep", **said}

    def write(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json(indent=2))

    @classmethod
    def read(cls, path: Path, *, pipeline: str) -> Self:
        found = _read(cls, path, "evaluate")
        _require_same(found.pipeline, pipeline, path, "evaluate")
        return found


def _read(kind: type[_Pointer], path: Path, step: str) -> _Pointer:
    try:
        return kind.model_validate(read_json(path, f"what {step} left"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise _wrong(path, step, f"{path}, {field}: {first['msg']}", f"the file that {step} writes") from error


def _require_same(found: str, asked: str, path: Path, step: str) -> None:
    if found != asked:
        raise _wrong(path, step, f"{path} of pipeline {found}", f"one of pipeline {asked}")


def _wrong(path: Path, step: str, found: str, required: str) -> ConfigurationError:
    return ConfigurationError(
        f"Reading what {step} left",
        found=found,
        required=required,
        next_step=f"Run {step} again, or pass another file than {path.name}.",
    )
