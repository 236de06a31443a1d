"""sbatch, squeue, scontrol, sacct, scancel and sinfo over a folder of JSON files: as much as our scripts use.

Installed by `fakes.install` under those names. A test changes a job by changing its file, and makes commands fail by
files named after them: ``<command>.fail`` holds what is said on stderr, ``sbatch.lost`` lets sbatch fail *after* it has
made the job. With a file ``run`` jobs are really started. Every call is appended to ``calls``.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])
JOBS = HOME / "jobs"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    command, args = Path(sys.argv[0]).name, sys.argv[1:]
    with (HOME / "calls").open("a") as calls:
        calls.write(json.dumps([command, *args]) + "\n")
    fail = HOME / f"{command}.fail"
    if fail.exists():
        sys.stderr.write(fail.read_text() + "\n")
        return 1
    return {"sbatch": sbatch, "squeue": squeue, "scontrol": scontrol, "sacct": sacct, "scancel": scancel}.get(
        command, sinfo
    )(args)


def sbatch(args: list[str]) -> int:
    options = dict(arg[2:].partition("=")[::2] for arg in args if arg.startswith("--"))
    script = Path(args[-1])
    number = HOME / "next"
    job_id = int(number.read_text()) if number.exists() else 101
    number.write_text(str(job_id + 1))
    job = {
        "id": str(job_id), "name": options["job-name"], "state": "PENDING", "reason": "Priority", "exit": "0:0",
        "start": "2026-12-01T08:00:00", "node": "", "restarts": 0, "in_squeue": True, "in_sacct": True,
        "folder": options["chdir"], "directives": re.findall(r"(?m)^#SBATCH (.*)$", script.read_text()),
    }  # fmt: skip
    if (HOME / "run").exists():
        job |= {"state": "RUNNING", "reason": "None", "node": "fake1"}
        environment = os.environ | {
            "SLURM_JOB_ID": str(job_id), "SLURM_CPUS_PER_TASK": "1", "SLURM_MEM_PER_NODE": "2048", "USER_SECRET": "",
        }  # fmt: skip
        with Path(options["output"]).open("ab") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"bash {script}; echo $? > {JOBS}/{job_id}.exit"], cwd=options["chdir"], stdout=out,
                stderr=out, stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
            )  # fmt: skip
        job["pid"] = process.pid
    (JOBS / f"{job_id}.json").write_text(json.dumps(job))
    lost = HOME / "sbatch.lost"
    if lost.exists():
        sys.stderr.write(lost.read_text() + "\n")
        lost.unlink()
        return 1
    say(f"{job_id};fake")
    return 0


def jobs() -> list[dict]:
    found = []
    for path in sorted(JOBS.glob("*.json")):
        job = json.loads(path.read_text())
        ended = JOBS / f"{job['id']}.exit"
        if job["state"] == "RUNNING" and ended.exists():
            code = int(ended.read_text())
            job |= {"state": "FAILED" if code else "COMPLETED", "exit": f"{code}:0"}
        found.append(job)
    return found


def value(args: list[str], *names: str) -> str | None:
    for i, arg in enumerate(args):
        for name in names:
            if arg == name:
                return args[i + 1]
            if name.startswith("--") and arg.startswith(f"{name}="):
                return arg.partition("=")[2]
    return None


def squeue(args: list[str]) -> int:
    ids, name, form = value(args, "-j"), value(args, "--name"), value(args, "-o")
    listed = [job for job in jobs() if job["in_squeue"]]
    if ids and "," not in ids and ids not in {job["id"] for job in listed}:
        sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
        return 1
    if "-t" not in args:
        listed = [job for job in listed if job["state"] in {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING"}]
    for job in listed:
        if (ids and job["id"] not in ids.split(",")) or (name and job["name"] != name):
            continue
        fields = {
            "%i": job["id"], "%T": job["state"], "%r": job["reason"] or "None", "%S": job["start"] or "N/A",
            "%j": job["name"], "%Z": job["folder"], "%N": job["node"], "%M": job.get("elapsed", "0:01"), "%l": "10:00",
        }  # fmt: skip
        say("".join(fields.get(part, part) for part in re.split(r"(%[a-zA-Z])", form)))
    return 0


def scontrol(args: list[str]) -> int:
    for job in jobs():
        if job["id"] == args[-1] and job["in_squeue"]:
            say(
                f"JobId={job['id']} JobName={job['name']} UserId=me(1000) JobState={job['state']} "
                f"Reason={job['reason'] or 'None'} Requeue=1 Restarts={job['restarts']} ExitCode={job['exit']} "
                f"NodeList={job['node'] or '(null)'}"
            )
            return 0
    sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
    return 1


def sacct(args: list[str]) -> int:
    if (HOME / "no_accounting").exists():
        sys.stderr.write("Slurm accounting storage is disabled\n")
        return 1
    ids, name, form = value(args, "-j"), value(args, "--name"), value(args, "--format")
    for job in jobs():
        if not job["in_sacct"] or (ids and job["id"] not in ids.split(",")) or (name and job["name"] != name):
            continue
        fields = {
            "JobIDRaw": job["id"], "State": job.get("sacct_state", job["state"]), "ExitCode": job["exit"],
            "JobName": job["name"], "WorkDir": job["folder"], "ElapsedRaw": "100", "AllocCPUS": "2",
            "AllocNodes": "1", "TotalCPU": "01:40.000",
            "MaxRSS": "", "ReqMem": "2048M", "TimelimitRaw": "10",
        }  # fmt: skip
        say("|".join(fields[each] for each in form.split(",")))
        if "-X" not in args:
            step = fields | {"JobIDRaw": f"{job['id']}.batch", "MaxRSS": job.get("rss", "716800K")}
            say("|".join(step[each] for each in form.split(",")))
    return 0


def scancel(args: list[str]) -> int:
    name, job_id = value(args, "--name"), args[-1]
    path = JOBS / f"{job_id}.json"
    if not path.exists():
        return 1
    job = json.loads(path.read_text())
    if name and job["name"] != name:
        return 0
    if "pid" in job:
        os.killpg(job["pid"], 15)
        time.sleep(0.2)
    path.write_text(json.dumps(job | {"state": "CANCELLED", "reason": "None"}))
    return 0


def sinfo(args: list[str]) -> int:
    say("compute|up|1:00:00|2|2|6144|(null)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
