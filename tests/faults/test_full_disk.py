"""The disk under the state folder is full: the stream says so and ends, and is exact once there is space again."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import morning, other_days

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.spark, pytest.mark.timeout(1800)]

SEEDS = [0, *[pytest.param(seed, marks=pytest.mark.many) for seed in range(1, 6)]]
#: The whole run takes this much, and a little more.
ENOUGH_KIB = 64 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, to be given a size."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ENOUGH_KIB}k", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"needs to mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave(disk: Path, kib: int) -> None:
    """Give the disk a size that leaves so much space."""
    found = os.statvfs(disk)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize // 1024
    subprocess.run(["mount", "-o", f"remount,size={used + kib}k", str(disk)], check=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_full_disk_is_told_and_the_stream_is_exact_after_space_returns(new_lab, small_disk, seed):
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    lab = new_lab(small_disk)
    lab.replay(other_days(200), "other.log")
    lab.replay(morning(0, 1600))
    lab.replay(morning(0, 400), "half.log", again=True)
    # First anywhere from the very beginning, then somewhat later: other files each time. The run needs over 1.5 MiB.
    for kib in (chance.randint(40, 900), chance.randint(60, 400)):
        leave(small_disk, kib)
        driver = lab.start("--drain")
        assert driver.wait() == 5, f"{kib} KiB: {driver.said[-4000:]}"
        last = driver.said.rstrip().splitlines()[-1]
        assert f"no space left under {small_disk}" in last
        assert "Free space" in last
    leave(small_disk, ENOUGH_KIB)
    lab.drain()
    assert lab.deviations() == []
