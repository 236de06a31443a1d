"""Build the images, one after the other: ``python -m infra.images.build [IMAGE ...]``.

What this machine needs to reach package registries goes along as build secrets, taken from the variables that the
clients themselves read; on a machine that needs nothing, nothing goes along. Standard library only.
"""

import json
import os
import platform
import subprocess
import sys
import time
import tomllib
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "docker-compose.yml"
#: Image -> one service that has it; in the order in which they use each other's layers.
IMAGES = {
    "spark": "spark-master",
    "airflow": "airflow-api-server",
    "kafka": "kafka",
    "page": "page",
    "mlflow": "mlflow",
    "postgres": "postgres",
    "notebook": "notebook",
    "slurm": "slurm",
}
#: Megabytes that the page may take.
PAGE_GOAL_MB = 400
#: Build secret -> the variable that names its file for the client that reads it.
_CLIENTS = {
    "CA_BUNDLE": "SSL_CERT_FILE",
    "PIP_CONF": "PIP_CONFIG_FILE",
    "UV_TOML": "UV_CONFIG_FILE",
    "IVY_SETTINGS": "MILLRACE_IVY_SETTINGS",
}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
#: Where Debian keeps what Java trusts.
_JAVA_TRUSTSTORE = Path("/etc/ssl/certs/java/cacerts")


def version() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def revision() -> str:
    """Commit of the checkout, with ``-dirty`` where tracked files differ; ``unknown`` outside a repository."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def environment(given: dict[str, str]) -> dict[str, str]:
    """``given`` with version, revision and the files of the build secrets as docker-compose.yml names them."""
    found = {f"MILLRACE_BUILD_{secret}": given[client] for secret, client in _CLIENTS.items() if given.get(client)}
    if "MILLRACE_BUILD_CA_BUNDLE" in found and _JAVA_TRUSTSTORE.exists():
        # Java has a store of its own: where certificates are special, so is that.
        found["MILLRACE_BUILD_JAVA_TRUSTSTORE"] = str(_JAVA_TRUSTSTORE)
    return {"MILLRACE_VERSION": version(), "MILLRACE_REVISION": revision()} | found | given


def build(image: str, known: dict[str, str], *options: str) -> float:
    """Build one image with Compose's definition of it; returns the seconds it took."""
    proxies = [f"--build-arg={name}" for name in _PROXIES if known.get(name)]
    command = [
        "docker",
        "compose",
        "--file",
        str(COMPOSE),
        "--profile",
        "*",
        "build",
        *proxies,
        *options,
        IMAGES[image],
    ]
    started = time.monotonic()
    subprocess.run(command, env=known, cwd=REPOSITORY, check=True)
    return time.monotonic() - started


def size_mb(image: str, known: dict[str, str]) -> float:
    """Megabytes (10^6 bytes) of all layers, uncompressed."""
    command = ["docker", "image", "inspect", "--format", "{{.Size}}", f"millrace/{image}:{known['MILLRACE_VERSION']}"]
    found = subprocess.run(command, env=known, capture_output=True, text=True, check=True)
    return int(found.stdout) / 1e6


def figures(rows: dict[str, tuple[float, float]], known: dict[str, str]) -> dict[str, object]:
    """Seconds and megabytes of each image in the one form of benchmark results (benchmarks/figures.py)."""
    found: dict[str, object] = {}
    for image, (seconds, megabytes) in rows.items():
        goal = f"<= {PAGE_GOAL_MB}" if image == "page" else ""
        found[f"{image}.size"] = {"value": round(megabytes, 1), "unit": "MB, uncompressed", "goal": goal}
        found[f"{image}.build"] = {"value": round(seconds, 1), "unit": "s, after the images before it", "goal": ""}
    engine = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], env=known, capture_output=True, text=True, check=True
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.machine()}",
        "versions": {"millrace": version(), "docker": engine.stdout.strip()},
        "date": datetime.now(UTC).date().isoformat(),
        "figures": found,
    }


def main(argv: list[str]) -> int:
    parser = ArgumentParser(prog="infra.images.build", description=__doc__, allow_abbrev=False)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"default: all of {', '.join(IMAGES)}")
    parser.add_argument(
        "--figures", type=Path, metavar="FILE", help="build everything anew and note seconds and megabytes"
    )
    args = parser.parse_args(argv)
    if unknown := set(args.images) - set(IMAGES):
        parser.error(f"no image {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    known = environment(dict(os.environ))
    fresh = [f"--build-arg=FRESH={time.time()}"] if args.figures else []
    rows = {}
    for image in args.images or IMAGES:
        seconds = build(image, known, *fresh)
        rows[image] = (seconds, size_mb(image, known))
        print(f"  {image:<10} {rows[image][1]:>8,.0f} MB   built in {seconds:6.1f} s", flush=True)
    if args.figures:
        args.figures.write_text(json.dumps(figures(rows, known), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{' '.join(failed.cmd[:3])} … ended with status {failed.returncode}; its own message is above")
