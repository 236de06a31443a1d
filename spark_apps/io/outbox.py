"""Fitted models on their way to MLflow: kept whole until a try of the task that registers them can reach it.

One that MLflow was too far away to take waits in the state folder; one that was fitted on another machine comes in a
folder of its own.
"""

import json
import logging
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pyspark.ml import PipelineModel

from contracts.errors import ConfigurationError, DependencyUnavailableError
from contracts.files import read_json, write_atomically
from contracts.settings import Settings
from spark_apps.ml.clustering.profiles import Profile
from spark_apps.ml.fitted import Fitted
from spark_apps.ml.measuring.evidence import Evidence
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.trials import Trial

log = logging.getLogger("millrace")

_RECORD, _MODEL = "record.json", "model"


class Record(BaseModel):
    """``record.json``: everything of a training but the model itself, and the tags of its run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tags: dict[str, str]
    columns: list[str]
    errors: dict[str, Measures]
    algorithm: str
    chosen: dict[str, Any]
    trials: list[Trial]
    evidence: Evidence | None
    profiles: tuple[Profile, ...]

    @classmethod
    def of(cls, fitted: Fitted, tags: dict[str, str]) -> "Record":
        return cls(tags=tags, **{name: getattr(fitted, name) for name in _parts()})

    def fitted(self, model: PipelineModel) -> Fitted:
        return Fitted(model=model, **{name: getattr(self, name) for name in _parts()})

    def to_json(self) -> str:
        """As text; a measure may be infinite, or no number, which pydantic would write as null."""
        return json.dumps(self.model_dump(mode="json"), indent=2)


def keep(settings: Settings, pipeline: str, fitted: Fitted, tags: dict[str, str]) -> Path:
    """Store model and record in the task's folder, whole or not at all; one that is there already is the same."""
    return store(_folder(settings, pipeline, tags["run_key"]), fitted, tags)


def store(final: Path, fitted: Fitted, tags: dict[str, str]) -> Path:
    """Write model and record into the folder ``final``, whole or not at all."""
    if final.exists():
        return final
    # One name for every try: what a killed one left is overwritten. Without a dot in front, which hides from Spark.
    aside = final.with_name(f"{final.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    fitted.model.save((aside / _MODEL).as_uri())
    write_atomically(aside / _RECORD, Record.of(fitted, tags).to_json())
    aside.rename(final)
    return final


def find(settings: Settings, pipeline: str, asked: dict[str, str]) -> tuple[Fitted, dict[str, str]] | None:
    """What an earlier try of this task fitted, with its tags; None where it kept nothing, or another model.

    ``asked`` are the tags that say what this try would fit (``model_runs.asked``). What was kept for anything else, or
    cannot be read, is removed. The files are needed until the model is registered: Spark reads the factors of a
    recommender whenever they are asked for.
    """
    folder = _folder(settings, pipeline, asked["run_key"])
    if not folder.exists():
        return None
    found = stored(folder, asked)
    if found is None:
        remove(settings, pipeline, asked["run_key"])
    return found


def stored(folder: Path, asked: dict[str, str]) -> tuple[Fitted, dict[str, str]] | None:
    """What `store` wrote, if it can be read and was fitted for what is asked; else None, and a warning says why."""
    try:
        record = Record.model_validate(read_json(folder / _RECORD, "a fitted model"))
    except (ConfigurationError, ValidationError) as error:
        log.warning("outbox=%s ignored, it cannot be read: %s", folder, error)
        return None
    if differing := [name for name, value in asked.items() if record.tags.get(name) != value]:
        log.warning("outbox=%s ignored, it was fitted for another %s", folder, ", ".join(differing))
        return None
    return record.fitted(PipelineModel.load((folder / _MODEL).as_uri())), record.tags


def remove(settings: Settings, pipeline: str, run_key: str) -> None:
    """Forget what was kept for this task."""
    shutil.rmtree(_folder(settings, pipeline, run_key), ignore_errors=True)


def waiting(error: DependencyUnavailableError, pipeline: str, folder: Path, run_id: str) -> DependencyUnavailableError:
    """The error of a training whose model is in the outbox."""
    return DependencyUnavailableError(
        f"Registering a model of {pipeline}", found=error.found, required=error.required,
        changed=f"The fitted model waits in {folder}.",
        next_step=f"{error.next_step} The next try of the same run (--run-id {run_id}) registers it, and fits nothing.",
    )  # fmt: skip


def _folder(settings: Settings, pipeline: str, run_key: str) -> Path:
    return settings.state / "outbox" / pipeline / run_key


def _parts() -> list[str]:
    return [field.name for field in fields(Fitted) if field.name != "model"]
