"""Handling the platform in containers from a test: Compose with a project name, ports and secrets of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.settings import REPOSITORY
from infra.local.airflow_api import AirflowApi

PROJECT = "millrace-test"
_PORTS = ("KAFKA", "SPARK", "MLFLOW", "AIRFLOW", "PAGE", "NOTEBOOK")


@dataclass(frozen=True)
class Platform:
    environment: dict[str, str]
    secrets: Path

    @classmethod
    def on_free_ports(cls, environment: dict[str, str], secrets: Path) -> Platform:
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in _PORTS]
        ports = {f"MILLRACE_{name}_PORT": str(p.getsockname()[1]) for name, p in zip(_PORTS, probes, strict=True)}
        for probe in probes:
            probe.close()
        return cls(environment | ports | {"MILLRACE_SECRETS": str(secrets)}, secrets)

    def port(self, name: str) -> int:
        return int(self.environment[f"MILLRACE_{name}_PORT"])

    def up(self, *services: str) -> None:
        self.compose("up", "--detach", "--wait", "--wait-timeout", "600", *services)

    def down(self) -> None:
        """Everything away, the volumes too; of the profiles as well."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "90")

    def compose(self, *arguments: str, check: bool = True, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        return self.docker("compose", "--project-name", PROJECT, *arguments, check=check, timeout_s=timeout_s)

    def docker(self, *arguments: str, check: bool = True, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *arguments], env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=timeout_s,
        )  # fmt: skip
        assert not check or done.returncode == 0, (
            f"docker {' '.join(arguments)}:\n{(done.stdout + done.stderr)[-6000:]}"
        )
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A one-off command of the service ``tools``, in the background."""
        return subprocess.Popen(
            ["docker", "compose", "--project-name", PROJECT, "run", "--rm", "--no-deps", "-T", *arguments],
            env=self.environment, cwd=REPOSITORY, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def tool(self, *arguments: str) -> dict[str, Any]:
        """A one-off command whose last line is a JSON object."""
        done = self.compose("run", "--rm", "--no-deps", "-T", "tools", *arguments)
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found

    def containers(self) -> list[dict[str, Any]]:
        """Every container of this project, as the engine describes it."""
        ids = self.docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}").stdout
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *ids.split()).stdout) if ids.split() else []
        return found

    def running(self, service: str) -> list[dict[str, Any]]:
        return [
            each
            for each in self.containers()
            if each["Config"]["Labels"]["com.docker.compose.service"] == service and each["State"]["Running"]
        ]

    def json_of(self, port: str, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port(port)}{path}", timeout=10) as answer:
            return json.load(answer)

    def airflow(self) -> AirflowApi:
        return AirflowApi.login(self.port("AIRFLOW"), (self.secrets / "airflow_admin_password").read_text())
