"""Every decision about a model: versions and aliases in MLflow, the promotion ledger in the ops database."""

import getpass
import json
import os
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, Column, Engine, Integer, String, Table, Text, insert, select, update

from contracts.errors import ConfigurationError, QualityGateError
from contracts.pipelines import PipelineSpec
from spark_apps.io.ops import UtcDateTime, metadata
from spark_apps.io.pointers import Decision
from spark_apps.io.tracking import MlflowClient, MlflowException
from spark_apps.ml.choosing import Rated
from spark_apps.ml.measuring.metrics import Measures
from spark_apps.ml.measuring.paired import Difference
from spark_apps.ml.splitting import splits
from spark_apps.ml.splitting.splits import Bounds

CHALLENGER, CHAMPION, ARCHIVED = "challenger", "champion", "archived"

promotions = Table(
    "promotions",
    metadata,
    Column("decision", String(64), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("pipeline", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("action", String(10), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("why", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("run_key", String(500), nullable=False),
    Column("who", String(200), nullable=False),
    #: Null while a promotion is written down and the aliases are not moved yet.
    Column("applied_at", UtcDateTime),
)


class Version(BaseModel):
    """A registered version of a model and the tags that say where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    run_id: str
    tags: dict[str, str]

    @property
    def label(self) -> str:
        """How tables and messages call it."""
        return f"version {self.version}"

    @property
    def columns(self) -> list[str]:
        """Feature columns that the model reads."""
        return list(json.loads(self.tags["columns"]))

    @property
    def split(self) -> Bounds:
        """Which rows it was fitted on."""
        return splits.from_json(self.tags["split"])

    def can_answer(self, spec: PipelineSpec, columns: list[str]) -> bool:
        """Whether it was trained for the same question, and its columns are among these and mean the same."""
        said = json.loads(self.tags["features"])
        same = all(said.get(name) == getattr(spec.features, name, None) for name in ("kind", "step_min", "group", "at"))
        asked = (self.tags.get("task", spec.task), self.tags.get("label", spec.label))
        return same and asked == (spec.task, spec.label) and set(self.columns) <= set(columns)

    def as_trained(self, spec: PipelineSpec) -> PipelineSpec:
        """The spec with the features that this version was trained on, whatever its file says by now."""
        if not self.can_answer(spec, self.columns):
            raise QualityGateError(
                f"Reading {self.name} {self.label}", found="features of another kind, or another label",
                required="what the pipeline's file says now", next_step="Train and promote a new version first.",
            )  # fmt: skip
        return spec.model_copy(update={"features": type(spec.features).model_validate_json(self.tags["features"])})


def by_alias(client: MlflowClient, name: str, alias: str) -> Version | None:
    """The version that carries the alias now, or None."""
    try:
        found = client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
    return _version(found)


def by_number(client: MlflowClient, name: str, version: int) -> Version:
    """A registered version; ConfigurationError where there is none of that number."""
    try:
        return _version(client.get_model_version(name, str(version)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ConfigurationError(
            f"Looking up {name} version {version}", found="no such version",
            required="one that train registered", next_step="Look at the model's versions in MLflow.",
        ) from error  # fmt: skip


def rated(
    version: Version, errors: Measures | None, split: Bounds, against_baseline: Difference | None = None
) -> Rated:
    """The version as the choice on this split's holdout sees it; without errors where it could not read the rows."""
    return Rated(
        version=version.version, errors=errors, columns=version.columns, against_baseline=against_baseline,
        knows_holdout=splits.known_to(version.split, split),
    )  # fmt: skip


def carry_out(client: MlflowClient, engine: Engine, decision: Decision, *, run_key: str) -> bool:
    """Carry out a decision and write it into the ledger, once; False where that has been done before.

    A promotion is written down, then the aliases move, then it is marked as applied: a crash between is finished by
    the next try. It is refused when another version became champion since the decision was made.
    """
    known = ledger_entry(engine, decision)
    if known and known["applied_at"]:
        return False
    name = decision.pipeline
    now = by_alias(client, name, CHAMPION)
    current = now.version if now else None
    to_version = decision.candidate_version if decision.promote else decision.champion_version
    if decision.promote and current not in (decision.champion_version, to_version):
        raise QualityGateError(
            f"Promoting version {to_version} of {name}", found=f"champion {current}",
            required=f"champion {decision.champion_version}, which the candidate was compared with",
            next_step="Evaluate the candidate again.",
        )  # fmt: skip
    if not known:
        entry = {
            "decision": decision.id, "at": datetime.now(UTC), "pipeline": decision.pipeline, "model": name,
            "action": "promote" if decision.promote else "keep", "from_version": decision.champion_version,
            "to_version": to_version, "why": decision.reason, "evidence": decision.evidence, "run_key": run_key,
            "who": _who(),
        }  # fmt: skip
        with engine.begin() as connection:
            connection.execute(insert(promotions).values(**entry))
    if decision.promote:
        _move_champion(client, decision)
    elif decision.candidate_version not in (None, decision.champion_version):
        _archive(client, name, int(decision.candidate_version or 0))
    with engine.begin() as connection:
        done = update(promotions).where(promotions.c.decision == decision.id).values(applied_at=datetime.now(UTC))
        connection.execute(done)
    return True


def ledger_entry(engine: Engine, decision: Decision) -> dict[str, Any] | None:
    """The ledger's row about this decision."""
    with engine.connect() as connection:
        row = connection.execute(select(promotions).where(promotions.c.decision == decision.id)).mappings().first()
    return dict(row) if row else None


def _move_champion(client: MlflowClient, decision: Decision) -> None:
    name, version = decision.pipeline, str(decision.candidate_version)
    if decision.champion_version is not None:
        _archive(client, name, decision.champion_version)
        client.set_registered_model_alias(name, ARCHIVED, str(decision.champion_version))
    client.set_registered_model_alias(name, CHAMPION, version)
    client.set_model_version_tag(name, version, "stage", CHAMPION)
    _drop_challenger(client, name, int(version))


def _archive(client: MlflowClient, name: str, version: int) -> None:
    client.set_model_version_tag(name, str(version), "stage", ARCHIVED)
    _drop_challenger(client, name, version)


def _drop_challenger(client: MlflowClient, name: str, version: int) -> None:
    # A newer candidate may carry the alias by now.
    challenger = by_alias(client, name, CHALLENGER)
    if challenger and challenger.version == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _version(found: Any) -> Version:  # noqa: ANN401 - MLflow's entity
    return Version(name=found.name, version=int(found.version), run_id=str(found.run_id), tags=dict(found.tags))


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
