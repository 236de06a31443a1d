"""Install parts of the platform into an image with the code and the locks of set-up.

    python3 -m infra.images.install environment NAME   what requirements/NAME.txt locks, without its tools for tests
    python3 -m infra.images.install archives           the Java archives
    python3 -m infra.images.install classes            the class-data-sharing archive of this image's JVM

Standard library only. Runs in a build, as root.
"""

import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

from contracts.errors import PlatformError
from infra.local.setup import REPOSITORY, Setup

#: What the locks hold for tests, type checks and benchmarks.
NOT_IN_IMAGES = (
    "execnet", "httpx2", "hypothesis", "iniconfig", "lightgbm", "mypy", "mypy-extensions", "pandas-stubs", "pytest",
    "pytest-timeout", "pytest-xdist", "types-pyyaml", "types-tqdm", "uv",
)  # fmt: skip
#: Only tests of the live page write tables, and those through pyarrow: 150 MB.
NOT_IN = {"serving": ("pyarrow",)}
#: Folders in packages that are read by nobody at run time.
_IDLE_FOLDERS = (
    "matplotlib/tests", "pandas/tests", "pyarrow/include", "pyarrow/src", "pyarrow/tests", "pyspark/examples",
    "scipy/**/tests", "sklearn/**/tests",
)  # fmt: skip


def environment(setup: Setup, name: str) -> None:
    """``env/<name>`` by its lock, then without what images do not need; what is left must be complete in itself."""
    setup.environment(name)
    folder = setup.toolchain / "env" / name
    if name == "bootstrap":
        return
    uv, python = str(setup.uv()), str(folder / "bin" / "python")
    unwanted = [*NOT_IN_IMAGES, *NOT_IN.get(name, ())]
    subprocess.run([uv, "pip", "uninstall", "--quiet", "--python", python, *unwanted], check=True)
    # Fails where something that stays asks for what was taken out.
    subprocess.run([uv, "pip", "check", "--quiet", "--python", python], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for pattern in _IDLE_FOLDERS:
        for idle in site.glob(pattern):
            shutil.rmtree(idle)


def main(argv: list[str]) -> int:
    parser = ArgumentParser(prog="infra.images.install", description=__doc__, allow_abbrev=False)
    parser.add_argument("part", choices=["environment", "archives", "classes"])
    parser.add_argument("name", nargs="?", help="of the environment")
    args = parser.parse_args(argv)
    setup = Setup(Path(REPOSITORY / ".millrace"))
    try:
        if args.part == "environment":
            environment(setup, args.name)
        elif args.part == "archives":
            setup.java_archives()
        else:
            setup.class_archive()
    except PlatformError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
