"""What a task asks for is refused where it is wrong, and the script of a job is exactly the one that was agreed."""

import os
import re
import subprocess

import pytest
from pydantic import ValidationError

from dags.operators.slurm.errors import SpecError
from dags.operators.slurm.keys import MAX_NAME, WorkKey, item_of, job_name
from dags.operators.slurm.script import Program, StagedInput, job_script
from dags.operators.slurm.sites import require_fits, site
from dags.operators.slurm.spec import SbatchSpec
from tests.dags.home import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "sbatch"
PROGRAM = Program(
    application="spark_apps/fit.py",
    code="code",
    args=("--pipeline", "higgs", "--snapshot", "@inputs@/snapshot", "--title", "it's $HOME; rm -rf /"),
    inputs=(
        StagedInput("/scratch/base/objects/" + "c" * 64 + ".tar", "code", is_folder=True),
        StagedInput("/scratch/base/objects/" + "e" * 64, "pipeline.yaml", is_folder=False),
    ),
    venv="$HOME/millrace/venv",
    jars="/opt/jars",
)
SCRIPTS = {
    "lab_one_node": (SbatchSpec(memory_mib=2048, time_limit_min=10, cpus_per_task=2), "lab", "slurm"),
    "lab_two_nodes": (SbatchSpec(memory_mib=3072, time_limit_min=10, nodes=2, requeue=True), "lab", "slurm"),
    "stanage_gpu": (
        SbatchSpec(
            memory_mib=82_000, time_limit_min=5760, cpus_per_task=12, partition="gpu", qos="gpu", gres="gpu:1",
            account="research", constraint="a100&ib", signal_s=120, modules=("CUDA/11.8.0",),
            extra={"exclusive": None, "nice": "100"}, env={"OMP_NUM_THREADS": "12", "NOTE": "a 'quoted' $VALUE"},
        ),
        "stanage", "slurm",
    ),
    "detached": (SbatchSpec(memory_mib=2048, time_limit_min=30, cpus_per_task=4), "plain", "detached"),
}  # fmt: skip


def test_every_script_is_the_one_that_was_agreed():
    body = (REPOSITORY / "dags" / "operators" / "slurm" / "job.sh").read_text(encoding="utf-8")
    texts = {name: job_script(spec, PROGRAM, site(place), queue) for name, (spec, place, queue) in SCRIPTS.items()}
    assert all(text.endswith(body) for text in texts.values())
    made = {f"{name}.sh": text.removesuffix(body) for name, text in texts.items()}
    if os.environ.get("REBUILD_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
    assert made == {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.sh")}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_valid_bash(name):
    spec, place, queue = SCRIPTS[name]
    text = job_script(spec, PROGRAM, site(place), queue)
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_argument_of_a_task_is_read_as_bash():
    text = job_script(SCRIPTS["lab_one_node"][0], PROGRAM, site("lab"))
    head = text[: text.index("# The part of a job")]
    shown = subprocess.run(
        ["bash", "-c", head + 'printf "%s\\n" "${ARGS[@]}"'], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == list(PROGRAM.args)


def test_a_script_holds_no_secret_and_shows_none_that_is_made_on_the_node():
    text = job_script(SCRIPTS["lab_two_nodes"][0], PROGRAM, site("lab"))
    # Made by the shell itself, written by a builtin into a file of mode 0600, never an argument of a program.
    uses = [line.strip() for line in text.splitlines() if "SECRET" in line]
    assert uses == [
        "SECRET=$(head -c 32 /dev/urandom | base64 | tr -d '/+=\\n')",
        'printf \'%s\\n\' "spark.authenticate true" "spark.authenticate.secret $SECRET" \\',
        "unset SECRET",
    ]
    assert text.index("umask 077") < text.index("SECRET=")
    assert "set -x" not in text


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"memory_mib": None}, "memory_mib"),
        ({"time_limit_min": 0}, "time_limit_min"),
        ({"memory": 100}, "memory"),
        ({"partition": "gpu;reboot"}, "partition"),
        ({"partition": "--wrap=x"}, "partition"),
        ({"account": "a b"}, "account"),
        ({"gres": "gpu:1 --wrap"}, "gres"),
        ({"constraint": "a\n#SBATCH --wrap"}, "constraint"),
        ({"extra": {"wrap": "true"}}, "extra"),
        ({"extra": {"output": "/etc/passwd"}}, "extra"),
        ({"extra": {"uid": "0"}}, "extra"),
        ({"extra": {"nice": "1\n#SBATCH -o x"}}, "extra"),
        ({"env": {"SPARK_AUTH_SECRET": "x"}}, "env"),
        ({"env": {"AWS_SECRET_ACCESS_KEY": "x"}}, "env"),
        ({"env": {"API_KEY": "x"}}, "env"),
        ({"env": {"LD_PRELOAD": "x"}}, "env"),
        ({"env": {"SLURM_CONF": "x"}}, "env"),
        ({"env": {"A": "line\nbreak"}}, "env"),
        ({"env": {"a-b": "x"}}, "env"),
        ({"modules": ("Java; rm",)}, "modules"),
        ({"signal_s": 600}, "signal_s"),
    ],
)
def test_a_specification_that_cannot_be_meant_is_refused_by_name(fields, wrong):
    with pytest.raises(ValidationError) as refused:
        SbatchSpec(**({"memory_mib": 1024, "time_limit_min": 10} | fields))
    assert wrong in str(refused.value)


def test_what_no_node_of_the_site_has_is_refused_before_it_waits():
    with pytest.raises(SpecError, match=r"time_limit_min=6000.*at most 5760"):
        require_fits(SbatchSpec(memory_mib=1024, time_limit_min=6000), site("stanage"))
    require_fits(SbatchSpec(memory_mib=1024, time_limit_min=5760), site("stanage"))
    with pytest.raises(SpecError, match="one of stanage, lab, plain"):
        site("sharc")


def test_names_are_safe_and_at_most_180_characters_and_never_collide():
    long = WorkKey("d" * 300, "t" * 300, "r" * 300).name()
    assert len(job_name(long, 9999)) <= MAX_NAME
    odd = [
        WorkKey("d", "t", "manual__2026-11-30T00:00:00+00:00"),
        WorkKey("d", "t", "manual__2026-11-30T00:00:00-00:00"),
        WorkKey("d.t", "x", "r"),
        WorkKey("d", "t.x", "r"),
        WorkKey("d" * 300, "t", "r1"),
        WorkKey("d" * 300, "t", "r2"),
        WorkKey("d", "ü$(reboot)`'\"|", "r"),
        WorkKey("d", "t", "r", "alpha"),
        WorkKey("d", "t", "r", "beta"),
        WorkKey("d", "t", "r", "a/b"),
        WorkKey("d", "t", "r", "a-b"),
    ]
    names = [key.name() for key in odd]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    assert odd[0].name("here") != odd[0].name("there")


def test_a_mapped_task_is_known_by_what_it_works_on():
    assert item_of("gbt", 3, ["--a"]) == item_of("gbt", 0, ["--b"]) == "gbt"
    assert item_of(None, -1, ["--a"]) == ""
    assert item_of(None, 0, ["--a"]) != item_of(None, 0, ["--b"])
    # Equal arguments twice in a list are two pieces of work.
    assert item_of(None, 0, ["--a"]) != item_of(None, 1, ["--a"])
