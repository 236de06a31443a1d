"""Ways of keeping a champion, each with tables, registry and ledger of its own, run by the applications themselves."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.loop import events
from benchmarks.loop.events import Frame
from benchmarks.loop.years import Year
from contracts.datasets import dataset
from contracts.errors import PlatformError
from contracts.settings import Settings
from contracts.windows import TableVersion
from spark_apps import build_features, check_drift, evaluate, ingest, promote, train, validate
from spark_apps.io import model_runs, registry, tables, tracking
from spark_apps.io.runs import Outcome
from spark_apps.ml.drift import champion as champions
from spark_apps.ml.measuring import metrics

Story = dict[str, Any]


class Platform:
    """One state folder, and the champion that answers in it."""

    def __init__(self, spark: SparkSession, folder: Path, year: Year) -> None:
        folder.mkdir(parents=True)
        self.spark, self.folder, self.year = spark, folder, year
        self.settings = Settings(state=folder / "state", mlflow_uri=f"sqlite:///{folder}/mlflow.db")
        self.run = 0
        self._models: dict[int, Any] = {}

    def land(self, window: int, rows: Frame) -> str:
        """Ingest the rows as a file of the publisher's; its name. A PlatformError leaves the tables as they were."""
        self.run += 1
        path = self.folder / f"{window:02d}-{self.run}.csv"
        path.write_text(self.year.preamble + rows.to_csv(index=False))
        self._call(ingest, self.year.subject, str(path))
        return path.name

    def withdraw(self, name: str) -> None:
        self._call(ingest, self.year.subject, "--withdraw", name)

    def validate(self) -> str:
        """Judge the table as it is now; the pointer to that version."""
        name = self.year.spec.dataset
        version = tables.version(self.spark, dataset(name), self.settings.lake)
        pointer = self.folder / "version.json"
        TableVersion(dataset=name, table_version=version).write(pointer)
        self._call(validate, "--dataset", name, "--at", str(pointer))
        return str(pointer)

    def check(self, pointer: str) -> Outcome:
        self.run += 1
        return self._call(check_drift, "--pipeline", self.year.spec.name, "--at", pointer)

    def retrain(self, pointer: str) -> str:
        """What ``retrain_<pipeline>`` does; what was decided, in a sentence."""
        self.run += 1
        snapshot, candidate, decision = (
            self.folder / f"{name}-{self.run}.json" for name in ("snapshot", "candidate", "decision")
        )
        named = ("--pipeline", self.year.spec.name)
        fitted = ("--candidate", str(candidate))
        built = self._call(build_features, *named, "--at", pointer, "--snapshot", str(snapshot))
        if built.status == "not_enough_data":
            return f"nothing was trained: {built.message}"
        self._call(validate, "--snapshot", str(snapshot))
        trained = self._call(train, *named, "--snapshot", str(snapshot), *fitted)
        if trained.status == "not_enough_data":
            return f"nothing was trained: {trained.message}"
        judged = self._call(evaluate, *named, *fitted, "--decision", str(decision))
        if judged.facts["decision"] == "promote":
            self._call(promote, *named, "--decision", str(decision))
            return f"promoted. {judged.message}"
        return f"kept. {judged.message}"

    def champion(self) -> registry.Version:
        with tracking.connected(self.settings) as client:
            found = registry.by_alias(client, self.year.spec.name, registry.CHAMPION)
        if found is None:
            raise RuntimeError(f"{self.folder.name} has no champion")
        return found

    def losses(self, rows: DataFrame) -> dict[str, float]:
        """How wrong the champion is about these rows, by each of the year's metrics."""
        version = self.champion()
        if version.version not in self._models:
            with tracking.connected(self.settings):
                self._models[version.version] = model_runs.load(self.settings, version)
        spec, model = self.year.spec, self._models[version.version]
        said = champions.answered(rows, model, spec, version.columns)
        found = metrics.measure(said, spec, {"champion": F.col("prediction")})["champion"]
        return {name: metrics.loss(found, name) for name in self.year.losses}  # type: ignore[arg-type]

    def _call(self, app: ModuleType, *arguments: str) -> Outcome:
        args = app.parse_args(["--run-id", f"run-{self.run}", *arguments])
        if hasattr(args, "pipeline"):
            args.pipeline = self.year.spec
        found: Outcome = app.main(args, self.settings, self.spark)
        return found


def begin(spark: SparkSession, folder: Path, year: Year) -> Platform:
    """A platform whose first champion was trained on what is known before the year; the same seed, the same model."""
    platform = Platform(spark, folder, year)
    platform.land(0, year.known)
    said = platform.retrain(platform.validate())
    if not said.startswith("promoted"):
        raise RuntimeError(f"{year.name} has no first champion: {said}")
    return platform


def never(platform: Platform, window: int) -> Story:  # noqa: ARG001 - as the others
    """The first champion, whatever comes."""
    return {"did": "nothing"}


def every_window(platform: Platform, window: int) -> Story:
    """What the schedule alone does: what lands is validated and trained on; the gate decides as always."""
    name, pointer, story = _landed(platform, window)
    if not pointer:
        return story | {"did": "held back"}
    return story | {"did": "trained", "said": platform.retrain(pointer), "file": name}


def with_checks(platform: Platform, window: int) -> Story:
    """What the platform does: check what landed, train where the check says so, ask where the data look broken.

    Beside that the schedule trains, but seldom. The person who is asked knows what was planted: a faulty file is
    withdrawn and lands again as it should have been, a change of the world is trained on.
    """
    name, pointer, story = _landed(platform, window)
    if not pointer:
        return story | {"did": "held back"}
    check = platform.check(pointer)
    story |= {"state": check.facts["state"], "why": check.message}
    action = check.facts["action"]
    if action == "ask":
        story["asked"] = True
        if _faulty(platform.year, window):
            platform.withdraw(name)
            platform.land(window, _true(platform.year, window))
            platform.validate()
            return story | {"did": "held back"}
    if action in ("ask", "retrain") and not _cools_down(platform, window):
        _TRAINED[platform.folder] = window
        return story | {"did": "trained", "drift": True, "said": platform.retrain(pointer)}
    if window % platform.year.scheduled_every == 0:
        return story | {"did": "trained", "said": platform.retrain(pointer)}
    return story | {"did": "nothing"}


STRATEGIES: dict[str, Callable[[Platform, int], Story]] = {
    "with_checks": with_checks, "every_window": every_window, "never": never,
}  # fmt: skip

#: Last window of a training because of drift, by the state folder; time goes by windows here.
_TRAINED: dict[Path, int] = {}


def _cools_down(platform: Platform, window: int) -> bool:
    policy, last = platform.year.spec.drift, _TRAINED.get(platform.folder)
    if policy is None or last is None:
        return False
    return (window - last) * platform.year.window_hours < policy.cool_down_hours


def _landed(platform: Platform, window: int) -> tuple[str, str, Story]:
    """Name and pointer of what landed; without a pointer it was refused, and the right file landed in its place."""
    rows = events.landed_rows(platform.year.windows[window - 1], platform.year.events, window)
    name = ""
    try:
        name = platform.land(window, rows)
        return name, platform.validate(), {}
    except PlatformError as error:
        if not _faulty(platform.year, window):
            raise
        if name:
            platform.withdraw(name)
        platform.land(window, _true(platform.year, window))
        platform.validate()
        return name, "", {"refused": f"{type(error).__name__}: {str(error)[:300]}"}


def _faulty(year: Year, window: int) -> bool:
    return any(event.is_fault and event.holds(window) for event in year.events)


def _true(year: Year, window: int) -> Frame:
    return events.true_rows(year.windows[window - 1], year.events, window)
