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


#: For a handful of rows, generating and compiling code costs more than running it; so does planning anew behind each
#: shuffle, and remembering a thousand finished queries for a page that nobody opens.
SMALL_QUERIES = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
    "spark.ui.retainedTasks": "100",
    "spark.sql.ui.retainedExecutions": "5",
}


@pytest.fixture(scope="session")
def _spark_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    from contracts.settings import REPOSITORY as ROOT
    from contracts.settings import Settings
    from contracts.spark_conf import COMPILE_ALL
    from spark_apps.io import session
    from tests.local_rows import keep_in_the_jvm

    scratch = tmp_path_factory.mktemp("spark")
    # Workers of the session must be this interpreter, and find the project's packages.
    os.environ["PYSPARK_PYTHON"] = os.environ.get("PYSPARK_PYTHON", sys.executable)
    os.environ["PYTHONPATH"] = str(ROOT)
    spark = session.start(
        Settings(state=scratch), "tests",
        spark__master="local[2]", spark__driver__memory="2g", spark__local__dir=str(scratch),
        spark__driver__extraJavaOptions=f"{COMPILE_ALL} -XX:+UseSerialGC -Xss4m -Dderby.system.home={scratch}",
        **SMALL_QUERIES,
    )  # fmt: skip
    keep_in_the_jvm(spark.sparkContext)
    yield spark
    spark.stop()


@pytest.fixture
def spark(_spark_session: SparkSession) -> Iterator[SparkSession]:
    """The one session of the run, left clean behind each test."""
    yield _spark_session
    _spark_session.catalog.clearCache()
    # Not catalog.listTables: its answers cannot be decoded where expressions are interpreted.
    for view in _spark_session.sql("SHOW TABLES").where("isTemporary").collect():
        _spark_session.catalog.dropTempView(view.tableName)


@pytest.fixture
def compiled(spark: SparkSession) -> Iterator[None]:
    """Expressions run as they do in production, where many rows pay for the code that is made of them."""
    chosen = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
    for key, value in chosen.items():
        spark.conf.set(key, value)
    yield
    for key in chosen:
        spark.conf.set(key, SMALL_QUERIES[key])
