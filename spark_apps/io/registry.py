"""Every decision about a model, carried out: versions and aliases in MLflow, a row in the promotion ledger."""

import json
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine

from contracts.errors import ConfigurationError, QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.settings import Settings
from spark_apps.io import ledger, locks
from spark_apps.io.ledger import Entry
from spark_apps.io.pointers import Decision, Snapshot
from spark_apps.io.tracking import MlflowClient, MlflowException
from spark_apps.ml.choosing import Rated
from spark_apps.ml.comparing import Compared
from spark_apps.ml.splitting import splits
from spark_apps.ml.splitting.splits import Bounds

CHALLENGER, CHAMPION, ARCHIVED = "challenger", "champion", "archived"

#: How long one change of a champion waits for another to end, in seconds.
WAIT_S = 60
#: The tag of a version, for people: what registries have always called the stages that the aliases name.
STAGE = "stage"
STAGES = {CHALLENGER: "Staging", CHAMPION: "Production", ARCHIVED: "Archived"}


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

    @property
    def missing(self) -> dict[str, float]:
        """Share of rows without a value, by column, among all that its snapshot was chosen from."""
        return dict(self.provenance.get("missing", {}))

    @property
    def provenance(self) -> dict[str, Any]:
        """What its snapshot was made of."""
        return dict(json.loads(self.tags["snapshot_provenance"]))

    def snapshot(self, spec: PipelineSpec) -> Snapshot:
        """What it was trained and judged on."""
        name, digest = self.tags["snapshot"].split("/")
        return Snapshot(name=name, hash=digest, rows=0, path="", key=spec.key)

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


def rated(version: Version, split: Bounds, found: Compared, *, trained_on: Snapshot | None = None) -> Rated:
    """The version as the choice on this split's holdout sees it; without errors where it could not read the rows.

    ``trained_on`` is the snapshot that a candidate is said to have been trained on, and is judged on.
    """
    own, knows = version.label, splits.known_to(version.split, split)
    if trained_on and version.tags["snapshot"] != f"{trained_on.name}/{trained_on.hash}":
        knows = f"was trained on snapshot {version.tags['snapshot']}, not on {trained_on.name}/{trained_on.hash}"
    is_candidate = own == found.candidate
    return Rated(
        version=version.version, errors=found.errors.get(own), columns=version.columns, knows_holdout=knows,
        against_baseline=found.against_baseline.get(own), scoring_s=found.scoring_s.get(own),
        against_champion=found.against_champion if is_candidate else None,
        subgroups=found.subgroups if is_candidate else {},
    )  # fmt: skip


def alone(settings: Settings, pipeline: str, attempted: str) -> AbstractContextManager[None]:
    """Keep other processes from moving the aliases of this pipeline; LockHeldError after ``WAIT_S``."""
    # Aliases are moved by this process, so it holds the lock itself: no session is needed.
    return locks.exclusive(None, settings.locks / "models" / f"{pipeline}.lock", attempted, wait_s=WAIT_S)


def carry_out(client: MlflowClient, engine: Engine, decision: Decision, *, run_key: str) -> bool:
    """Carry out a decision and write it into the ledger, once; False where that has been done before. Call it alone.

    A promotion is written down, then the aliases move, then it is marked as applied: a crash between is finished by
    the next try. It is refused when another version became champion since the decision was made.
    """
    known = ledger.find(engine, decision.id)
    if known and known.applied_at:
        return False
    if decision.promote:
        settle(client, engine, decision.pipeline)
        _require_grounds(client, decision)
    entry = known or ledger.write(engine, _entry(decision, run_key))
    if decision.promote:
        apply(client, engine, entry)
        return True
    _archive_loser(client, decision)
    ledger.mark_applied(engine, entry)
    return True


def settle(client: MlflowClient, engine: Engine, pipeline: str) -> Entry | None:
    """Finish the change that a crash left half done after its alias had moved, and return its row. Call it alone."""
    now = by_alias(client, pipeline, CHAMPION)
    for entry in ledger.unfinished(ledger.history(engine, pipeline)):
        if now and now.version == entry.to_version:
            apply(client, engine, entry)
            return entry
    return None


def apply(client: MlflowClient, engine: Engine, entry: Entry) -> None:
    """Make the champion what the ledger's row says, then mark the row; doing it again changes nothing."""
    name, old, new = entry.pipeline, entry.from_version, str(entry.to_version)
    # The old version's tag goes first, so that no two are in Production; the alias itself can only be at one.
    if old not in (None, entry.to_version):
        _archive(client, name, int(old or 0))
        client.set_registered_model_alias(name, ARCHIVED, str(old))
    client.set_registered_model_alias(name, CHAMPION, new)
    client.set_model_version_tag(name, new, STAGE, STAGES[CHAMPION])
    _drop_challenger(client, name, int(new))
    ledger.mark_applied(engine, entry)


def _require_grounds(client: MlflowClient, decision: Decision) -> None:
    """QualityGateError unless the decision is about the present champion and says what it rests on."""
    name, to_version = decision.pipeline, decision.candidate_version
    if to_version is None or not decision.evidence:
        raise QualityGateError(
            f"Promoting version {to_version} of {name}", found="a decision without candidate_version, or evidence",
            required="both: a champion without evidence cannot be explained later",
            next_step="Evaluate the candidate, or write down in evidence what the decision rests on.",
        )  # fmt: skip
    now = by_alias(client, name, CHAMPION)
    current = now.version if now else None
    if current not in (decision.champion_version, to_version):
        raise QualityGateError(
            f"Promoting version {to_version} of {name}", found=f"champion {current}",
            required=f"champion {decision.champion_version}, which the candidate was compared with",
            next_step="Evaluate the candidate again.",
        )  # fmt: skip
    by_number(client, name, to_version)


def _entry(decision: Decision, run_key: str) -> Entry:
    return Entry(
        decision=decision.id, at=datetime.now(UTC), pipeline=decision.pipeline, model=decision.pipeline,
        action="promote" if decision.promote else "keep", from_version=decision.champion_version,
        to_version=decision.candidate_version if decision.promote else decision.champion_version,
        why=decision.reason, evidence=decision.evidence, run_key=run_key, who=ledger.who(),
    )  # fmt: skip


def _archive_loser(client: MlflowClient, decision: Decision) -> None:
    """The candidate that was not chosen; not where it is the champion, by a rollback in the meantime for instance."""
    now = by_alias(client, decision.pipeline, CHAMPION)
    if decision.candidate_version not in (None, decision.champion_version, now and now.version):
        _archive(client, decision.pipeline, int(decision.candidate_version or 0))


def _archive(client: MlflowClient, name: str, version: int) -> None:
    client.set_model_version_tag(name, str(version), STAGE, STAGES[ARCHIVED])
    _drop_challenger(client, name, version)


def _drop_challenger(client: MlflowClient, name: str, version: int) -> None:
    # A newer candidate may carry the alias by now.
    challenger = by_alias(client, name, CHALLENGER)
    if challenger and challenger.version == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _version(found: Any) -> Version:  # noqa: ANN401 - MLflow's entity
    return Version(name=found.name, version=int(found.version), run_id=str(found.run_id), tags=dict(found.tags))
