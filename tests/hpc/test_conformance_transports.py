"""The two ways over SSH against a real sshd: host keys, one-time passwords' shared connection, time limits, files."""

import asyncio
import hashlib
import json
import subprocess
import time

import pytest

from contracts.errors import ConfigurationError
from dags.operators.slurm.connections import open_cluster
from dags.operators.slurm.errors import (
    CommandTimeoutError,
    HostKeyError,
    MasterGoneError,
    TransferError,
    TransportError,
)
from dags.operators.slurm.settings import cluster_settings
from infra.local import processes


def transport(lab, **extra):
    found = json.loads(lab.airflow_connection)
    fields = found["extra"] | extra
    return open_cluster(
        cluster_settings("hpc", found["host"], found["port"], found["login"], None, fields), "slurm"
    ).transport


def openssh(lab, **extra):
    fields = {"transport": "openssh", "ssh_config": str(lab.ssh_config)} | extra
    return open_cluster(cluster_settings("hpc", "hpc", None, None, None, fields), "slurm").transport


@pytest.fixture(params=["asyncssh", "openssh"])
def way(request, lab):
    lab.start()
    return transport(lab) if request.param == "asyncssh" else openssh(lab)


@pytest.fixture
def master(lab, tmp_path):
    """The connection that a person opened, at this path."""
    lab.start()
    path = tmp_path / "m"
    command = ["ssh", "-F", str(lab.ssh_config), "-o", f"ControlPath={path}"]
    subprocess.run([*command, "-fNM", "hpc"], check=True, timeout=20, stdin=subprocess.DEVNULL)
    yield path
    subprocess.run([*command, "-O", "exit", "hpc"], check=False, capture_output=True, timeout=20)


def run(way, *arguments, **options):
    async def once():
        try:
            return await way.run(*arguments, **options)
        finally:
            await way.close()

    return asyncio.run(once())


def test_a_command_gets_its_input_and_gives_its_output_and_status(way):
    done = run(way, "bash -s", b"printf '\\377'; echo said >&2; exit 3")
    assert (done.code, done.stdout, done.stderr) == (3, b"\xff", b"said\n")


def test_a_command_that_does_not_end_is_given_up(way):
    began = time.monotonic()
    with pytest.raises(CommandTimeoutError, match="no end after 2 s"):
        run(way, "sleep 60", timeout_s=2)
    assert time.monotonic() - began < 15


def test_files_arrive_as_they_were(way, tmp_path):
    content = b"0123456789abcdef" * 200_000
    (tmp_path / "one").write_bytes(content)
    there = tmp_path / 'the "remote" name'

    async def both():
        await way.put(tmp_path / "one", str(there))
        await way.get(str(there), tmp_path / "two")
        with pytest.raises(TransferError):
            await way.get(str(tmp_path / "nothing"), tmp_path / "three")
        await way.close()

    asyncio.run(both())
    assert hashlib.sha256((tmp_path / "two").read_bytes()).digest() == hashlib.sha256(content).digest()


def test_a_host_with_another_key_gets_nothing(lab):
    lab.start()
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2yK4kRpkrVmNWkq0oH7vLBGAZ5Q9pSzKhk2M1dYkfe"
    with pytest.raises(HostKeyError, match="Ask the site whether its key changed"):
        run(transport(lab, host_key=other), "true")


def test_a_host_that_nobody_vouches_for_gets_nothing(lab, tmp_path):
    lab.start()
    (tmp_path / "known_hosts").touch()
    with pytest.raises(HostKeyError):
        run(transport(lab, host_key="", known_hosts=str(tmp_path / "known_hosts")), "true")
    with pytest.raises(ConfigurationError, match="host_key or known_hosts is required"):
        transport(lab, host_key="")
    with pytest.raises(TransportError, match=r"[Hh]ost key verification failed"):
        run(openssh(lab, known_hosts=str(tmp_path / "known_hosts")), "true")


def test_a_key_that_the_host_does_not_know_is_an_error_that_says_so(lab, tmp_path):
    lab.start()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    with pytest.raises(TransportError, match="Permission denied"):
        run(transport(lab, key_file=str(tmp_path / "id")), "true")


def test_many_commands_at_a_time_share_one_connection(lab):
    lab.start()
    way = transport(lab)

    async def many():
        await way.run("true")
        opened = way._connection
        done = await asyncio.gather(*(way.run(f"sleep 0.2; echo {number}") for number in range(40)))
        assert way._connection is opened
        await way.close()
        return [int(each.stdout) for each in done]

    assert asyncio.run(many()) == list(range(40))


def test_a_connection_that_died_is_opened_again(lab):
    lab.start()
    way = transport(lab)

    async def twice():
        await way.run("true")
        await asyncio.to_thread(lab.kill, "sshd")
        with pytest.raises(TransportError):
            await way.run("true")
        await asyncio.to_thread(lab.restart, "sshd")
        done = await way.run("echo back")
        await way.close()
        return done.stdout

    assert asyncio.run(twice()) == b"back\n"


@pytest.fixture
def gate(lab, tmp_path, new_ports):
    """A host that only passes connections on: its port, and a file with the keys of both."""
    lab.start()
    port, keys = new_ports().base, lab.places.keys
    (tmp_path / "keys").write_text((keys / "id_platform.pub").read_text())
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": keys / "host_key", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": tmp_path / "keys", "StrictModes": "no", "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    (tmp_path / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=subprocess.DEVNULL)
    public = " ".join((keys / "host_key.pub").read_text().split()[:2])
    lines = [f"[127.0.0.1]:{each} {public}\n" for each in (port, lab.places.ports.slurm_ssh)]
    (tmp_path / "known_hosts").write_text("".join(lines))
    deadline = time.monotonic() + 10
    while not processes.is_port_taken(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield port, tmp_path / "known_hosts"
    daemon.terminate()
    daemon.wait()


@pytest.mark.parametrize("kind", ["asyncssh", "openssh"])
def test_a_jump_host_is_passed_through(lab, gate, kind, tmp_path):
    port, known = gate
    if kind == "asyncssh":
        way = transport(lab, host_key="", known_hosts=str(known), proxy_jump=f"{lab.places.user}@127.0.0.1:{port}")
    else:
        # ssh gives a jump host no options of the command line: its user, key and known hosts are in the file.
        jump = f"Host gate\n HostName 127.0.0.1\n Port {port}\n IdentityFile {lab.places.keys}/id_platform\n"
        jump += f" User {lab.places.user}\n UserKnownHostsFile {known}\n"
        (tmp_path / "ssh_config").write_text(jump + lab.ssh_config.read_text())
        way = openssh(lab, ssh_config=str(tmp_path / "ssh_config"), proxy_jump="gate")
    before = time.time()
    done = run(way, "echo there")
    assert (done.code, done.stdout) == (0, b"there\n"), done.stderr
    assert time.time() - before < 30


def test_a_jump_host_that_nobody_vouches_for_gets_nothing(lab, gate, tmp_path):
    port, known = gate
    (tmp_path / "other").write_text(known.read_text().splitlines()[1] + "\n")
    jump = f"{lab.places.user}@127.0.0.1:{port}"
    with pytest.raises(HostKeyError):
        run(transport(lab, host_key="", known_hosts=str(tmp_path / "other"), proxy_jump=jump), "true")


def test_the_connection_that_a_person_opened_is_used_and_its_end_is_said(lab, master, tmp_path):
    way = openssh(lab, control_path=str(master))
    connections = lambda: (lab.places.logs / "sshd.log").read_text().count("Accepted publickey")  # noqa: E731
    before = connections()
    (tmp_path / "one").write_bytes(b"content")

    async def through():
        done = await way.run("echo through")
        await way.put(tmp_path / "one", str(tmp_path / "two"))
        return done.stdout

    assert asyncio.run(through()) == b"through\n"
    assert (tmp_path / "two").read_bytes() == b"content"
    # No log-in of its own: a site with one-time passwords would have asked for one.
    assert connections() == before
    subprocess.run(["ssh", "-F", str(lab.ssh_config), "-o", f"ControlPath={master}", "-O", "exit", "hpc"], check=True)
    with pytest.raises(MasterGoneError) as gone:
        run(way, "true")
    assert "A person must log in again: ssh" in str(gone.value)
    assert f"ControlPath={master}" in str(gone.value)
    assert "Jobs on the cluster go on" in str(gone.value)
    assert connections() == before
