"""Short applications really start from the class-data-sharing archive, and start without it as well."""

import subprocess

import pytest

from contracts.settings import REPOSITORY, Settings
from contracts.spark_conf import class_archive, short_application_java_options, spark_conf
from infra.local.places import Places, spark_environment

pytestmark = pytest.mark.spark

APPLICATION = """
from pyspark.sql import SparkSession
print("rows", SparkSession.builder.getOrCreate().range(10).where("id % 2 = 0").count())
"""


@pytest.fixture
def places(tmp_path):
    settings = Settings(state=tmp_path / "state")
    if not class_archive(settings.toolchain).exists():
        pytest.skip("needs the archive that set-up makes (make setup)")
    return Places(settings)


def _submit(places: Places, tmp_path, java: str) -> subprocess.CompletedProcess:
    application, properties = tmp_path / "application.py", tmp_path / "spark-defaults.conf"
    log4j2 = REPOSITORY / "infra" / "local" / "log4j2.properties"
    application.write_text(APPLICATION)
    conf = spark_conf(places.settings.toolchain / "jars" / "spark", places.state)
    properties.write_text("".join(f"{key} {value}\n" for key, value in conf.items()))
    command = [
        places.spark_home / "bin" / "spark-submit", "--master", "local[1]", "--properties-file", properties,
        "--driver-java-options", f"{java} -Dlog4j2.configurationFile={log4j2}",
        application,
    ]  # fmt: skip
    return subprocess.run(
        command, env=spark_environment(places), capture_output=True, text=True, check=True, timeout=240
    )


def test_most_classes_come_from_the_archive(places, tmp_path):
    log = tmp_path / "classes.log"
    java = short_application_java_options(places.settings.toolchain)
    run = _submit(places, tmp_path, f"{java} -Xlog:class+load:file={log}")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    shared = sum("shared objects file (top)" in line for line in lines)
    read = sum("source: file:" in line for line in lines)
    assert "rows 5" in run.stdout
    assert shared > 8_000
    assert read < shared / 10


def test_an_archive_of_another_class_path_is_ignored_without_a_word(places):
    java = short_application_java_options(places.settings.toolchain)
    command = ["java", *java.split(), "-cp", "/usr", "-version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "warning" not in (run.stdout + run.stderr).lower()
