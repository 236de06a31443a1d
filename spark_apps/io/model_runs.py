"""What a training leaves in MLflow: a run with model, card and record; and the way back from a version to both."""

import atexit
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession

from contracts.errors import ConfigurationError
from contracts.pipelines import PipelineSpec
from contracts.settings import Settings
from spark_apps.io.registry import CHALLENGER, STAGE, STAGES, Version
from spark_apps.io.snapshots import Snapshot
from spark_apps.io.tracking import MlflowClient, MlflowException, infer_signature, mlflow
from spark_apps.ml.answers import PREDICTION
from spark_apps.ml.fitted import CANDIDATE, Fitted
from spark_apps.ml.measuring import metrics
from spark_apps.ml.splitting.splits import Bounds

_ARTIFACT = "model"


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
        made = mlflow.register_model(info.model_uri, spec.name, tags={**tags, STAGE: STAGES[CHALLENGER]})
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


def asked(spec: PipelineSpec, snapshot: Snapshot, split: Bounds, *, run_key: str) -> dict[str, str]:
    """Those of the tags below that are known before the fit: who fits what on which rows."""
    return {
        "run_key": run_key,
        "spec_hash": spec.hash,
        "snapshot": f"{snapshot.name}/{snapshot.hash}",
        "split": split.model_dump_json(),
    }


def origin(
    spec: PipelineSpec, snapshot: Snapshot, split: Bounds, fitted: Fitted, *, revision: str, run_key: str
) -> dict[str, str]:
    """Tags of run and version: everything that is needed to make the same model again, and its errors."""
    return {
        **asked(spec, snapshot, split, run_key=run_key),
        "git_revision": revision,
        "seed": str(spec.seed),
        "snapshot_provenance": json.dumps(snapshot.provenance, sort_keys=True),
        "fit_partitions": str(spec.fit_partitions),
        "algorithm": json.dumps({"name": fitted.algorithm, **fitted.chosen}),
        "columns": json.dumps(fitted.columns),
        "features": spec.features.model_dump_json(),
        "task": spec.task,
        "label": spec.label,
        "errors": json.dumps({name: errors.model_dump() for name, errors in fitted.errors.items()}),
    }


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


def _skill(fitted: Fitted, spec: PipelineSpec) -> float:
    own, other = (metrics.loss(fitted.errors[name], spec.gate.metric) for name in (CANDIDATE, spec.gate.baseline))
    return metrics.skill(own, other)
