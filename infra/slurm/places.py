"""Where the files, sockets and ports of one lab are, and the environment that reaches it."""

import hashlib
import os
import pwd
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.settings import Ports
from infra.slurm.packages import SYSTEM_PATH, Accounting

NODES = ("hpc1", "hpc2")
LOOPBACK = "127.0.0.1"

#: A Unix socket's address holds 107 bytes; the longest below the home is ``spool/hpc1/hpc1_<job>.<step>``.
_LONGEST_HOME = 60
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


@dataclass(frozen=True)
class LabPlaces:
    """Paths and ports of the lab in ``folder``, derived from its fields alone.

    ``reached_by`` is the name that others call its sshd by: loopback, or a container's name on its network.
    """

    folder: Path
    ports: Ports
    accounting: Accounting = "filetxt"
    reached_by: str = LOOPBACK

    @property
    def home(self) -> Path:
        """The folder as Slurm gets to know it: the folder itself, or a short link where its path is long or odd.

        Slurm's files know no quoting for every character, and its sockets no long paths.
        """
        if len(os.fsencode(self.folder)) <= _LONGEST_HOME and _PLAIN.fullmatch(str(self.folder)):
            return self.folder
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"millrace-hpc-{os.getuid()}-{name}"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def etc(self) -> Path:
        return self.home / "etc"

    @property
    def keys(self) -> Path:
        return self.home / "ssh"

    @property
    def slurm_conf(self) -> Path:
        return self.etc / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.run / "munge.sock"

    @property
    def database_socket(self) -> Path:
        return self.run / "mariadb.sock"

    @property
    def scratch(self) -> Path:
        """For the files of jobs, where whoever submits them names no other folder."""
        return self.home / "scratch"

    @property
    def user(self) -> str:
        return pwd.getpwuid(os.getuid()).pw_name

    @property
    def node_ports(self) -> dict[str, int]:
        return dict(zip(NODES, self.ports.slurm_nodes, strict=True))

    def environment(self) -> dict[str, str]:
        """For a process that calls ``sbatch``, ``squeue`` and so on directly, without SSH."""
        path = os.environ.get("PATH")
        return {"SLURM_CONF": str(self.slurm_conf), "PATH": f"{path}:{SYSTEM_PATH}" if path else SYSTEM_PATH}

    def make(self) -> None:
        """Make the folders, for this user alone, and the short link where one is needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if self.home != self.folder:
            _link(self.home, self.folder)
        for path in (self.run, self.logs, self.etc, self.keys, self.scratch, self.home / "munge", self.home / "state"):
            path.mkdir(exist_ok=True)
        for node in NODES:
            (self.home / "spool" / node).mkdir(parents=True, exist_ok=True)


def _link(link: Path, folder: Path) -> None:
    """``link`` lies in a folder that everybody may write to: one that is not ours is refused."""
    try:
        link.symlink_to(folder)
    except FileExistsError as error:
        if not link.is_symlink() or link.lstat().st_uid != os.getuid() or link.readlink() != folder:
            raise ConfigurationError(
                "Making a short path for the Slurm lab",
                found=f"{link}, which is not this lab's link to {folder}",
                required="that name free",
                next_step="Remove it, or choose a state folder with a shorter path.",
            ) from error
