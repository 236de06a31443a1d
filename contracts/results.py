"""What a run leaves behind: one ``result.json`` per try of a task, written by rename, that DAGs branch on."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from contracts.files import read_json, write_atomically

Status = Literal["done", "not_enough_data", "skipped", "failed"]


class RunContext(BaseModel):
    """Which try of which task of which run this is. Outside Airflow: dag ``cli`` and a run id made from the time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dag_id: str = Field(default="cli", min_length=1)
    run_id: str = Field(min_length=1)
    task_id: str = Field(min_length=1)
    map_index: int = Field(default=-1, ge=-1)
    try_number: int = Field(default=1, ge=1)

    @property
    def key(self) -> str:
        """Identity of the work itself, equal for all tries: what a task lock is taken on."""
        return "/".join(_slug(part) for part in (self.dag_id, self.run_id, self.task_id, str(self.map_index)))

    def run_folder(self, runs: Path) -> Path:
        """Folder shared by all tasks of the run; ``window.json`` is here."""
        return runs / _slug(self.dag_id) / _slug(self.run_id)

    def result_path(self, runs: Path) -> Path:
        """``runs/<dag>/<run>/<task>/<map index>/<try>/result.json``."""
        folder = self.run_folder(runs) / _slug(self.task_id) / str(self.map_index) / str(self.try_number)
        return folder / "result.json"


class Artefact(BaseModel):
    """A file that the run made, with its checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str


class RunResult(BaseModel):
    """Outcome of one application: ``rows`` are counts, ``metrics`` measures, ``facts`` anything else that is small."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    context: RunContext
    application: str
    status: Status
    exit_code: int = 0
    started_at: datetime
    finished_at: datetime
    rows: dict[str, int] = {}
    metrics: dict[str, float] = {}
    hashes: dict[str, str] = {}
    artefacts: list[Artefact] = []
    facts: dict[str, Any] = {}
    message: str = ""

    def write(self, runs: Path) -> Path:
        path = self.context.result_path(runs)
        write_atomically(path, self.model_dump_json(indent=2))
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.model_validate(read_json(path, "the run result"))


def _slug(text: str) -> str:
    # Airflow run ids hold ":" and "+", which Hadoop paths and some shells read as syntax.
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", text)
