"""Java archives: resolved by coordinates with the Ivy that PySpark ships, checked against committed SHA-256 sums.

Standard library only: set-up runs it before any environment exists.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

from contracts.errors import ConfigurationError, DependencyUnavailableError
from infra.local import machine

_HEX_SHA256 = 64


@dataclass(frozen=True)
class Archive:
    """One line of ``archives.lock``: the set (folder) it belongs to, its coordinates, its checksum."""

    set_name: str
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def read_lock(path: Path) -> list[Archive]:
    """Parse ``set group:artifact:version sha256`` lines; anything else is a ConfigurationError with its line number."""
    archives = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        coordinates = fields[1].split(":") if len(fields) == 3 else []
        if len(coordinates) != 3 or len(fields[2]) != _HEX_SHA256:
            raise ConfigurationError(
                f"Reading {path}, line {number}", found=repr(line), required="set group:artifact:version sha256",
                next_step="Restore the file from git.",
            )  # fmt: skip
        group, artifact, version = coordinates
        archives.append(Archive(fields[0], group, artifact, version, fields[2]))
    return archives


def install(
    archives: list[Archive], jars: Path, spark_home: Path, retrying: Callable[[str, Callable[[], None]], None]
) -> int:
    """Make ``jars/<set>/`` hold exactly ``archives``; returns how many had to be fetched.

    Every file moves into place by rename after its checksum was compared, so an interruption leaves no half file.
    ``retrying`` gets a name and an action, and repeats the action when it raises DependencyUnavailableError.
    """
    wanted = {archive: jars / archive.set_name / archive.file_name for archive in archives}
    missing = [archive for archive, path in wanted.items() if not path.exists() or _sha256(path) != archive.sha256]
    if missing:
        jars.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jars, prefix=".fetch-") as folder:
            retrying(f"{len(missing)} Java archives", lambda: _retrieve(missing, Path(folder), spark_home))
            _refuse_wrong(missing, Path(folder))
            for archive in missing:
                wanted[archive].parent.mkdir(exist_ok=True)
                os.replace(Path(folder) / archive.set_name / archive.file_name, wanted[archive])
    _remove_others(jars, set(wanted.values()))
    return len(missing)


def ivy_file(archives: list[Archive]) -> str:
    """An Ivy module that names each archive by itself: what its pom asks for beside it is not looked at."""
    sets = sorted({archive.set_name for archive in archives})
    rows = "".join(
        f"<dependency org={quoteattr(a.group)} name={quoteattr(a.artifact)} rev={quoteattr(a.version)}"
        f' transitive="false" conf={quoteattr(a.set_name + "->*")}>'
        f'<artifact name={quoteattr(a.artifact)} type="jar" ext="jar"/></dependency>\n'
        for a in archives
    )
    confs = "".join(f"<conf name={quoteattr(name)}/>" for name in sets)
    return (
        '<ivy-module version="2.0"><info organisation="millrace" module="jars"/>\n'
        f"<configurations>{confs}</configurations>\n<dependencies>\n{rows}</dependencies></ivy-module>\n"
    )


def _retrieve(archives: list[Archive], folder: Path, spark_home: Path) -> None:
    ivy = folder / "ivy.xml"
    ivy.write_text(ivy_file(archives), encoding="utf-8")
    settings = os.environ.get("MILLRACE_IVY_SETTINGS")
    command = [
        machine.java(), *_proxy_options(), "-cp", f"{spark_home}/jars/*", "org.apache.ivy.Main", "-m2compatible",
        *(["-settings", settings] if settings else []),
        "-cache", str(folder / "cache"), "-ivy", str(ivy),
        "-retrieve", str(folder / "[conf]" / "[artifact]-[revision].[ext]"),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    absent = [a for a in archives if not (folder / a.set_name / a.file_name).exists()]
    if absent:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        raise DependencyUnavailableError(
            "Fetching Java archives", found=_complaint(run.stdout + run.stderr, absent),
            required=f"{len(archives)} archives from the configured repository",
            next_step="Check the network (a proxy: HTTPS_PROXY; a mirror: MILLRACE_IVY_SETTINGS=<ivysettings.xml>), "
            "then run set-up again.",
        )  # fmt: skip


def _complaint(said: str, absent: list[Archive]) -> str:
    """Which archives Ivy could not have: where one is missing it retrieves none."""
    # Where an archive is not found, Ivy also asks a repository that a parent pom names and that may not answer: then
    # "Unknown host" only means "not found".
    named = sorted(set(re.findall(r":: ([\w.-]+#[\w.-]+;[^\s:]+)", said)) - {"millrace#jars;working@vm"})
    failed = sorted(set(re.findall(r"\[FAILED\s*\] (\S+)", said)))
    shown = ", ".join([*named, *failed][:5]) or f"{len(absent)} missing. Ivy said: {said.strip()[-500:]}"
    return shown.replace("#", ":").replace(";", ":")


def _refuse_wrong(archives: list[Archive], folder: Path) -> None:
    for archive in archives:
        found = _sha256(folder / archive.set_name / archive.file_name)
        if found != archive.sha256:
            raise ConfigurationError(
                f"Checking {archive.group}:{archive.artifact}:{archive.version}", found=f"SHA-256 {found}",
                required=f"{archive.sha256} (infra/jars/archives.lock)", changed="No archive was installed.",
                next_step="Do not use that file: it is not the one that was tested. Find out who changed it.",
            )  # fmt: skip


def _remove_others(jars: Path, wanted: set[Path]) -> None:
    for path in jars.glob("*/*.jar"):
        if path not in wanted:
            path.unlink()


def _proxy_options() -> list[str]:
    # Java does not read these variables.
    options = []
    for scheme in ("http", "https"):
        address = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY")
        if address and (parts := urlsplit(address)).hostname:
            options += [f"-D{scheme}.proxyHost={parts.hostname}", f"-D{scheme}.proxyPort={parts.port or 80}"]
    return options


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
