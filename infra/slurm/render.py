"""The configuration files of one lab, rendered from ``templates/`` into its folder, and its keys, made once."""

import os
import secrets
import socket
import subprocess
import tempfile
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.files import write_atomically
from infra.local.processes import MARKER
from infra.slurm.packages import program
from infra.slurm.places import LOOPBACK, NODES, LabPlaces

_TEMPLATES = Path(__file__).with_name("templates")
_SHADOW = Path("/etc/shadow")

#: ``sacct`` asks slurmdbd; AuthInfo does not cover that link, so it is told the socket once more.
_ACCOUNTING = {
    "filetxt": "AccountingStorageType=accounting_storage/none",
    "dbd": """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=@ACCOUNTING_PORT@
AccountingStoragePass=@HOME@/run/munge.sock
AccountingStoreFlags=job_comment""",
}


def configuration(places: LabPlaces) -> None:
    """Write every configuration file, of mode 600, whole or not at all."""
    for name in sorted(path.name for path in _TEMPLATES.iterdir()):
        target = places.etc / name
        write_atomically(target, text(places, name))
        target.chmod(0o600)


def text(places: LabPlaces, name: str) -> str:
    """One configuration file of ``templates/`` with this lab's values."""
    ports = places.ports
    host = socket.gethostname().split(".")[0]
    values = {
        "ACCOUNTING": _ACCOUNTING[places.accounting],
        "ACCOUNTING_PORT": str(ports.slurm_accounting),
        "CONTROLLER_PORT": str(ports.slurm_controller),
        "HOME": str(places.home),
        "HOST": host,
        "HOST_ADDRESS": own_address(host),
        "MARKER": MARKER,
        "NODE1": NODES[0],
        "NODE1_PORT": str(ports.slurm_nodes[0]),
        "NODE2": NODES[1],
        "NODE2_PORT": str(ports.slurm_nodes[1]),
        "PAM": "yes" if _is_locked(places.user) else "no",
        "REACHED_BY": places.reached_by,
        "SSH_ADDRESS": LOOPBACK if places.reached_by == LOOPBACK else "0.0.0.0",  # noqa: S104 - a container's network
        "SSH_PORT": str(ports.slurm_ssh),
        "TEMPORARY": tempfile.gettempdir(),
        "USER": places.user,
    }
    result = (_TEMPLATES / name).read_text(encoding="utf-8")
    for key, value in values.items():
        result = result.replace(f"@{key}@", value)
    return result


def keys(places: LabPlaces) -> None:
    """Munge's secret, the host key of sshd and the key of the platform; those that exist stay."""
    munge = places.home / "munge" / "munge.key"
    if not munge.exists():
        handle = os.open(munge, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(1024))
    for name, comment in (("host_key", "millrace-hpc"), ("id_platform", "millrace")):
        if not (places.keys / name).exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(places.keys / name)]
            subprocess.run([program(command[0]), *command[1:]], check=True, stdin=subprocess.DEVNULL)
    # No forwarding and no terminal: the platform runs commands and copies files.
    public = (places.keys / "id_platform.pub").read_text(encoding="utf-8")
    write_atomically(places.keys / "authorized_keys", f"restrict {public}")
    known = f"[{places.reached_by}]:{places.ports.slurm_ssh} {host_key(places)}\n"
    write_atomically(places.keys / "known_hosts", known)


def host_key(places: LabPlaces) -> str:
    """``ssh-ed25519 AAAA…`` of the lab's sshd, to be pinned."""
    return " ".join((places.keys / "host_key.pub").read_text(encoding="utf-8").split()[:2])


def own_address(host: str) -> str:
    """The address that Slurm's daemons listen on where they may not listen on all: what the machine's name stands for.

    Loopback on Debian (127.0.1.1), the address in its network for a container.
    """
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise ConfigurationError(
            "Finding the address of the Slurm lab", found=f"this machine's name, {host}, stands for none ({error})",
            required="an address: Slurm's daemons look it up", next_step=f"Add `127.0.1.1 {host}` to /etc/hosts.",
        ) from error  # fmt: skip


def _is_locked(user: str) -> bool:
    """The password of ``user`` is locked, as root's often is: without PAM sshd then refuses the key, too.

    Only root can look, and only root's sshd does.
    """
    try:
        entries = _SHADOW.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(entry.startswith(f"{user}:!") for entry in entries)
