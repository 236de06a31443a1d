"""The one form of every benchmark's result: ``results/<name>.json`` with machine, versions, date and figures."""

import json
import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
#: Of the environment that the benchmark runs in.
_PACKAGES = ("pyspark", "delta-spark", "kafka-python", "deltalake", "apache-airflow")


class Figures:
    """Collects figures and prints each as it comes; ``write`` merges them into the file of an earlier partial run."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, object]] = {}

    def add(self, name: str, value: float, unit: str, goal: str = "") -> None:
        # A partial run leaves the figures of an earlier one: each says when it was measured.
        today = datetime.now(UTC).date().isoformat()
        rounded = round(value, 3 if abs(value) >= 10 else 5)
        self.found[name] = {"value": rounded, "unit": unit, "goal": goal, "date": today}
        print(f"{name:<40} {value:>14,.2f} {unit:<22} {goal}", flush=True)

    def write(self, name: str) -> Path:
        path = RESULTS / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        before = json.loads(path.read_text())["figures"] if path.exists() else {}
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        text = {
            "machine": f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.machine()}",
            "versions": _versions() | {"python": platform.python_version()},
            "date": datetime.now(UTC).date().isoformat(),
            "figures": before | self.found,
        }
        path.write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
        return path


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
