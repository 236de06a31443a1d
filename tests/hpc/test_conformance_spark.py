"""Real Spark inside an allocation: one node, and a standalone cluster of two; the only test here that starts JVMs."""

import asyncio
import json
import os
import re
import time
from pathlib import Path

import pytest

from contracts.results import RunContext
from contracts.settings import load_settings
from dags.operators.slurm import work
from dags.operators.slurm.connections import open_cluster
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.settings import cluster_settings
from dags.operators.slurm.spec import Limits, SbatchSpec
from dags.operators.slurm.staging import Input
from dags.operators.slurm.waiting import wait

APPLICATION = """
import hashlib, os, sys
from datetime import UTC, datetime
from pathlib import Path
from pyspark.sql import SparkSession
from contracts.results import Artefact, RunContext, RunResult

started = datetime.now(UTC)
spark = SparkSession.builder.appName("sum").getOrCreate()
rows = spark.read.csv(sys.argv[1], header=True, inferSchema=True).repartition(4)
total = rows.selectExpr("sum(number) AS total").first()["total"]
hosts = spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size()
facts = {
    "hosts": hosts, "master": spark.sparkContext.master,
    "authenticated": spark.sparkContext.getConf().get("spark.authenticate"),
}
spark.stop()
out = Path(os.environ["MILLRACE_OUTPUTS"]) / "total.txt"
out.write_text(str(total))
args = dict(zip(sys.argv[2::2], sys.argv[3::2]))
context = RunContext(dag_id=args["--dag-id"], run_id=args["--run-id"], task_id=args["--task-id"])
RunResult(
    context=context, application="sum", status="done", started_at=started, finished_at=datetime.now(UTC),
    metrics={"total": total}, facts=facts,
    artefacts=[Artefact(path=str(out), sha256=hashlib.sha256(out.read_bytes()).hexdigest())],
).write(Path(os.environ["MILLRACE_STATE"]) / "runs")
"""


@pytest.mark.spark
@pytest.mark.parametrize(("nodes", "memory_mib"), [(1, 1800), (2, 2600)])
def test_spark_runs_and_its_results_come_back(accounted_lab, tmp_path, nodes, memory_mib):
    toolchain = Path(os.environ.get("MILLRACE_TOOLCHAIN", load_settings().toolchain))
    venv = toolchain.resolve() / "env" / "spark"
    if not (venv / "bin" / "python").exists():
        pytest.skip(f"needs the Spark environment in {venv}")
    code = tmp_path / "code"
    (code / "spark_apps").mkdir(parents=True)
    (code / "spark_apps" / "total.py").write_text(APPLICATION)
    (code / "contracts").symlink_to(Path(__file__).parents[2] / "contracts")
    data = tmp_path / "numbers.csv"
    data.write_text("number\n" + "\n".join(map(str, range(1001))))
    found = json.loads(accounted_lab.airflow_connection)
    base = accounted_lab.places.scratch / "spark-base"
    extra = found["extra"] | {"base_dir": str(base), "venv": str(venv), "site": "lab"}
    settings = cluster_settings("hpc", found["host"], found["port"], found["login"], None, extra)
    key = WorkKey("hpc_spark", f"total_{nodes}", "run")
    run = ("--dag-id", key.dag_id, "--run-id", key.run_id, "--task-id", key.task_id)
    request = work.Request(
        key, SbatchSpec(memory_mib=memory_mib, time_limit_min=10, nodes=nodes, cpus_per_task=1), "spark_apps/total.py",
        "code", ("@inputs@/numbers.csv", *run),
        (Input(str(code), None, "code", ("spark_apps", "contracts")), Input(str(data), None, "numbers.csv")),
        outputs=tmp_path / "outputs",
    )  # fmt: skip
    said = []

    async def whole():
        cluster = open_cluster(settings, "slurm")
        try:
            job = await work.submit(cluster, settings, request, say=said.append)
            limits = Limits(pending_poll_s=1, running_poll_s=1, max_run_s=400)
            ending = await wait(cluster, job, limits, say=said.append, since=time.time())
            context = RunContext(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id)
            return job, await work.conclude(cluster, job, ending, request, context, tmp_path / "runs", say=said.append)
        finally:
            await cluster.close()

    job, outcome = asyncio.run(whole())
    assert outcome.decision == "done", outcome.message
    assert (tmp_path / "outputs" / "total.txt").read_text() == "500500"
    facts = outcome.summary["facts"]
    assert facts["authenticated"] == "true"
    # The driver's own block manager counts as one.
    assert facts["hosts"] == (1 if nodes == 1 else 3)
    assert facts["master"].startswith("local[1]" if nodes == 1 else "spark://")
    assert any(Path(job.folder, "events").iterdir())
    # The secret was in one file, which is gone, and nowhere else.
    left = [path for path in Path(job.folder).rglob("*") if path.is_file() and path.suffix != ".jar"]
    assert not [path for path in left if re.search(rb"authenticate.secret\W+[A-Za-z0-9]{20,}", path.read_bytes())]
    assert outcome.summary["usage"]["peak_memory_mib"] > 100
