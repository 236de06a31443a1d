"""The lab as the program of a container: ``serve FOLDER --reached-by NAME --give FOLDER``, until SIGTERM.

``serve FOLDER --check`` says in one line what is not well, for the container's health check.
"""

import shutil
import signal
import subprocess
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path

from contracts.errors import ExitCode, PlatformError
from contracts.settings import load_settings
from infra.slurm.lab import Lab

#: A daemon that died is noticed after so many seconds, and all of them are started anew with the container.
_LOOK_EVERY_S = 5.0


def give_access(lab: Lab, folder: Path) -> None:
    """What a client needs, for who reads ``folder``: the platform's key, and the host's to compare with."""
    for name in ("id_platform", "known_hosts"):
        shutil.copy(lab.places.keys / name, folder / f"{name}.new")
        (folder / f"{name}.new").rename(folder / name)


def complaints(lab: Lab) -> list[str]:
    """What is not well, a few words for each daemon."""
    return [f"{part.name}: {part.health}" for part in lab.status() if part.health != "healthy"]


def serve(lab: Lab, access: Path | None) -> int:
    """Run the lab until somebody ends it; 1 where one of its daemons ended first."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with lab:
        if access:
            give_access(lab, access)
        print(f"both nodes take jobs; sshd listens on port {lab.ports.slurm_ssh}", flush=True)
        while not stopping.wait(_LOOK_EVERY_S):
            if dead := lab.dead():
                print(f"ended by themselves: {', '.join(dead)}; read {lab.places.logs}", file=sys.stderr, flush=True)
                return 1
    return 0


def main(argv: list[str]) -> int:
    """The exit code: 0 asked to end, 1 something is not well, else what the error says."""
    parser = ArgumentParser(prog="serve", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="where the lab keeps its files")
    parser.add_argument("--reached-by", default="127.0.0.1", metavar="NAME", help="what others call this host")
    parser.add_argument("--give", type=Path, metavar="FOLDER", help="put the platform's key and the host's there")
    parser.add_argument("--check", action="store_true", help="only look at the lab that runs here")
    args = parser.parse_args(argv)
    try:
        lab = Lab(args.folder, load_settings().ports, reached_by=args.reached_by)
        if args.check:
            print("; ".join(found := complaints(lab)))
            return 1 if found else 0
        return serve(lab, args.give)
    except PlatformError as error:
        print(f"serve: {error}", file=sys.stderr)
        return int(error.exit_code)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"serve: the lab in {args.folder}, its access in {args.give}: {error}", file=sys.stderr)
        return int(ExitCode.CONTRACT_BROKEN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
