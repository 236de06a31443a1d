"""The large originals: where they are, and the checksum of a true copy. No test needs them."""

from pathlib import Path
from typing import Literal, NamedTuple

from contracts.errors import ConfigurationError

#: How a checksum is made: ``git-blob-sha1`` is git's name of the content, SHA-1 of ``blob <bytes>\0`` and the content.
Method = Literal["sha256", "git-blob-sha1"]


class Original(NamedTuple):
    """A file as its publisher offers it. ``size`` in bytes where it is known before the download."""

    address: str
    method: Method
    checksum: str
    size: int | None
    about: str

    @property
    def file_name(self) -> str:
        return self.address.rsplit("/", 1)[1]

    def path(self, folder: Path) -> Path:
        return folder / self.file_name


ORIGINALS: dict[str, Original] = {
    "nasa-july": Original(
        "https://ita.ee.lbl.gov/traces/NASA_access_log_Jul95.gz",
        "git-blob-sha1", "d460fd2b2993b5af22d7e2d3f2990241b77e9f8a", None,
        "web requests of July 1995, 1,891,715 lines; may be freely redistributed",
    ),
    "nasa-august": Original(
        "https://ita.ee.lbl.gov/traces/NASA_access_log_Aug95.gz",
        "git-blob-sha1", "5bf5f16beda253c80c27e59af7dd897dc9e0a889", None,
        "web requests of August 1995, 1,569,898 lines; may be freely redistributed",
    ),
    "movielens-20m": Original(
        "https://files.grouplens.org/datasets/movielens/ml-20m.zip",
        "sha256", "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3", 198_702_078,
        "20,000,263 ratings; no redistribution",
    ),
    "higgs": Original(
        "https://archive.ics.uci.edu/ml/machine-learning-databases/00280/HIGGS.csv.gz",
        "sha256", "ea302c18164d4e3d916a1e2e83a9a8d07069fa6ebc7771e4c0540d54e593b698", 2_816_407_858,
        "11,000,000 simulated collisions, the last 500,000 are the test part; CC BY 4.0",
    ),
    "flowers": Original(
        "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
        "sha256", "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c", 228_813_984,
        "3,670 photographs of five kinds of flowers; each under its own licence",
    ),
}  # fmt: skip


def original(name: str) -> Original:
    """The original called ``name``; another name is a ConfigurationError that lists those that exist."""
    if name not in ORIGINALS:
        raise ConfigurationError(
            "Looking up an original", found=repr(name), required="one of " + ", ".join(ORIGINALS),
            next_step="Correct the name; `millrace fetch-data --list` says what each of them is.",
        )  # fmt: skip
    return ORIGINALS[name]
