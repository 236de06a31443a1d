"""A real Chromium and the real page, each as a process of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from contracts.settings import REPOSITORY, Settings
from infra.slurm import packages
from tests.local_stack import Stack, free_base
from tests.serving.server import Server, serving

CHROMIUM = Path("/usr/bin/chromium")
#: No sandbox: tests may run as root. The rest keeps the browser from looking for a network.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
MORNING = Path("nasa_http/access_09jul1995_am.log")


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures go: the folder that MILLRACE_SCREENSHOTS names (docs/images to renew those of the README)."""
    folder = Path(os.environ.get("MILLRACE_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def serving_python() -> Path:
    python = Settings().toolchain / "env" / "serving" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs the serving environment at {python} (make setup)")
    return python


@pytest.fixture(scope="session")
def morning_log(request: pytest.FixtureRequest, samples: Path) -> Path:
    shipped = samples / MORNING
    return shipped if shipped.exists() else Path(request.getfixturevalue("shared_data")) / MORNING


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM} (Debian package chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, with the Slurm lab beside it where a test asks for it and this machine has what that needs."""
    asked = any(item.get_closest_marker("hpc") for item in request.session.items)
    found = Stack(tmp_path_factory.mktemp("stack") / "state", free_base())
    run = found("up", *(["--hpc"] if asked and not packages.missing("filetxt") else []))
    assert run.returncode == 0, run.stdout + run.stderr
    yield found
    found("down")


@dataclass
class Site:
    """The page of one test: its server, a lake that log files can be added to, and a browser profile to look with."""

    server: Server
    python: Path
    folder: Path
    morning: Path
    context: BrowserContext
    #: Errors on the console of any page, uncaught exceptions and violations of the content policy included.
    complaints: list[str]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def open(self, query: str = "") -> Page:
        page = self.context.new_page()
        page.on("console", lambda s: self.complaints.append(s.text) if s.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{self.server.url}/{query}")
        return page

    def write(self, *logs: Path, forecast: bool = False, duplicates: int = 0) -> None:
        """Make the lake anew from log files, as the stream would write it."""
        shutil.rmtree(self.state / "lake", ignore_errors=True)
        command = [self.python, "-m", "tests.serving.lake_builder", "--lake", self.state / "lake"]
        command += [argument for log in logs for argument in ("--log", log)]
        command += ["--forecast"] if forecast else []
        subprocess.run([*command, "--duplicates", str(duplicates)], cwd=REPOSITORY, check=True, timeout=120)

    def first(self, lines: int) -> Path:
        """A log file of the first lines of the morning."""
        part = self.folder / f"first_{lines}.log"
        part.write_bytes(b"".join(self.morning.read_bytes().splitlines(keepends=True)[:lines]))
        return part


@pytest.fixture
def site(serving_python: Path, morning_log: Path, browser: Browser, tmp_path: Path) -> Iterator[Site]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    with serving(serving_python, tmp_path / "state") as server:
        yield Site(server, serving_python, tmp_path, morning_log, context, complaints=[])
        context.close()
