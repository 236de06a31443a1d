"""Fixtures shared by every suite. One Spark session per run, started only when a test asks for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import SparkSession

    from contracts.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that may not ship with the project; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the files of {SHARED_DATA.relative_to(REPOSITORY.parent)}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def samples() -> Path:
    return REPOSITORY / "samples"


@pytest.fixture(scope="session")
def real_file(request: pytest.FixtureRequest, samples: Path) -> Callable[[str], Path]:
    """A real file by its name below ``shared/data``: the packed sample where it ships; else the test may be skipped."""

    def find(name: str) -> Path:
        folder, file = name.split("/", 1)[0], name.rsplit("/", 1)[-1]
        shipped = [samples / folder / file, samples / folder / f"{file}.gz"]
        return next((path for path in shipped if path.exists()), None) or request.getfixturevalue("shared_data") / name

    return find


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose whole state lives in this test's own folder."""
    from contracts.settings import Settings

    return Settings(state=tmp_path / "state", mlflow_uri=f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture(scope="session")
def _spark_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    from contracts.settings import REPOSITORY as ROOT
    from contracts.settings import Settings
    from contracts.spark_conf import COMPILE_ALL
    from spark_apps.io import session

    scratch = tmp_path_factory.mktemp("spark")
    # Workers of the session must be this interpreter, and find the project's packages.
    os.environ["PYSPARK_PYTHON"] = os.environ.get("PYSPARK_PYTHON", sys.executable)
    os.environ["PYTHONPATH"] = str(ROOT)
    spark = session.start(
        Settings(state=scratch), "tests",
        spark__master="local[2]", spark__driver__memory="2g", spark__local__dir=str(scratch),
        # C1 only: tests are many small jobs, and compiling them twice costs more than it gains. By itself it has 48 MB
        # for its code, which a minute of tests fills: what is thrown out runs interpreted, slowly, on deeper stacks.
        spark__driver__extraJavaOptions=f"{COMPILE_ALL} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
        "-XX:ReservedCodeCacheSize=256m -Xss4m "
        f"-Dderby.system.home={scratch}",
    )  # fmt: skip
    yield spark
    spark.stop()


@pytest.fixture
def spark(_spark_session: SparkSession) -> Iterator[SparkSession]:
    """The one session of the run, left clean behind each test."""
    yield _spark_session
    _spark_session.catalog.clearCache()
    for view in _spark_session.catalog.listTables():
        if view.isTemporary:
            _spark_session.catalog.dropTempView(view.name)


@pytest.fixture
def interpreted(spark: SparkSession) -> Iterator[None]:
    """Expressions are interpreted: for a handful of rows, generating and compiling code costs more than running it."""
    chosen = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
    before = {key: spark.conf.get(key) for key in chosen}
    for key, value in chosen.items():
        spark.conf.set(key, value)
    yield
    for key, value in before.items():
        spark.conf.set(key, value)
