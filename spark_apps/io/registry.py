"""Every model, every decision about one: versions and aliases in MLflow, the promotion ledger in the ops database."""

import atexit
import getpass
import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from pydantic import BaseModel, ConfigDict
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from sqlalchemy import JSON, Column, Engine, Integer, String, Table, Text, insert, select, update

from contracts.errors import ConfigurationError, DependencyUnavailableError, QualityGateError
from contracts.pipelines import PipelineSpec
from contracts.settings import Settings
from spark_apps.io.ops import UtcDateTime, metadata
from spark_apps.io.pointers import Decision
from spark_apps.io.snapshots import Snapshot
from spark_apps.ml import metrics, splits
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.choosing import Rated
from spark_apps.ml.fitted import CANDIDATE, Fitted
from spark_apps.ml.metrics import Measures
from spark_apps.ml.paired import Difference
from spark_apps.ml.splits import Bounds

# Read by MLflow whenever it sends a request. A server that hangs is given up after 10 s x 3, well within a minute.
_CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _name, _value in _CLIENT.items():
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402 - after the environment it reads on import
import mlflow.spark  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException, RestException  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402

for _chatty in ("mlflow", "alembic"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)
# It misses pip, which an environment made by uv does not have.
logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)

CHALLENGER, CHAMPION, ARCHIVED = "challenger", "champion", "archived"
_ARTIFACT = "model"

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


@contextmanager
def tracking(settings: Settings) -> Iterator[MlflowClient]:
    """MLflow of ``settings`` for the block; a server that does not answer is a DependencyUnavailableError."""
    uri = settings.tracking_uri
    _require_answer(uri)
    mlflow.set_tracking_uri(uri)
    try:
        yield MlflowClient(uri)
    except RestException as error:
        if error.get_http_status_code() >= 500:
            raise _unavailable(uri, str(error)) from error
        raise
    except (MlflowException, requests.RequestException) as error:
        _require_answer(uri)
        if isinstance(error, requests.RequestException):
            raise _unavailable(uri, str(error)) from error
        raise


def register(
    client: MlflowClient,
    settings: Settings,
    spec: PipelineSpec,
    fitted: Fitted,
    inputs: DataFrame,
    *,
    tags: dict[str, str],
    run_name: str,
) -> Version:
    """Log one run with the model, then register it as a new version with alias ``challenger``.

    ``inputs`` are rows it was fitted on. The version is made last, with all its tags at once: a failure on the way
    leaves a run without a version, never a version without its origin.
    """
    import pyspark

    own = fitted.errors[CANDIDATE]
    seen = inputs.select(*fitted.columns)
    signature = infer_signature(seen, fitted.model.transform(seen).select(PREDICTION))
    with mlflow.start_run(experiment_id=_experiment(client, settings, spec.name), run_name=run_name, tags=tags) as run:
        mlflow.log_params(
            {"name": fitted.algorithm, **fitted.chosen, "seed": spec.seed, "fit_partitions": spec.fit_partitions}
        )
        mlflow.log_metrics(
            {**own.numbers(), "holdout_rows": own.rows, f"skill_vs_{spec.gate.baseline}": _skill(fitted, spec)}
        )
        mlflow.log_dict({"rows": metrics.table(fitted.errors, spec)}, "metrics.json")
        mlflow.log_dict({"trials": [asdict(trial) for trial in fitted.trials]}, "trials.json")
        if fitted.profiles:
            mlflow.log_dict({"clusters": [profile.model_dump() for profile in fitted.profiles]}, "clusters.json")
        mlflow.log_dict(spec.model_dump(mode="json"), "spec.json")
        _log_card(spec, fitted, tags)
        with _scratch(settings) as scratch, _silent(inputs.sparkSession):
            info = mlflow.spark.log_model(
                fitted.model, artifact_path=_ARTIFACT, dfs_tmpdir=str(scratch), signature=signature,
                # Given, because finding them out takes 20 s.
                pip_requirements=[f"pyspark=={pyspark.__version__}", f"mlflow=={mlflow.__version__}"],
            )  # fmt: skip
    with redirect_stderr(io.StringIO()):  # it announces success on stderr
        made = mlflow.register_model(info.model_uri, spec.name, tags={**tags, "stage": CHALLENGER})
    client.set_registered_model_alias(spec.name, CHALLENGER, str(made.version))
    return Version(name=spec.name, version=int(made.version), run_id=run.info.run_id, tags=tags)


def _log_card(spec: PipelineSpec, fitted: Fitted, tags: dict[str, str]) -> None:
    """The model card and its pictures, into the run that is open."""
    # Here, because drawing takes a second to import and only a training draws.
    from spark_apps.io import model_card, plots

    with tempfile.TemporaryDirectory(prefix="millrace-card-") as folder:
        pictures = plots.draw(fitted.evidence, Path(folder)) if fitted.evidence else []
        for picture in pictures:
            mlflow.log_artifact(str(picture), "plots")
        if fitted.evidence:
            mlflow.log_dict(fitted.evidence.model_dump(mode="json"), "evidence.json")
        mlflow.log_text(model_card.page(spec, fitted, tags, pictures), "model_card.html")


def origin(
    spec: PipelineSpec, snapshot: Snapshot, split: Bounds, fitted: Fitted, *, revision: str, run_key: str
) -> dict[str, str]:
    """Tags of run and version: everything that is needed to make the same model again, and its errors."""
    return {
        "run_key": run_key,
        "git_revision": revision,
        "spec_hash": spec.hash,
        "seed": str(spec.seed),
        "snapshot": f"{snapshot.name}/{snapshot.hash}",
        "snapshot_provenance": json.dumps(snapshot.provenance, sort_keys=True),
        "split": split.model_dump_json(),
        "fit_partitions": str(spec.fit_partitions),
        "algorithm": json.dumps({"name": fitted.algorithm, **fitted.chosen}),
        "columns": json.dumps(fitted.columns),
        "features": spec.features.model_dump_json(),
        "task": spec.task,
        "label": spec.label,
        "errors": json.dumps({name: errors.model_dump() for name, errors in fitted.errors.items()}),
    }


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
    return _version(client.get_model_version(name, str(version)))


@dataclass(frozen=True)
class Record:
    """What a version was trained with and on, as its run wrote it down; ``spec`` asks for that alone, no search."""

    spec: PipelineSpec
    snapshot: Snapshot
    split: Bounds
    measures: dict[str, float | None]
    revision: str


def record(client: MlflowClient, version: Version) -> Record:
    """The record of a version; ConfigurationError where its run did not keep one that this code can read."""
    try:
        with tempfile.TemporaryDirectory(prefix="millrace-record-") as folder:
            said = json.loads(Path(client.download_artifacts(version.run_id, "spec.json", folder)).read_text())
        spec = PipelineSpec.model_validate(said)
        chosen = json.loads(version.tags["algorithm"])
        named = next(each for each in spec.algorithms if each.name == chosen["name"])
        measures = json.loads(version.tags["errors"])[CANDIDATE]
        name, digest = version.tags["snapshot"].split("/")
    except (MlflowException, OSError, ValueError, KeyError, StopIteration) as error:
        raise ConfigurationError(
            f"Reading the record of {version.name} {version.label}", found=f"{type(error).__name__}: {error}",
            required="spec.json and the tags that train writes", next_step="Take a version that train registered.",
        ) from error  # fmt: skip
    exact = {"algorithms": (named.model_copy(update=chosen),), "search": None}
    return Record(
        spec=spec.model_copy(update=exact), snapshot=Snapshot(name=name, hash=digest, rows=0, path="", key=spec.key),
        split=version.split, measures=measures,
        revision=version.tags["git_revision"],
    )  # fmt: skip


def load(settings: Settings, version: Version) -> PipelineModel:
    """The fitted model of that version; its files stay until the process ends.

    Spark reads the factors of a recommender whenever they are asked for, and not when the model is loaded.
    """
    files = ExitStack()
    atexit.register(files.close)
    scratch = files.enter_context(_scratch(settings))
    (scratch / "download").mkdir()
    uri = f"models:/{version.name}/{version.version}"
    model: PipelineModel = mlflow.spark.load_model(uri, dfs_tmpdir=str(scratch), dst_path=str(scratch / "download"))
    return model


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


def _experiment(client: MlflowClient, settings: Settings, name: str) -> str:
    known = client.get_experiment_by_name(name)
    if known:
        return str(known.experiment_id)
    # A server knows where its artifacts go; a bare database would put them into the working directory.
    is_server = settings.tracking_uri.startswith("http")
    location = None if is_server else (settings.state / "mlflow" / "artifacts" / name).as_uri()
    return str(client.create_experiment(name, artifact_location=location))


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """A folder that driver and executors of this machine can both reach, gone afterwards."""
    home = settings.state / "tmp"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="mlflow-") as folder:
        yield Path(folder)


@contextmanager
def _silent(spark: SparkSession) -> Iterator[None]:
    """No log of the JVM: MLflow first tries to let Spark write to the server, which Spark reports in forty lines.

    What goes wrong for good is raised.
    """
    spark.sparkContext.setLogLevel("OFF")
    try:
        yield
    finally:
        spark.sparkContext.setLogLevel("WARN")


def _require_answer(uri: str) -> None:
    if not uri.startswith("http"):
        return
    try:
        requests.get(f"{uri}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        raise _unavailable(uri, str(error)) from error


def _unavailable(uri: str, found: str) -> DependencyUnavailableError:
    return DependencyUnavailableError(
        "Talking to MLflow", found=found, required=f"an answer from {uri}",
        next_step="Look at bin/millrace status and bin/millrace logs mlflow, then try again.",
        changed="No alias of a model was moved.",
    )  # fmt: skip


def _skill(fitted: Fitted, spec: PipelineSpec) -> float:
    own, other = (metrics.loss(fitted.errors[name], spec.gate.metric) for name in (CANDIDATE, spec.gate.baseline))
    return metrics.skill(own, other)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
