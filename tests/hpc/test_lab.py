"""The Slurm lab alive: jobs end as they would on a real cluster, SSH trusts one host key, stopping leaves nothing."""

import json
import os
import pwd
import re
import subprocess
import time

import pytest

from contracts.errors import ConfigurationError, DependencyUnavailableError
from infra.local import processes
from infra.slurm.lab import Lab
from tests.hpc.jobs import look, output, submit, wait, wait_for_output

ME = pwd.getpwuid(os.getuid()).pw_name


def _ssh(lab: Lab, *words: str, host: str = "hpc") -> subprocess.CompletedProcess[str]:
    command = ["ssh", "-F", str(lab.ssh_config), *words[:-1], host, words[-1]]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


def test_both_nodes_are_idle_and_every_daemon_is_healthy(lab):
    lab.wait_for_nodes()
    assert set(lab.node_states()) == {"hpc1", "hpc2"}
    assert {part.name: part.health for part in lab.status()} == dict.fromkeys(
        ["munged", "slurmctld", "hpc1", "hpc2", "sshd"], "healthy"
    )


def test_nothing_listens_beyond_loopback(lab):
    ports = {port for part in lab.status() for port in part.ports.values()}
    with open("/proc/net/tcp", encoding="ascii") as table:
        sockets = [line.split() for line in table.readlines()[1:]]
    listening = {int(f[1].split(":")[1], 16): f[1].split(":")[0] for f in sockets if f[3] == "0A"}
    assert {port: listening[port] for port in ports} == dict.fromkeys(ports, "0100007F")


def test_a_job_runs_as_the_caller_and_ends_completed(lab):
    job = submit(lab, 'echo "$(id -un) on $SLURMD_NODENAME"')
    wait(lab, job, "COMPLETED")
    assert re.fullmatch(rf"{ME} on hpc[12]\n", output(lab, job))
    assert f"JobId={job} " in (lab.places.logs / "jobcomp.txt").read_text(encoding="utf-8")


def test_a_job_of_two_nodes_reaches_both(lab):
    job = submit(lab, "srun sh -c 'echo $SLURMD_NODENAME'", "--nodes=2", "--ntasks-per-node=1")
    wait(lab, job, "COMPLETED", "FAILED")
    assert sorted(output(lab, job).split()) == ["hpc1", "hpc2"]


def test_a_job_over_its_memory_is_killed(lab):
    hungry = "python3 -c \"x = b'x' * 400_000_000; import time; time.sleep(60)\""
    job = submit(lab, hungry, "--mem=100M")
    wait(lab, job, "FAILED", "OUT_OF_MEMORY")
    assert "exceeded memory limit" in output(lab, job)


def test_a_job_of_three_gib_fits_a_node_and_one_of_seven_none(lab):
    wait(lab, submit(lab, "true", "--mem=3G", "--cpus-per-task=2"), "COMPLETED")
    refused = lab.run("sbatch", "--mem=7G", "--wrap=true")
    assert refused.returncode != 0
    assert "Requested node configuration is not available" in refused.stderr


def test_a_job_longer_than_its_slurm_partition_allows_waits_and_says_why(lab):
    job = submit(lab, "true", "--partition=preempt", "--time=00:30:00")
    deadline = time.monotonic() + 30
    while look(lab, job, "%T %r") != "PENDING PartitionTimeLimit":
        assert time.monotonic() < deadline, look(lab, job, "%T %r")
        time.sleep(0.1)
    lab.run("scancel", job)
    wait(lab, job, "CANCELLED")


def test_a_preempted_job_gives_way_and_runs_again(lab):
    whole = ("--nodes=2", "--ntasks-per-node=2")
    weak = submit(
        lab, 'echo "run ${SLURM_RESTART_COUNT:-0}"; sleep 2', "--partition=preempt", "--open-mode=append", *whole
    )
    wait_for_output(lab, weak, "run 0")
    strong = submit(lab, "true", *whole)
    wait(lab, strong, "COMPLETED")
    wait(lab, weak, "COMPLETED", timeout_s=90)
    assert "run 1" in output(lab, weak)


def test_the_controller_may_die_while_a_job_runs(lab):
    job = submit(lab, "echo begun; sleep 9; echo ended")
    wait_for_output(lab, job, "begun")
    # It writes down what it knows every five seconds; what is younger is lost with it, on any cluster.
    time.sleep(6)
    lab.kill("slurmctld")
    assert next(part.health for part in lab.status() if part.name == "slurmctld") == "down"
    lab.start()
    wait(lab, job, "COMPLETED")
    assert output(lab, job) == "begun\nended\n"


def test_starting_again_replaces_only_what_is_gone(lab):
    before = {part.name: part.process for part in lab.status()}
    lab.kill("hpc2")
    lab.start()
    after = {part.name: part.process for part in lab.status()}
    assert {name for name in before if before[name] != after[name]} == {"hpc2"}
    wait(lab, submit(lab, "true", "--nodelist=hpc2"), "COMPLETED")


@pytest.mark.long
def test_a_job_on_a_node_that_dies_is_put_back_and_runs_when_the_node_is_back(lab):
    job = submit(lab, 'echo "run ${SLURM_RESTART_COUNT:-0}: $$"; sleep 30', "--nodelist=hpc1", "--open-mode=append")
    wait_for_output(lab, job, "run 0")
    shell = int(output(lab, job).split(": ")[1])
    lab.kill("hpc1")
    assert processes.find(shell) is None
    wait(lab, job, "PENDING", timeout_s=60)
    assert lab.node_states()["hpc1"].startswith("down")
    lab.restart("hpc1")
    lab.wait_for_nodes()
    wait_for_output(lab, job, "run 1", timeout_s=60)
    lab.run("scancel", job)


def test_ssh_with_the_pinned_host_key_reaches_slurm(lab):
    done = _ssh(lab, "squeue --version; echo $SLURM_CONF")
    assert done.returncode == 0, done.stderr
    version, conf = done.stdout.split("\n")[:2]
    assert version.startswith("slurm")
    assert conf == str(lab.places.slurm_conf)


def test_a_command_over_ssh_does_not_wait_for_what_the_startup_files_of_the_account_do(lab):
    # Debian's bash reads ~/.bashrc for a command over SSH only in a shell of the first level.
    assert int(_ssh(lab, "echo $SHLVL").stdout) >= 2


def test_ssh_with_another_host_key_is_refused(lab, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    other = " ".join((tmp_path / "other.pub").read_text(encoding="utf-8").split()[:2])
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{lab.ports.slurm_ssh} {other}\n", encoding="utf-8")
    done = _ssh(lab, "-o", f"UserKnownHostsFile={tmp_path / 'known_hosts'}", "true")
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_ssh_with_another_key_is_refused(lab, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "mine")], check=True)
    text = lab.ssh_config.read_text(encoding="utf-8")
    changed = tmp_path / "ssh_config"
    changed.write_text(re.sub("IdentityFile .*", f"IdentityFile {tmp_path / 'mine'}", text), encoding="utf-8")
    done = subprocess.run(["ssh", "-F", changed, "hpc", "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_calls_share_a_connection_that_somebody_opened(lab, tmp_path):
    # Without a key of its own only the open connection can carry a call.
    keyless = tmp_path / "ssh_config"
    keyless.write_text(re.sub("IdentityFile .*", "", lab.ssh_config.read_text(encoding="utf-8")), encoding="utf-8")

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["ssh", "-F", keyless, "hpc", "echo shared"], capture_output=True, text=True, check=False)

    assert call().returncode == 255
    # In the background it would keep our pipes open, so it gets none.
    subprocess.run(["ssh", "-F", lab.ssh_config, "-fNM", "hpc"], check=True, stdin=subprocess.DEVNULL, timeout=60)
    try:
        assert call().stdout == "shared\n"
    finally:
        subprocess.run(["ssh", "-F", lab.ssh_config, "-O", "exit", "hpc"], check=True, capture_output=True)
    assert call().returncode == 255


def test_the_airflow_connection_pins_the_host_key_and_holds_no_secret(lab):
    connection = json.loads(lab.airflow_connection)
    scanned = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", "-p", str(connection["port"]), connection["host"]],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert connection["extra"]["host_key"] == scanned.stdout.split(" ", 1)[1].strip()
    assert (connection["conn_type"], connection["login"]) == ("ssh", ME)
    key = lab.places.keys / "id_platform"
    assert connection["extra"]["key_file"] == str(key)
    assert key.read_text(encoding="utf-8") not in lab.airflow_connection
    assert key.stat().st_mode & 0o077 == 0


def test_a_lab_with_an_accounting_database_answers_sacct(accounted_lab):
    good = submit(accounted_lab, "true", "--comment=of a test")
    bad = submit(accounted_lab, "exit 7")
    wait(accounted_lab, good, "COMPLETED")
    wait(accounted_lab, bad, "FAILED")
    answer = _sacct(accounted_lab, f"{good},{bad}", 2)
    assert answer == [f"{good}|COMPLETED|0:0|of a test", f"{bad}|FAILED|7:0|"]


def test_a_lab_without_one_says_that_accounting_is_off(lab):
    assert "accounting storage is disabled" in lab.run("sacct").stderr


def test_a_running_lab_is_not_given_another_kind_of_accounting(lab):
    with pytest.raises(ConfigurationError, match="it runs with accounting filetxt"):
        Lab(lab.folder, lab.ports, "dbd").start()


def test_stopping_ends_jobs_and_leaves_no_process_and_no_port(tmp_path, new_ports):
    lab = Lab(tmp_path / "lab", new_ports(), "dbd")
    with lab:
        job = submit(lab, "sleep 4321 & echo $! begun; wait")
        wait_for_output(lab, job, "begun")
        sleeping = int(output(lab, job).split()[0])
        # Begun over SSH and left behind there, below no daemon.
        left = int(_ssh(lab, "nohup setsid sleep 4322 >/dev/null 2>&1 & echo $!").stdout)
        assert {sleeping, left} <= {process.pid for process in lab.processes()}
        ports = [port for part in lab.status() for port in part.ports.values()]
    assert lab.processes() == []
    assert [pid for pid in (sleeping, left) if processes.find(pid)] == []
    assert [port for port in ports if processes.is_port_taken(port)] == []
    with lab:
        assert _sacct(lab, job, 1)[0].startswith(f"{job}|CANCELLED")
        assert int(submit(lab, "true")) > int(job)


def test_two_labs_live_side_by_side_also_in_a_folder_with_an_odd_name(lab, tmp_path, new_ports):
    # Longer than a socket's address may be, with characters that Slurm's files cannot quote.
    odd = tmp_path / ("long enough, #1 of 'two' " + "x" * 80)
    with Lab(odd, new_ports()) as other:
        here, there = submit(lab, "sleep 30", "--job-name=here"), submit(other, "echo done; sleep 30")
        wait_for_output(other, there, "done")
        assert (odd / "scratch" / f"{there}.out").exists()
        assert "here" not in other.run("squeue", "--format=%j").stdout
        assert _ssh(other, "squeue --noheader --format='%A %j'").stdout == f"{there} sbatch\n"
        home = other.places.home
    assert not home.is_symlink()
    assert other.processes() == []
    assert look(lab, here) in {"PENDING", "RUNNING"}
    lab.run("scancel", here)


def test_a_port_that_somebody_holds_is_named_and_nothing_is_started(lab, tmp_path):
    other = Lab(tmp_path / "lab", lab.ports)
    with pytest.raises(
        DependencyUnavailableError, match=rf"port {lab.ports.slurm_controller} \(slurmctld\) is held by"
    ):
        other.start()
    assert not other.folder.exists()


def _sacct(lab: Lab, jobs: str, rows: int) -> list[str]:
    """One row for each job; what happened a moment ago may still be on its way to the database."""
    deadline = time.monotonic() + 30
    while True:
        done = lab.run("sacct", "-X", "-n", "-P", f"--jobs={jobs}", "--format=JobID,State,ExitCode,Comment")
        found = done.stdout.splitlines()
        if len(found) == rows and not any("RUNNING" in line or "PENDING" in line for line in found):
            return found
        assert time.monotonic() < deadline, done
        time.sleep(0.2)
