"""Set-up: locks are exact, downloads are checked, an interruption is repaired, a second run changes nothing."""

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError, DependencyUnavailableError
from contracts.settings import Settings
from infra.local import archives, machine, setup
from infra.local.archives import Archive

ROOT = setup.REPOSITORY
#: Environments that only images have.
IN_IMAGES = ("airflow_containers", "mlflow", "notebook")
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def test_every_requirement_is_pinned_with_its_hash():
    assert {path.stem for path in LOCKS} == {"bootstrap", "peers", *IN_IMAGES, *setup.ENVIRONMENTS}
    for path in LOCKS:
        entries = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        for entry in [entry for entry in entries if entry.strip() and not entry.startswith("#")]:
            assert "==" in entry, f"{path.name}: {entry[:60]}"
            assert "--hash=sha256:" in entry, f"{path.name}: {entry[:60]}"


def test_no_lock_names_an_address():
    for path in [*LOCKS, *(ROOT / "requirements").glob("*.in"), setup.ARCHIVES_LOCK]:
        text = path.read_text(encoding="utf-8")
        assert "://" not in text, path.name
        assert "index-url" not in text, path.name


def test_the_archive_lock_holds_both_sets_and_one_version_of_each():
    locked = archives.read_lock(setup.ARCHIVES_LOCK)
    names = [(archive.set_name, archive.group, archive.artifact) for archive in locked]
    assert len(names) == len(set(names))
    assert {archive.set_name for archive in locked} == {"spark", "kafka"}
    assert ("spark", "io.delta", "delta-spark_4.0_2.13") in names


@pytest.mark.parametrize(
    "line", ["spark org.a:b 12", "spark org.a:b:1", "org.a:b:1 " + "0" * 64, "spark org.a:b:1 " + "0" * 63]
)
def test_a_damaged_archive_lock_is_refused_with_its_line_number(tmp_path, line):
    path = tmp_path / "archives.lock"
    path.write_text(f"# comment\n\nspark org.a:b:1 {'0' * 64}\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"archives\.lock, line 4"):
        archives.read_lock(path)


def test_archives_are_asked_for_one_by_one():
    text = archives.ivy_file([Archive("spark", "io.delta", "delta-storage", "4.4.0", "0" * 64)])
    assert 'org="io.delta" name="delta-storage" rev="4.4.0" transitive="false" conf="spark-&gt;*"' in text


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A repository on this disk for the real Ivy, with one archive; returns it and where archives are installed."""
    content = b"the archive that was tested"
    folder = tmp_path / "mirror" / "org" / "example" / "thing" / "1.0"
    folder.mkdir(parents=True)
    (folder / "thing-1.0.jar").write_bytes(content)
    settings = tmp_path / "ivysettings.xml"
    pattern = f"{tmp_path}/mirror/[organisation]/[module]/[revision]/[artifact]-[revision].[ext]"
    settings.write_text(
        '<ivysettings><settings defaultResolver="disk"/><resolvers><filesystem name="disk" m2compatible="true">'
        f'<artifact pattern="{pattern}"/></filesystem></resolvers></ivysettings>'
    )
    monkeypatch.setenv("MILLRACE_IVY_SETTINGS", str(settings))
    return Archive("spark", "org.example", "thing", "1.0", hashlib.sha256(content).hexdigest()), tmp_path / "jars"


def _install(wanted: list[Archive], jars: Path) -> int:
    installing = setup.Setup(Settings().toolchain)
    return archives.install(wanted, jars, installing.spark_home, lambda _, action: action())


@pytest.mark.setup
def test_an_archive_is_fetched_checked_and_not_fetched_again(mirror):
    archive, jars = mirror
    assert _install([archive], jars) == 1
    assert (jars / "spark" / "thing-1.0.jar").read_bytes() == b"the archive that was tested"
    assert _install([archive], jars) == 0
    (jars / "spark" / "thing-1.0.jar").write_bytes(b"cut off by a full disk")
    (jars / "spark" / "of-an-earlier-lock-0.9.jar").touch()
    assert _install([archive], jars) == 1
    assert [path.name for path in jars.rglob("*")] == ["spark", "thing-1.0.jar"]


@pytest.mark.setup
def test_an_archive_with_another_checksum_is_refused_and_none_is_installed(mirror):
    archive, jars = mirror
    wrong = Archive("spark", archive.group, archive.artifact, archive.version, "0" * 64)
    with pytest.raises(ConfigurationError) as error:
        _install([wrong], jars)
    assert archive.sha256 in str(error.value)
    assert "No archive was installed" in str(error.value)
    assert list(jars.rglob("*.jar")) == []


@pytest.mark.setup
def test_an_archive_that_is_nowhere_is_named(mirror):
    archive, jars = mirror
    absent = Archive("spark", "org.example", "absent", "2.0", "0" * 64)
    with pytest.raises(DependencyUnavailableError, match=r"found org\.example:absent:2\.0; required 2 archives"):
        _install([archive, absent], jars)


def test_a_download_that_fails_is_tried_three_times(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    tries = []

    def fails() -> None:
        tries.append(1)
        raise DependencyUnavailableError("Fetching", found="a time-out", required="an answer", next_step="Wait.")

    with pytest.raises(DependencyUnavailableError):
        setup.Setup(tmp_path).retrying("thing", fails)
    assert len(tries) == 3
    assert "thing: try 2 of 3 failed, again in 10 s (Fetching: found a time-out" in capsys.readouterr().out


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A lock of one tiny package that lies on this disk; no index is asked. uv is taken away: pip must do."""
    wheel = tmp_path / "wheels" / "tiny_thing-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny_thing.py", "ANSWER = 42\n")
        file.writestr("tiny_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        file.writestr(
            "tiny_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("tiny_thing-1.0.dist-info/RECORD", "")
    lock = tmp_path / "requirements" / "tiny.txt"
    lock.parent.mkdir()
    lock.write_text(f"tiny-thing==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(setup, "REQUIREMENTS", lock.parent)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setattr(setup.Setup, "uv", lambda _: None)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return setup.Setup(tmp_path / "toolchain", Path(sys.base_prefix) / "bin" / "python3"), lock


def _works(installing: setup.Setup) -> bool:
    python = installing.toolchain / "env" / "tiny" / "bin" / "python"
    return subprocess.run([python, "-c", "import tiny_thing"], check=False, capture_output=True).returncode == 0


@pytest.mark.setup
def test_plain_pip_builds_an_environment_once_and_repairs_one_that_was_interrupted(offline):
    installing, _ = offline
    installing.environment("tiny")
    assert _works(installing)
    assert installing.changed == 1
    installing.environment("tiny")
    assert installing.changed == 1
    folder = installing.toolchain / "env" / "tiny"
    (folder / ".stamp").unlink()
    next(folder.glob("lib/python3*/site-packages/tiny_thing.py")).unlink()
    assert not _works(installing)
    installing.environment("tiny")
    assert _works(installing)


@pytest.mark.setup
def test_a_package_with_another_hash_is_refused_and_the_environment_is_not_stamped(offline):
    installing, lock = offline
    lock.write_text(f"tiny-thing==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(DependencyUnavailableError, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        installing.environment("tiny")
    assert not (installing.toolchain / "env" / "tiny" / ".stamp").exists()


def test_missing_java_is_named_as_a_debian_package(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "java_version_text", lambda: 'openjdk version "11.0.2" 2019-01-15')
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DependencyUnavailableError, match="sudo apt-get install openjdk-17-jre-headless"):
        setup.Setup(tmp_path, Path("/usr/bin/python3")).system_packages()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 1),
        ('openjdk version "21" 2023', 21),
        ("", None),
    ],
)
def test_the_version_of_java_is_read_from_what_it_says(monkeypatch, text, version):
    monkeypatch.setattr(machine, "java_version_text", lambda: text)
    assert machine.java_version() == version


def test_a_second_run_finds_nothing_to_do_and_changes_nothing():
    toolchain = Settings().toolchain
    if setup.Setup(toolchain).pending():
        pytest.skip("set-up is not complete here (make setup)")
    before = {path: path.stat().st_mtime_ns for path in toolchain.glob("*/*") if path.name != ".setup.lock"}
    run = subprocess.run([ROOT / "bin" / "millrace", "setup"], capture_output=True, text=True, check=True, timeout=60)
    assert "nothing to do" in run.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
