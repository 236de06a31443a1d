"""Install what this machine lacks, locked and checked; running it again is quick and changes nothing.

Standard library only, for any Python 3.11 or newer: this runs before any environment exists. Each part is stamped when
it is complete, so a set-up that was interrupted is repaired by running it again.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import DependencyUnavailableError, PlatformError
from contracts.spark_conf import class_archive, spark_conf
from infra.local import archives, machine
from infra.slurm import packages

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIREMENTS = REPOSITORY / "requirements"
ARCHIVES_LOCK = REPOSITORY / "infra" / "jars" / "archives.lock"
ENVIRONMENTS = ("spark", "tools", "serving", "airflow")
_TRIES = 3


@dataclass
class Setup:
    """One run of set-up: where to, and what was done so far."""

    toolchain: Path
    python: Path = Path(sys.executable)
    changed: int = 0
    #: Set when something failed or Ctrl-C came: the other thread tries nothing again.
    stopping: bool = False

    def run(self) -> None:
        """Do everything that is not done yet. Deliberate errors say what is missing and what to type."""
        self.system_packages()
        self.environment("spark")
        # Java archives come over the network while the class archive and the other environments use the CPU.
        with ThreadPoolExecutor(max_workers=1) as background:
            java = background.submit(self.java_side)
            try:
                for name in ENVIRONMENTS[1:]:
                    self.environment(name)
                java.result()
            except BaseException:
                self.stopping = True
                raise

    def pending(self) -> list[str]:
        """Parts that a run would install or repair; looks at stamps only."""
        late = [f"environment {name}" for name in ENVIRONMENTS if not self._has_environment(name)]
        if late:
            return late
        if not self._has_archives():
            return ["Java archives"]
        return [] if self._has_class_archive() else ["class-data-sharing archive"]

    def java_side(self) -> None:
        self.java_archives()
        self.class_archive()

    def system_packages(self) -> None:
        """Java, venv and make; installed when we are root, otherwise named as Debian packages."""
        if wanted := machine.missing_packages(self.python):
            machine.require_root(wanted)
            with self.step(f"apt-get install {' '.join(wanted)}"):
                machine.apt_install(wanted)
                machine.require_nothing_missing(self.python)

    def slurm_packages(self) -> None:
        """What the Slurm lab and its tests need; where that cannot be had the reason is printed, they are skipped."""
        lacking = packages.missing_for_tests()
        if lacking and not machine.may_install():
            print(f"  no Slurm lab: its tests are skipped. For them: {packages.install_line(lacking)}", flush=True)
        elif lacking:
            try:
                with self.step(f"apt-get install {' '.join(lacking)}"):
                    packages.install(lacking)
            except PlatformError as error:
                print(f"  no Slurm lab: its tests are skipped. {error}", flush=True)

    def environment(self, name: str) -> None:
        """A virtual environment with exactly what ``requirements/<name>.txt`` locks."""
        if self._has_environment(name):
            return
        folder = self.toolchain / "env" / name
        lock = REQUIREMENTS / f"{name}.txt"
        packages = sum(
            "==" in line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith((" ", "#"))
        )
        uv = self.uv() if name != "bootstrap" else None
        with self.step(f"environment {name}: {packages} packages"):
            if not _is_whole(folder) or uv is None:
                shutil.rmtree(folder, ignore_errors=True)
                machine.run(
                    [str(self.python), "-m", "venv", str(folder)] + ([] if uv is None else ["--without-pip"]),
                    "making a virtual environment",
                )
            (folder / ".stamp").unlink(missing_ok=True)
            self.retrying(f"the packages of {name}", lambda: install_packages(folder, lock, uv))
            (folder / ".stamp").write_text(self._environment_stamp(name), encoding="utf-8")

    def _has_environment(self, name: str) -> bool:
        return _stamped(self.toolchain / "env" / name, self._environment_stamp(name))

    def _environment_stamp(self, name: str) -> str:
        return _digest((REQUIREMENTS / f"{name}.txt").read_bytes(), sys.version.encode(), sys.base_prefix.encode())

    def uv(self) -> Path | None:
        """uv from its own locked environment; None where it cannot be had, then pip does the work."""
        try:
            self.environment("bootstrap")
        except PlatformError as error:
            print(f"  uv cannot be installed, pip is slower and does the same ({error})", flush=True)
            return None
        path = self.toolchain / "env" / "bootstrap" / "bin" / "uv"
        works = subprocess.run([str(path), "--version"], capture_output=True, check=False).returncode == 0
        return path if works else None

    def notebook(self) -> None:
        """JupyterLab, whose kernel finds the packages of the Spark applications in their own environment."""
        self.environment("notebook")
        (site,) = (self.toolchain / "env" / "notebook").glob("lib/python3*/site-packages")
        (theirs,) = (self.toolchain / "env" / "spark").glob("lib/python3*/site-packages")
        (site / "spark_environment.pth").write_text(f"{theirs}\n", encoding="utf-8")

    def java_archives(self) -> None:
        """The archives of ``archives.lock``, each with its checksum compared."""
        if self._has_archives():
            return
        jars, locked = self.toolchain / "jars", archives.read_lock(ARCHIVES_LOCK)
        with self.step(f"{len(locked)} Java archives"):
            archives.install(locked, jars, self.spark_home, self.retrying)
            (jars / ".stamp").write_text(_digest(ARCHIVES_LOCK.read_bytes()), encoding="utf-8")

    def _has_archives(self) -> bool:
        jars = self.toolchain / "jars"
        names = sorted(f"{archive.set_name}/{archive.file_name}" for archive in archives.read_lock(ARCHIVES_LOCK))
        present = sorted(f"{path.parent.name}/{path.name}" for path in jars.glob("*/*.jar"))
        return present == names and _stamped(jars, _digest(ARCHIVES_LOCK.read_bytes()))

    def class_archive(self) -> None:
        """The class-data-sharing archive: classes of a representative application, loaded and verified once."""
        if self._has_class_archive():
            return
        target = class_archive(self.toolchain)
        with self.step("class-data-sharing archive for short Spark applications"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            with tempfile.TemporaryDirectory(prefix="millrace-cds-") as folder:
                self._dump_classes(Path(folder), target)
            (target.parent / ".stamp").write_text(self._class_path_stamp(), encoding="utf-8")

    def _has_class_archive(self) -> bool:
        target = class_archive(self.toolchain)
        return target.exists() and _stamped(target.parent, self._class_path_stamp())

    def _dump_classes(self, folder: Path, target: Path) -> None:
        properties = folder / "spark-defaults.conf"
        conf = spark_conf(self.toolchain / "jars" / "spark", folder)
        properties.write_text("".join(f"{key} {value}\n" for key, value in conf.items()), encoding="utf-8")
        dump = folder / target.name
        log4j2 = Path(__file__).with_name("log4j2.properties")
        quiet = f"-Dlog4j2.configurationFile={log4j2} -Xlog:cds=off -Xlog:cds+dynamic=off"
        # The class path has to be, letter by letter, the one of the applications that use the archive.
        run = subprocess.run(
            [
                str(self.spark_home / "bin" / "spark-submit"), "--master", "local[2]",
                "--properties-file", str(properties),
                "--driver-java-options", f"-XX:ArchiveClassesAtExit={dump} {quiet}",
                str(Path(__file__).with_name("cds_warmup.py")), str(folder),
            ],
            env={key: value for key, value in os.environ.items() if not key.startswith("SPARK_")} | {
                "SPARK_HOME": str(self.spark_home), "SPARK_LOCAL_IP": "127.0.0.1",
                "PYSPARK_PYTHON": str(self.toolchain / "env" / "spark" / "bin" / "python"),
            },
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if run.returncode != 0 or not dump.exists():
            said = (run.stdout + run.stderr)[-2000:]
            raise DependencyUnavailableError(
                "Making the class-data-sharing archive",
                found=f"exit status {run.returncode}: {said}",
                required="a run of infra/local/cds_warmup.py",
                next_step="Mend the cause and run set-up again.",
                changed="Everything else is installed; applications start without the archive, slower.",
            )
        shutil.move(dump, target)

    def _class_path_stamp(self) -> str:
        # The JVM compares order, size and time of every archive on the class path.
        entries = []
        for folder in (self.toolchain / "jars" / "spark", self.spark_home / "jars"):
            for entry in os.scandir(folder):
                info = entry.stat()
                entries.append(f"{entry.path} {info.st_size} {info.st_mtime_ns}")
        warmup = Path(__file__).with_name("cds_warmup.py").read_bytes()
        return _digest("\n".join(entries).encode(), machine.java_version_text().encode(), warmup)

    @property
    def spark_home(self) -> Path:
        return next((self.toolchain / "env" / "spark" / "lib").glob("python3*/site-packages/pyspark"))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Print the step when it is done, with its seconds."""
        started = time.monotonic()
        yield
        self.changed += 1
        print(f"  {name:<58} {time.monotonic() - started:6.1f} s", flush=True)

    def retrying(self, name: str, action: Callable[[], None]) -> None:
        """Downloads fail now and then: three tries, with a pause that grows."""
        for attempt in range(1, _TRIES + 1):
            try:
                action()
            except DependencyUnavailableError as error:
                if attempt == _TRIES or self.stopping:
                    raise
                pause = 5 * attempt
                print(
                    f"  {name}: try {attempt} of {_TRIES} failed, again in {pause} s ({_first_line(error)})", flush=True
                )
                time.sleep(pause)
            else:
                return


def install_packages(folder: Path, lock: Path, uv: Path | None) -> None:
    """Install a lock with hashes: uv brings an existing environment to exactly that, pip fills a new one."""
    python = str(folder / "bin" / "python")
    if uv is None:
        command = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            str(lock),
        ]
    else:
        command = [str(uv), "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(lock)]
    machine.run(command, f"installing {lock.name}")


def _is_whole(folder: Path) -> bool:
    """The environment's Python starts and is the version that set-up runs on."""
    python = folder / "bin" / "python"
    if not python.exists():
        return False
    run = subprocess.run(
        [str(python), "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
    )
    return run.stdout.strip() == sys.version


def _stamped(folder: Path, stamp: str) -> bool:
    path = folder / ".stamp"
    return path.exists() and path.read_text(encoding="utf-8") == stamp


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


@contextmanager
def _alone(toolchain: Path) -> Iterator[None]:
    toolchain.mkdir(parents=True, exist_ok=True)
    with (toolchain / ".setup.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  waiting for another set-up of this checkout", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(argv: list[str]) -> int:
    parser = ArgumentParser(prog="millrace setup", description=__doc__, allow_abbrev=False)
    parser.add_argument("--browser", action="store_true", help="also Debian's chromium, for the browser tests")
    parser.add_argument("--hpc", action="store_true", help="also Debian's Slurm and OpenSSH, for the Slurm lab")
    parser.add_argument("--notebook", action="store_true", help="also JupyterLab, for the notebooks")
    parser.add_argument("--peers", action="store_true", help="also the libraries that benchmarks compare with")
    args = parser.parse_args(argv)
    started = time.monotonic()
    toolchain = Path(os.environ.get("MILLRACE_TOOLCHAIN", REPOSITORY / ".millrace")).resolve()
    try:
        with _alone(toolchain):
            setup = Setup(toolchain)
            setup.run()
            if args.browser:
                machine.browser()
            if args.hpc:
                setup.slurm_packages()
            if args.notebook:
                setup.notebook()
            if args.peers:
                setup.environment("peers")
    except PlatformError as error:
        print(f"millrace setup: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("millrace setup: stopped; run it again to go on where it was", file=sys.stderr)
        return 130
    done = f"{setup.changed} parts installed" if setup.changed else "nothing to do"
    print(f"set up: {done} ({time.monotonic() - started:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
