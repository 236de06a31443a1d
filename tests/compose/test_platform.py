"""The platform in containers, for real: built, started, used, hurt and taken away. In the order of this file."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime

import pytest

from contracts.settings import REPOSITORY
from infra.images import build
from tests.compose.platform import PROJECT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]

SAMPLE, LINES = "nasa_http/access_09jul1995_am.log", 12_430
#: Its last line has no end.
OTHER, OTHER_LINES = "nasa_http/NASA_short.log", 7_084


def wait_until(condition, timeout_s, what):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s still not: {what}"
        time.sleep(1)


def test_the_page_is_small_and_has_neither_java_nor_spark(images):
    known, sizes = images
    assert sizes["page"] <= build.PAGE_GOAL_MB
    assert shell(known, "page", "command -v java; find / -xdev -name pyspark; true") == ""


@pytest.mark.parametrize("image", build.IMAGES)
def test_an_image_runs_as_nobody_in_particular_and_holds_no_tool_to_build_with(images, image):
    known, _ = images
    assert int(shell(known, image, "id -u")) >= 10_000
    unwanted = "gcc cc g++ make ld as pip pip3 uv git curl wget"
    assert shell(known, image, f"for each in {unwanted}; do command -v $each; done; true") == ""
    assert shell(known, image, "find / -xdev -perm /6000 -type f 2>/dev/null; true") == ""


@pytest.mark.parametrize("image", build.IMAGES)
def test_an_image_says_which_version_and_revision_it_is(images, image):
    known, _ = images
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", tag(known, image)],
        env=known, capture_output=True, text=True, check=True,
    )  # fmt: skip
    labels = json.loads(done.stdout)
    assert labels["org.opencontainers.image.version"] == build.version()
    assert labels["org.opencontainers.image.revision"] == known["MILLRACE_REVISION"] != ""
    assert labels["org.opencontainers.image.title"] == f"millrace {image}"


def test_every_service_is_healthy_and_nobody_is_root(platform):
    containers = platform.containers()
    lasting = [each for each in containers if each["State"]["Running"]]
    assert len(lasting) == 12
    assert {each["State"]["Health"]["Status"] for each in lasting} == {"healthy"}
    ended = {service_of(each): each["State"]["ExitCode"] for each in containers if each not in lasting}
    assert ended == {"kafka-access": 0, "airflow-start": 0}
    for each in lasting:
        rows = platform.docker("top", each["Id"], "-eo", "uid,pid,args").stdout.splitlines()[1:]
        assert rows
        assert all(int(row.split()[0]) >= 10_000 for row in rows), rows
        assert each["HostConfig"]["ReadonlyRootfs"] is True


def test_no_secret_is_in_an_argument_list_or_an_environment_that_the_engine_shows(platform):
    secrets = [path.read_text() for path in platform.secrets.iterdir()]
    for each in platform.containers():
        shown = json.dumps(each["Config"])
        if each["State"]["Running"]:
            shown += platform.docker("top", each["Id"], "-eo", "pid,args").stdout
        assert not [secret for secret in secrets if secret in shown]


def test_the_broker_asks_who_is_there_and_lets_everybody_do_their_own_work_only(platform):
    script = (REPOSITORY / "tests" / "compose" / "kafka_rights.py").read_text()
    done = platform.compose("exec", "-T", "stream", "python", "-c", script)
    strangers = {"nobody": "refused", "wrong password": "refused"}
    assert json.loads(done.stdout) == strangers | {"stream reads": "allowed", "stream writes": "refused"}
    done = platform.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "python", "tools", "-c", script)
    assert json.loads(done.stdout) == strangers | {"replayer reads": "refused"}


def test_replayed_lines_reach_every_table_and_the_page(platform):
    assert platform.tool("replay", "--json", f"/samples/{SAMPLE}")["lines"] == LINES
    found = drained(platform)
    assert found["tables"]["bronze"] == LINES
    assert balanced(found)
    seen = platform.json_of("PAGE", "/api/stream")
    assert seen.get("state") == "running", seen
    assert platform.json_of("PAGE", "/api/summary")["totals"]["requests"] == found["tables"]["silver"]


def test_a_day_is_validated_and_a_model_trained_through_airflows_rest_api(platform):
    api = platform.airflow()
    day = datetime.now(UTC).date().isoformat()
    window = {"first_day": day, "last_day": day}
    runs = {"access_log_daily": window, "retrain_access_log_volume": window | {"force": True}}
    wait_until(lambda: set(runs) <= set(api.dag_ids()), 120, "Airflow has read the DAGs")
    for dag, conf in runs.items():
        api.unpause(dag)
        run_id = api.trigger(dag, conf)
        state = api.wait(dag, run_id, 1200, lambda _: None)
        assert state == "success", {task["task_id"]: task["state"] for task in api.tasks(dag, run_id)}
    versions = platform.json_of("MLFLOW", "/api/2.0/mlflow/model-versions/search?filter=name%3D%27access_log_volume%27")
    assert len(versions["model_versions"]) == 1


def test_the_same_training_in_the_slurm_partition_measures_the_same(platform):
    platform.compose("--profile", "slurm", "up", "--detach", "--wait", "--wait-timeout", "300", "slurm")
    (lab,) = platform.running("slurm")
    rows = platform.docker("top", lab["Id"], "-eo", "uid,pid,args").stdout.splitlines()[1:]
    assert rows
    assert all(int(row.split()[0]) >= 10_000 for row in rows), rows
    api, dag = platform.airflow(), "retrain_access_log_volume"
    day = datetime.now(UTC).date().isoformat()
    run_id = api.trigger(dag, {"first_day": day, "last_day": day, "force": True, "backend": "hpc"})
    state = api.wait(dag, run_id, 1200, lambda _: None)
    tasks = {task["task_id"]: task["state"] for task in api.tasks(dag, run_id)}
    assert (state, tasks["fit_on_hpc"]) == ("success", "success"), tasks
    finished = platform.docker("exec", lab["Id"], "cat", "/var/lib/slurm/log/jobcomp.txt").stdout
    assert finished.count("JobState=COMPLETED") == 1
    script = "import glob, json; print(json.dumps([json.load(open(p)) for p in glob.glob('%s', recursive=True)]))"
    done = platform.compose(
        "exec", "-T", "airflow-scheduler", "python", "-c",
        script % f"/var/lib/millrace/runs/{dag}/*/train/**/result.json",
    )  # fmt: skip
    here, there = sorted(json.loads(done.stdout), key=lambda found: found["started_at"])
    assert here["hashes"]["snapshot"] == there["hashes"]["snapshot"]
    assert there["metrics"] == pytest.approx(here["metrics"], abs=1e-9)
    platform.compose("--profile", "slurm", "stop", "slurm")


def test_a_job_ends_right_although_its_worker_dies(platform):
    mounted = f"{REPOSITORY}/tests/compose/slow_sum.py:/opt/millrace/spark_apps/slow_sum.py:ro"
    job = platform.start("--volume", mounted, "tools", "submit", "slow_sum")
    worker = worker_of(platform, "cli.slow_sum")
    time.sleep(5)
    platform.docker("kill", worker)
    said, _ = job.communicate(timeout=400)
    assert job.returncode == 0, said[-3000:]
    assert f"TOTAL {sum(n * n for n in range(40))}" in said
    platform.docker("start", worker)
    wait_until(lambda: len(platform.running("spark-worker")) == 2, 60, "both workers run")
    platform.up()


def test_nothing_is_lost_although_the_broker_dies(platform):
    before = drained(platform)["tables"]["bronze"]
    replay = platform.start("tools", "replay", "--rate", "400", "--json", f"/samples/{OTHER}")
    time.sleep(8)
    (broker,) = [each["Id"] for each in platform.running("kafka")]
    platform.docker("kill", broker)
    time.sleep(3)
    platform.docker("start", broker)
    said, _ = replay.communicate(timeout=400)
    assert replay.returncode == 0, said[-3000:]
    # The stream may have ended with "broker away"; its restart policy brings it back.
    wait_until(lambda: healthy(platform, "stream"), 240, "the stream is well again")
    found = drained(platform)
    assert found["tables"]["bronze"] - found["duplicates"] == before + OTHER_LINES
    assert balanced(found)


def test_nothing_is_left_of_it(platform):
    platform.down()
    label = ("--filter", f"label=com.docker.compose.project={PROJECT}", "--quiet")
    for what in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert platform.docker(*what, *label).stdout == ""


def service_of(container):
    return container["Config"]["Labels"]["com.docker.compose.service"]


def tag(known, image):
    return f"millrace/{image}:{known['MILLRACE_VERSION']}"


def shell(known, image, script):
    run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "/bin/bash"]
    command = [*run, tag(known, image), "-c", script]
    return subprocess.run(command, env=known, capture_output=True, text=True, check=True).stdout.strip()


def drained(platform):
    """Totals of the tables once they hold everything; the driver itself is asked, in its container."""
    done = platform.compose("exec", "-T", "stream", "python", "-m", "streaming.drain", "--json")
    return json.loads(done.stdout.strip().splitlines()[-1])


def balanced(found):
    rows = found["tables"]
    return rows["bronze"] == rows["silver"] + rows["quarantine"] + found["duplicates"]


def worker_of(platform, application):
    """The container of the worker that runs an executor of ``application``."""

    def found():
        active = platform.json_of("SPARK", "/json/")["activeapps"]
        folders = [f"/scratch/work/{each['id']}" for each in active if each["name"] == application]
        for worker in [each["Id"] for each in platform.running("spark-worker")]:
            for folder in folders:
                if platform.docker("exec", worker, "test", "-d", folder, check=False).returncode == 0:
                    return worker
        return None

    wait_until(found, 120, f"an executor of {application} runs")
    return found()


def healthy(platform, service):
    return [each["State"]["Health"]["Status"] for each in platform.running(service)] == ["healthy"]
