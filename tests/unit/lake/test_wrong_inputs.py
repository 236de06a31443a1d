"""Wrong inputs sent through the real applications in the order of the DAG: each is refused where it is met, and told.

Whatever was there before stays as it was: tables, snapshots, model versions, aliases, the ledger.
"""

from __future__ import annotations

import io
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, redirect_stderr
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

from contracts import pipelines
from contracts.datasets import dataset
from contracts.errors import ExitCode
from contracts.landed_files import HIGGS_FEATURES
from contracts.results import RunResult
from contracts.settings import REPOSITORY, Settings
from contracts.windows import TableVersion
from spark_apps import build_features, evaluate, ingest, promote, repeat, score, train, validate
from spark_apps.io import registry, runs, session, tables, tracking

if TYPE_CHECKING:
    from types import ModuleType

    from pyspark.sql import SparkSession

DONE, BROKEN, FAILED, REFUSED = (
    ExitCode.DONE, ExitCode.CONTRACT_BROKEN, ExitCode.EXPECTATIONS_FAILED, ExitCode.REFUSED,
)  # fmt: skip
HEADER = ",".join(("label", *HIGGS_FEATURES))
TRIS = (
    "Local Date,Local Time,Day Type ID,Total Carriageway Flow,Total Flow vehicles less than 5.2m,Total Flow vehicles "
    "5.21m - 6.6m,Total Flow vehicles 6.61m - 11.6m,Total Flow vehicles above 11.6m,Speed Value"
)
#: The champion that stands before each wrong input, as the registry says it.
CHAMPIONS = {"higgs": {"champion": 1}, "uk_traffic": {"champion": 1}}


class Ended(NamedTuple):
    """How an application ended."""

    app: str
    code: int
    said: str
    result: RunResult | None


@dataclass(frozen=True)
class Kept:
    """What a run that fails must leave alone."""

    #: The newest version of each Delta table.
    tables: dict[str, int]
    versions: list[tuple[str, int, str | None]]
    aliases: dict[str, dict[str, int]]
    #: Runs of MLflow by status: one that is left RUNNING was never ended.
    trainings: list[str]
    promotions: int
    snapshots: list[str]
    #: Files of a step that has not ended.
    scratch: list[str]


class Platform:
    """A lake, a registry and pipeline specs in a folder, and the applications as the DAG starts them."""

    def __init__(self, spark: SparkSession | None, home: Path) -> None:
        self.spark, self.home, self.run_id = spark, home, "first"
        self.settings = Settings(state=home / "state", mlflow_uri=f"sqlite:///{home}/mlflow.db")

    def pointer(self, name: str) -> str:
        return str(self.settings.runs / "retrain" / self.run_id / f"{name}.json")

    def start(self, app: ModuleType, *arguments: str) -> Ended:
        """One application from command line to exit code, without the start of a JVM."""
        task = f"{app.NAME}_features" if app is validate and "--snapshot" in arguments else app.NAME
        named = ("--dag-id", "retrain", "--run-id", self.run_id, "--task-id", task)
        with pytest.MonkeyPatch.context() as patched, redirect_stderr(io.StringIO()) as said:
            patched.setattr(sys, "argv", [app.NAME, *arguments, *named])
            patched.setenv("MILLRACE_STATE", str(self.settings.state))
            patched.setenv("MILLRACE_MLFLOW_URI", self.settings.tracking_uri)
            patched.setattr(session, "start", lambda _: self.spark)
            patched.setattr(pipelines, "load", partial(pipelines.load, folder=self.home / "pipelines"))
            try:
                code = runs.execute(app.NAME, app.parse_args, app.main)
            except SystemExit as ended:
                code = int(ended.code or 0)
        path = self.settings.runs / "retrain" / self.run_id / task / "-1" / "1" / "result.json"
        return Ended(task, code, said.getvalue(), RunResult.read(path) if path.exists() else None)

    def steps(self, pipeline: str) -> list[tuple[ModuleType, tuple[str, ...]]]:
        """What follows `ingest`, as dags/retrain.py says it."""
        named, source = ("--pipeline", pipeline), pipelines.load(pipeline).dataset
        at, snapshot = ("--at", self.pointer("version")), ("--snapshot", self.pointer("snapshot"))
        candidate, decision = ("--candidate", self.pointer("candidate")), ("--decision", self.pointer("decision"))
        return [
            (validate, ("--dataset", source, *at)), (build_features, (*named, *at, *snapshot)), (validate, snapshot),
            (train, (*named, *snapshot, *candidate)), (evaluate, (*named, *candidate, *decision)),
            (promote, (*named, *decision)),
        ]  # fmt: skip

    def retrain(self, pipeline: str) -> list[Ended]:
        """The DAG on the newest version of the table: up to the first application that fails."""
        source = pipelines.load(pipeline).dataset
        version = tables.version(self.spark, dataset(source), self.settings.lake)
        TableVersion(dataset=source, table_version=version).write(Path(self.pointer("version")))
        ended: list[Ended] = []
        for app, arguments in self.steps(pipeline):
            ended.append(self.start(app, *arguments))
            if ended[-1].code:
                break
        return ended

    def cleared(self, pipeline: str, ended: list[Ended]) -> list[Ended]:
        """The applications behind the one that failed, each started by somebody who does not care."""
        return [self.start(app, *arguments) for app, arguments in self.steps(pipeline)[len(ended) :]]

    def kept(self) -> Kept:
        logs = sorted(self.settings.lake.glob("*/*/_delta_log"))
        with tracking.connected(self.settings) as client:
            versions = client.search_model_versions()
            aliases = {model.name: dict(model.aliases) for model in client.search_registered_models()}
            experiments = [each.experiment_id for each in client.search_experiments()]
            trainings = [run.info.status for run in client.search_runs(experiments)]
        with closing(sqlite3.connect(self.settings.state / "ops.db")) as ledger:
            [(promotions,)] = ledger.execute("SELECT count(*) FROM promotions")
        return Kept(
            tables={f"{log.parent.parent.name}.{log.parent.name}": len(list(log.glob("*.json"))) - 1 for log in logs},
            versions=sorted((each.name, int(each.version), each.tags.get("stage")) for each in versions),
            aliases={name: {alias: int(number) for alias, number in said.items()} for name, said in aliases.items()},
            trainings=trainings, promotions=promotions,
            snapshots=sorted(path.name for path in self.settings.snapshots.glob("*/*")),
            scratch=sorted(path.name for path in (self.settings.state / "tmp").glob("*")),
        )  # fmt: skip

    def rows(self, name: str) -> int:
        return int(tables.read(self.spark, dataset(name), self.settings.lake).count())


def collisions(number: int, seed: int, *, classes: tuple[str, str] = ("0", "1")) -> list[str]:
    """Lines in which two quantities together tell the classes apart, not without fail."""
    drawn, lines = random.Random(seed), []  # noqa: S311 - a seed, no secret
    for n in range(number):
        values = {name: drawn.uniform(0.1, 1.5) for name in HIGGS_FEATURES}
        for name in ("m_bb", "m_wwbb"):
            values[name] = drawn.uniform(0.1, 1.5) + 0.7 * (n % 2)
        lines.append(",".join([classes[n % 2], *(f"{value:.6f}" for value in values.values())]))
    return lines


def quarters(number: int) -> list[str]:
    began = datetime(2014, 3, 3)
    times = [began + timedelta(minutes=15 * n) for n in range(number)]
    return [f"{at:%d/%m/%Y},{at:%H:%M:%S},1,100,100,0,0,0,90.0" for at in times]


def written(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def specs(folder: Path, **changes: object) -> None:
    """The shipped specs, `higgs` small enough for a few hundred rows."""
    folder.mkdir(parents=True)
    for name in ("higgs", "uk_traffic"):
        said = yaml.safe_load((pipelines.PIPELINES / f"{name}.yaml").read_text())
        if name == "higgs":
            said["algorithms"] = [{"name": "logistic_regression", "reg_param": 0.1}]
            said["split"] = {
                "kind": "files", "train": "train*", "holdout": "judge*", "min_train_rows": 50, "min_holdout_rows": 50,
            }  # fmt: skip
            # Made rows are told apart better than real ones can be.
            said["gate"] |= {"min_skill": 0.1, "max_skill": 1.0, "max_excess_ece": None}
            del said["search"], said["calibration"]
            said |= changes
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(said))


@pytest.fixture(scope="module")
def champions(_spark_session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform on which good files made a champion of each pipeline, one by the whole way and one by its name."""
    home = tmp_path_factory.mktemp("before")
    specs(home / "pipelines")
    good = Platform(_spark_session, home)
    files = [
        written(home, f"{name}.csv", HEADER, *collisions(200, seed)) for name, seed in (("train", 1), ("judge", 2))
    ]
    done = [good.start(ingest, "higgs", *files), *good.retrain("higgs")]
    assert [(ended.app, ended.code) for ended in done] == [
        ("ingest", 0), ("validate", 0), ("build_features", 0), ("validate_features", 0), ("train", 0), ("evaluate", 0),
        ("promote", 0),
    ], done[-1].said  # fmt: skip
    day = written(home, "2014_TMU_Site_7.csv", TRIS, *quarters(96))
    assert good.start(ingest, "traffic_counts", day).code == DONE
    with tracking.connected(good.settings) as client:
        client.create_registered_model("uk_traffic")
        client.create_model_version("uk_traffic", source=str(home))
        client.set_registered_model_alias("uk_traffic", registry.CHAMPION, "1")
    assert good.kept().aliases == CHAMPIONS
    return home


@pytest.fixture
def platform(champions: Path, tmp_path: Path, spark: SparkSession) -> Platform:
    """A copy of it for one test, with the next run of the DAG."""
    shutil.copytree(champions, tmp_path / "home")
    made = Platform(spark, tmp_path / "home")
    made.run_id = "next"
    return made


def assert_told(ended: Ended, code: ExitCode, *parts: str) -> None:
    """The application ended by a deliberate error with this code, whose sentence holds the parts in their order."""
    assert ended.code == code, ended.said
    assert "Traceback" not in ended.said
    rest = ended.said
    for part in (*parts, f"exit {int(code)})"):
        assert part in rest, f"{part!r} is not where it should be in {ended.said}"
        rest = rest.partition(part)[2]
    assert ended.result is not None
    assert (ended.result.status, ended.result.exit_code) == ("failed", code)
    assert ended.result.message in ended.said


def assert_nobody_goes_on(ended: list[Ended]) -> None:
    """Every later step refuses by itself, with a deliberate error: no result of theirs says that anything was done."""
    assert ended
    for each in ended:
        assert each.code in (BROKEN, REFUSED), each
        assert "Traceback" not in each.said
        assert each.result is not None
        assert each.result.status == "failed"


@pytest.mark.spark
@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param(
            [line.rpartition(",")[0] for line in (HEADER, *collisions(50, 3))], "a header with no column m_wwbb;",
            id="missing column",
        ),
        pytest.param([], "an empty file;", id="empty file"),
        pytest.param([HEADER], "a header and no row after it;", id="no row"),
        pytest.param([HEADER, "", "  ", ""], "a header and no row after it;", id="blank lines"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_should_be_changes_nothing_at_all(
    platform: Platform, lines: list[str], found: str
) -> None:
    before = platform.kept()
    ended = platform.start(ingest, "higgs", written(platform.home, "train_more.csv", *lines))
    assert_told(
        ended, BROKEN, "Reading train_more.csv as higgs: found " + found, "required ", "Nothing was changed.",
        "Correct the file",
    )  # fmt: skip
    # No version.json, because the DAG has nothing new to resolve: nobody finds anything to go on with.
    assert_nobody_goes_on(platform.cleared("higgs", []))
    assert platform.kept() == before


@pytest.mark.spark
@pytest.mark.parametrize(
    ("name", "in_bronze", "found"),
    [
        pytest.param("2", 50, "label_is_a_class", id="another number"),
        # What cannot be a number is no row of bronze; 25 of 450 are more than one in a hundred.
        pytest.param("signal", 25, "quarantine_share", id="a word"),
    ],
)
def test_a_renamed_class_is_stored_whole_and_nothing_is_trained_on_it(
    platform: Platform, name: str, in_bronze: int, found: str
) -> None:
    before = platform.kept()
    lines = collisions(50, 3, classes=("0", name))
    landed = platform.start(ingest, "higgs", written(platform.home, "train_more.csv", HEADER, *lines))
    assert landed.result is not None
    assert (landed.code, landed.result.rows["bronze"], landed.result.rows["quarantine"]) == (
        0,
        in_bronze,
        50 - in_bronze,
    )
    assert (platform.rows("bronze.higgs"), platform.rows("quarantine.higgs")) == (400 + in_bronze, 50 - in_bronze)
    stored = platform.kept()
    # One commit to each table, and nothing else.
    written_to = {"bronze.higgs": 1, "quarantine.higgs": 1}
    assert stored.tables == {each: number + written_to.get(each, 0) for each, number in before.tables.items()}
    ended = platform.retrain("higgs")
    assert [each.app for each in ended] == ["validate"]
    assert_told(
        ended[-1], FAILED, "Validating bronze.higgs: found", found, "required every critical rule to hold",
        "Verdict and report were written, nothing else", "correct the data, not the rule",
    )  # fmt: skip
    rest = platform.cleared("higgs", ended)
    assert_nobody_goes_on(rest)
    assert_told(rest[0], REFUSED, "Using bronze.higgs, version", "found verdict", "which failed; required a validation")
    assert platform.kept() == stored
    assert stored.aliases == CHAMPIONS


@pytest.mark.spark
def test_a_bad_file_is_withdrawn_and_its_corrected_copy_passes(platform: Platform) -> None:
    def land(classes: tuple[str, str]) -> Ended:
        lines = collisions(50, 3, classes=classes)
        return platform.start(ingest, "higgs", written(platform.home, "train_more.csv", HEADER, *lines))

    judge = partial(platform.start, validate, "--dataset", "bronze.higgs")
    withdraw = partial(platform.start, ingest, "higgs", "--withdraw", "train_more.csv")
    before = platform.kept()
    # One class is no class of bronze, the other no number: both tables get rows that must go.
    assert (land(("2", "signal")).code, judge().code) == (DONE, FAILED)
    gone = withdraw()
    assert gone.result is not None
    assert (gone.code, gone.result.rows) == (DONE, {"withdrawn_from_bronze": 25, "withdrawn_from_quarantine": 25})
    assert_told(
        withdraw(), BROKEN, "Withdrawing train_more.csv from higgs: found no such file, but judge.csv (",
        "train.csv (", "required the name of one stored file", "Nothing was changed.",
    )  # fmt: skip
    assert (land(("0", "1")).code, judge().code) == (DONE, DONE)
    assert (platform.rows("bronze.higgs"), platform.rows("quarantine.higgs")) == (450, 0)
    after = platform.kept()
    assert {**vars(after), "tables": {}} == {**vars(before), "tables": {}}
    assert after.aliases == CHAMPIONS


@pytest.mark.spark
def test_a_table_of_one_class_is_not_good_enough_to_train_on(platform: Platform) -> None:
    shutil.rmtree(platform.settings.lake)
    signal = written(platform.home, "train_more.csv", HEADER, *collisions(60, 3, classes=("1", "1")))
    assert platform.start(ingest, "higgs", signal).code == DONE
    before = platform.kept()
    ended = platform.retrain("higgs")
    assert [each.app for each in ended] == ["validate"]
    assert_told(ended[-1], FAILED, "Validating bronze.higgs: found", "both_classes_are_there", "correct the data")
    assert_nobody_goes_on(platform.cleared("higgs", ended))
    assert platform.kept() == before
    assert before.aliases == CHAMPIONS


@pytest.mark.spark
def test_one_class_on_one_side_of_the_split_stops_the_training_before_anything_is_registered(
    platform: Platform,
) -> None:
    shutil.rmtree(platform.settings.lake)
    judge = written(platform.home, "judge_more.csv", HEADER, *collisions(60, 3, classes=("1", "1")))
    assert platform.start(ingest, "higgs", str(platform.home / "train.csv"), judge).code == DONE
    before = platform.kept()
    ended = platform.retrain("higgs")
    assert [(each.app, each.code) for each in ended[:-1]] == [
        ("validate", 0), ("build_features", 0), ("validate_features", 0),
    ]  # fmt: skip
    assert ended[-1].app == "train"
    assert_told(
        ended[-1], REFUSED, "Training higgs: found label 1 in the rows to judge on", "required rows of both classes",
        "Nothing was changed.", "Look at the snapshot's verdict and at the files",
    )  # fmt: skip
    assert_nobody_goes_on(platform.cleared("higgs", ended))
    after = platform.kept()
    # The snapshot is whole, and good by its own rules; what it cannot do is teach.
    assert len(after.snapshots) == len(before.snapshots) + 1
    assert {**vars(after), "snapshots": []} == {**vars(before), "snapshots": []}
    assert after.aliases == CHAMPIONS


@pytest.mark.spark
def test_a_time_stamp_that_stands_there_twice_fails_the_validation_even_where_both_agree(platform: Platform) -> None:
    lines = [*quarters(3), *(line.replace("/2014,", "/2015,") for line in quarters(2))]
    landed = platform.start(ingest, "traffic_counts", written(platform.home, "2014_TMU_Site_7_again.csv", TRIS, *lines))
    assert (landed.code, platform.rows("bronze.traffic_counts")) == (DONE, 96 + 5)
    before = platform.kept()
    ended = platform.retrain("uk_traffic")
    assert [each.app for each in ended] == ["validate"]
    assert_told(
        ended[-1], FAILED, "Validating bronze.traffic_counts: found", "1 of ", "quarter_is_stored_once",
        "required every critical rule to hold", "nothing downstream runs", "Look at the report",
    )  # fmt: skip
    rest = platform.cleared("uk_traffic", ended)
    assert_nobody_goes_on(rest)
    assert_told(rest[0], REFUSED, "Using bronze.traffic_counts, version", "which failed")
    assert platform.kept() == before
    assert before.aliases == CHAMPIONS


@pytest.mark.parametrize("app", [build_features, train, evaluate, promote, score, repeat], ids=lambda app: app.NAME)
def test_an_unknown_algorithm_ends_every_application_before_spark_starts(tmp_path: Path, app: ModuleType) -> None:
    specs(tmp_path / "pipelines", algorithms=[{"name": "deep_thought"}])
    ended = Platform(None, tmp_path).start(app, "--pipeline", "higgs")
    assert (ended.code, ended.result) == (BROKEN, None)
    assert "Reading pipelines/higgs.yaml, field algorithms.0.name: found 'deep_thought'; required one of" in ended.said
    assert "'logistic_regression'" in ended.said
    assert "Nothing was changed. Correct algorithms.0.name in pipelines/higgs.yaml" in ended.said
    assert not (tmp_path / "state").exists()


@pytest.mark.spark
def test_an_unknown_algorithm_ends_a_submitted_training_with_the_same_code(tmp_path: Path) -> None:
    # A checkout of its own, because a spec is read from where the code lies; the installed environments are shared.
    checkout = tmp_path / "checkout"
    for part in ("bin", "contracts", "infra", "spark_apps"):
        shutil.copytree(REPOSITORY / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    specs(checkout / "pipelines", algorithms=[{"name": "deep_thought"}])
    words = ["submit", "--local", "train", "--pipeline", "higgs", "--snapshot", "s.json", "--candidate", "c.json"]
    ended = subprocess.run(
        [str(checkout / "bin" / "millrace"), *words],
        env={
            "PATH": "/usr/bin:/bin", "SPARK_LOCAL_IP": "127.0.0.1", "MILLRACE_STATE": str(tmp_path / "state"),
            "MILLRACE_TOOLCHAIN": str(Settings().toolchain),
        },
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    assert ended.returncode == BROKEN, said
    assert "field algorithms.0.name: found 'deep_thought'; required one of 'logistic_regression'" in said
    assert "Traceback" not in said
    assert not (tmp_path / "state" / "runs").exists()
    assert not (tmp_path / "c.json").exists()
