"""What old jobs leave on the cluster goes; what a job may still need stays."""

import asyncio
import os
import time

import pytest

from dags.operators.slurm import work
from dags.operators.slurm.errors import QueueUnavailableError
from dags.operators.slurm.keys import WorkKey
from dags.operators.slurm.sweeping import Swept, sweep
from tests.dags.slurm.fakes import KEY

OTHER = WorkKey("retrain_uk_traffic", "fit_on_hpc", "manual__2026-11-29T00:00:00+00:00")


def submit(fake, key=KEY):
    return asyncio.run(work.submit(fake.cluster(), fake.settings, fake.request("ok", key=key), say=print))


def finish(fake, job):
    fake.change(job.job_id, state="COMPLETED")
    asyncio.run(fake.cluster().mark(job, "consumed", "1"))


def age(path, days):
    """As if nobody had touched the folder, or anything in it, since."""
    then = time.time() - days * 86_400
    for each in [path, *path.rglob("*")]:
        os.utime(each, (then, then), follow_symlinks=False)


def swept(fake, days=30):
    return asyncio.run(sweep(fake.cluster(), fake.settings, days=days))


def test_a_job_that_is_over_goes_after_its_days_with_what_was_staged_for_it(fake):
    job = submit(fake)
    finish(fake, job)
    age(fake.base, 31)
    found = swept(fake)
    assert (found.jobs, found.kept, found.alive) == (1, 0, 0)
    assert found.objects > 0
    assert found.mib >= 0
    assert not fake.folder().parent.exists()
    assert not list((fake.base / "objects").iterdir())
    # Nothing is left to do.
    assert swept(fake) == Swept(jobs=0, objects=0, mib=0.0, kept=0, alive=0)


def test_after_that_the_same_task_begins_with_a_first_job_and_sends_its_files_again(fake):
    finish(fake, submit(fake))
    age(fake.base, 31)
    swept(fake)
    assert submit(fake).generation == 0
    assert len(fake.calls("sbatch")) == 2


def test_a_young_job_stays_and_so_does_what_was_staged_lately(fake):
    finish(fake, submit(fake))
    age(fake.base, 29)
    assert swept(fake) == Swept(jobs=0, objects=0, mib=0.0, kept=1, alive=0)


def test_one_late_file_in_an_old_folder_keeps_it(fake):
    finish(fake, submit(fake))
    age(fake.base, 31)
    (fake.folder() / "output.log").touch()
    assert swept(fake).jobs == 0


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_job_in_the_queue_keeps_its_folder_and_every_object_however_old(fake, state):
    old, waiting = submit(fake, OTHER), submit(fake)
    finish(fake, old)
    fake.change(waiting.job_id, state=state)
    age(fake.base, 400)
    found = swept(fake)
    assert (found.jobs, found.objects, found.kept, found.alive) == (1, 0, 1, 1)
    assert fake.folder().exists()
    assert not fake.folder(OTHER).parent.exists()


def test_a_job_that_nobody_took_up_and_that_the_queue_forgot_is_over(fake):
    job = submit(fake)
    fake.change(job.job_id, state="COMPLETED")
    age(fake.base, 31)
    assert swept(fake).jobs == 1


def test_a_queue_that_does_not_answer_removes_nothing(fake):
    submit(fake)
    age(fake.base, 400)
    (fake.home / "squeue.fail").write_text("slurm_load_jobs error: Socket timed out")
    with pytest.raises(QueueUnavailableError):
        swept(fake)
    assert (fake.folder() / "job.id").exists()
    assert list((fake.base / "objects").iterdir())


def test_a_submission_under_way_keeps_its_folder(fake):
    finish(fake, submit(fake))
    age(fake.base, 31)
    (fake.folder().parent / ".lock.d").mkdir()
    assert swept(fake).jobs == 0


def test_a_cluster_that_was_never_used_has_nothing_to_sweep(fake):
    assert swept(fake) == Swept(jobs=0, objects=0, mib=0.0, kept=0, alive=0)
