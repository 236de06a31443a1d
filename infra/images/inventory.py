"""Run inside an image: JSON of what it holds, as rows of (kind, group, name, version). Standard library only."""

import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

_JAR = re.compile(r"(?P<name>.+?)-(?P<version>\d[\w.+-]*)\.jar$")


def packages_of_python() -> set[tuple[str, str, str, str]]:
    folders = [str(path) for path in Path("/opt/millrace/.millrace/env").glob("*/lib/python3*/site-packages")]
    return {("pypi", "", each.metadata["Name"], each.version) for each in distributions(path=folders)}


def packages_of_debian() -> set[tuple[str, str, str, str]]:
    command = ["dpkg-query", "--show", "--showformat=${binary:Package}\t${Version}\n"]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = (row.split("\t") for row in rows)
    return {("deb", "debian", name.partition(":")[0], version) for name, version in names}


def archives_of_java() -> set[tuple[str, str, str, str]]:
    """By what Maven wrote into each archive; where it wrote nothing, or several things, by the file's name."""
    found = set()
    for path in Path("/opt").rglob("*.jar"):
        with zipfile.ZipFile(path) as archive:
            poms = [name for name in archive.namelist() if re.fullmatch(r"META-INF/maven/.+/pom\.properties", name)]
            text = archive.read(poms[0]).decode(errors="replace") if len(poms) == 1 else ""
        said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
        if {"groupId", "artifactId", "version"} <= said.keys():
            found.add(("maven", said["groupId"].strip(), said["artifactId"].strip(), said["version"].strip()))
        else:
            name = _JAR.search(path.name)
            found.add(("jar", "", name["name"], name["version"]) if name else ("jar", "", path.stem, ""))
    return found


if __name__ == "__main__":
    json.dump(sorted(packages_of_python() | packages_of_debian() | archives_of_java()), sys.stdout)
