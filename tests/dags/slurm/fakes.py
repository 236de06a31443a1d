"""A cluster in a folder: fake Slurm commands on a PATH of their own, a fake Spark that runs a file as plain Python."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dags.operators.slurm.cluster import Cluster
from dags.operators.slurm.errors import CommandTimeoutError, TransportError
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.settings import ClusterSettings
from dags.operators.slurm.spec import Escalation, QueueName, SbatchSpec
from dags.operators.slurm.staging import Input
from dags.operators.slurm.transports import Completed
from dags.operators.slurm.transports.local import LocalTransport
from dags.operators.slurm.work import Request

COMMANDS = ("sbatch", "squeue", "scontrol", "sacct", "scancel", "sinfo")
KEY = WorkKey("retrain_higgs", "fit_on_cluster", "manual__2026-11-30T00:00:00+00:00")

#: An application of ours, as far as the operator is concerned; what it does is said by its first argument.
APPLICATION = """
import hashlib, json, os, sys, time
what, args = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
print("application says", what, flush=True)
if what.startswith("exit-"):
    sys.exit(int(what[5:]))
if what.startswith("sleep-"):
    time.sleep(float(what[6:]))
outputs = os.environ["MILLRACE_OUTPUTS"]
os.makedirs(outputs + "/model", exist_ok=True)
content = open(os.environ["MILLRACE_INPUTS"] + "/snapshot/part-0.parquet", "rb").read()
open(outputs + "/model/weights", "wb").write(content[::-1])
checksum = hashlib.sha256(content[::-1]).hexdigest()
if what == "wrong-checksum":
    checksum = "0" * 64
if what == "no-result":
    sys.exit(0)
result = {
    "context": {"dag_id": args["--dag-id"], "run_id": args["--run-id"], "task_id": args["--task-id"]},
    "application": "fit", "status": "done", "started_at": "2026-11-30T00:00:00Z", "finished_at": "2026-11-30T00:01:00Z",
    "rows": {"read": len(content)}, "metrics": {"auc": 0.81},
    "artefacts": [{"path": "model/weights", "sha256": checksum}],
}
folder = os.environ["MILLRACE_STATE"] + "/runs/a/b/c/-1/1"
os.makedirs(folder)
text = json.dumps(result)
open(folder + "/result.json", "w").write(text[:40] if what == "damaged-result" else text)
"""

_SPARK_SUBMIT = """#!/bin/bash
echo "$@" >> "${FAKE_SPARK_CALLS:-/dev/null}"
[ -f "$SPARK_CONF_DIR/spark-defaults.conf" ] || exit 99
while [[ $1 == --* ]]; do shift 2; done
exec python3 "$@"
"""


@dataclass
class FakeCluster:
    """``home`` is the folder of the fake Slurm, ``base`` the operator's folder on it."""

    home: Path
    base: Path
    environment: dict[str, str]
    settings: ClusterSettings
    inputs: tuple[Input, ...]
    queue: QueueName = "slurm"

    def cluster(self, queue: QueueName | None = None) -> Cluster:
        return Cluster(LocalTransport(self.environment), queue or self.queue)

    def request(
        self, *args: str, key: WorkKey = KEY, escalation: Escalation | None = None, claim: str = "", **spec: Any
    ) -> Request:
        run = ("--dag-id", key.dag_id, "--run-id", key.run_id, "--task-id", key.task_id)
        fields = {"memory_mib": 1024, "time_limit_min": 5} | spec
        return Request(
            key, SbatchSpec(**fields), "spark_apps/fit.py", "code", (*args, *run), self.inputs,
            escalation or Escalation(), claim=claim,
        )  # fmt: skip

    def jobs(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.home / "jobs").glob("*.json"))]

    def change(self, job_id: str, **fields: Any) -> None:
        path = self.home / "jobs" / f"{job_id}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    def calls(self, command: str) -> list[list[str]]:
        path = self.home / "calls"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line[1:] for line in lines if line[0] == command]

    def folder(self, key: WorkKey = KEY, generation: int = 0) -> Path:
        return self.base / "jobs" / key.name("millrace") / f"g{generation}"


def install(folder: Path) -> FakeCluster:
    """Make such a cluster in ``folder``."""
    home, base, programs = folder / "slurm", folder / "base", folder / "bin"
    (home / "jobs").mkdir(parents=True)
    programs.mkdir()
    source = Path(__file__).with_name("fake_slurm.py").read_text(encoding="utf-8")
    for name in COMMANDS:
        _program(programs / name, f"#!{sys.executable} -IS\n{source}")
    venv = fake_venv(folder / "venv")
    code, snapshot = folder / "repository", folder / "snapshot"
    write_application(code)
    snapshot.mkdir()
    (snapshot / "part-0.parquet").write_bytes(b"PAR1 not really")
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FAKE_SLURM": str(home),
        "UNSURE_PAUSE": "0",
    }
    settings = ClusterSettings(transport="local", base_dir=str(base), venv=str(venv), site="plain")
    inputs = (Input(str(code), None, "code", ("spark_apps",)), Input(str(snapshot), "a" * 64, "snapshot"))
    return FakeCluster(home, base, environment, settings, inputs)


def write_application(code: Path) -> None:
    (code / "spark_apps" / "__pycache__").mkdir(parents=True)
    (code / "spark_apps" / "fit.py").write_text(APPLICATION)
    (code / "spark_apps" / "__pycache__" / "fit.pyc").write_bytes(b"not sent")
    (code / "docs.md").write_text("not sent either")


def fake_venv(folder: Path) -> Path:
    """A virtual environment whose Spark is a shell script; enough for everything but Spark itself."""
    spark = folder / "lib" / "python3.11" / "site-packages" / "pyspark" / "bin"
    spark.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    _program(spark / "spark-submit", _SPARK_SUBMIT)
    _program(folder / "bin" / "java", "#!/bin/sh\n")
    return folder


@dataclass
class Flaky:
    """A transport that loses connections as a test says: ``before`` a command arrives, or its reply ``after``."""

    inner: LocalTransport
    before: Callable[[bytes], bool] = lambda _: False
    after: Callable[[bytes], bool] = lambda _: False
    runs: int = 0

    async def run(self, command: str, stdin: bytes = b"", timeout_s: float = 60) -> Completed:
        self.runs += 1
        if self.before(stdin):
            raise TransportError("Reaching the fake", found="no route", required="a connection", next_step="Again.")
        done = await self.inner.run(command, stdin, timeout_s)
        if self.after(stdin):
            raise CommandTimeoutError("Running", found="no reply", required="a reply", next_step="Again.")
        return done

    async def put(self, local: Path, remote: str) -> None:
        await self.inner.put(local, remote)

    async def get(self, remote: str, local: Path) -> None:
        await self.inner.get(remote, local)

    async def close(self) -> None:
        pass


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
