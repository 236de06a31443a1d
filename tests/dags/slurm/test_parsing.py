"""What Slurm 22.05 printed in the lab (``recorded/``: squeue, scontrol, sacct, sacct with all steps), understood."""

from pathlib import Path

import pytest

from dags.operators.slurm.errors import QueueUnavailableError, TransportError
from dags.operators.slurm.parsing import (
    answer,
    duration_s,
    memory_mib,
    own_state,
    sacct_rows,
    scontrol_rows,
    seen,
    sinfo_rows,
    squeue_rows,
    unpacked,
)
from dags.operators.slurm.spec import SbatchSpec
from dags.operators.slurm.states import Verdict, classify
from dags.operators.slurm.usage import usage

RECORDED = Path(__file__).with_name("recorded")
SPEC = SbatchSpec(memory_mib=512, time_limit_min=10)


def recorded(name):
    """The sections of one recording: rows by command."""
    sections, rows = {}, []
    for line in (RECORDED / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            rows = sections.setdefault(line[2:], [])
        else:
            rows.append(line)
    return sections


def view_of(name, *, forgotten=False):
    """The job as the poll would show it; ``forgotten``: only the accounts know it any more."""
    rows = recorded(name)
    lines = [f"ACCOUNT {row}" for row in rows["sacct"]]
    if not forgotten:
        lines += [f"QUEUE {row}" for row in rows["squeue"]] + [f"DETAIL {row}" for row in rows["scontrol"]]
    found = answer("\n".join([*lines, "END"]).encode(), "Asking")
    job_id = squeue_rows(rows["squeue"])[0].job_id
    return seen(job_id, "rec", found, None)


@pytest.mark.parametrize(
    ("name", "verdict", "state", "exit_code"),
    [
        ("completed", "success", "COMPLETED", "0:0"),
        ("failed_7", "fatal", "FAILED", "7:0"),
        ("killed_9", "fatal", "FAILED", "0:9"),
        ("over_memory", "fatal", "FAILED", "0:9"),
        ("timeout", "fatal", "TIMEOUT", "143:0"),
        ("cancelled_running", "fatal", "CANCELLED", "0:15"),
        ("cancelled_pending", "fatal", "CANCELLED", "0:0"),
        ("node_fail", "retry", "NODE_FAIL", "0:0"),
        ("preempted_no_requeue", "retry", "PREEMPTED", "0:15"),
    ],
)
def test_an_end_is_what_it_was(name, verdict, state, exit_code):
    view = view_of(name)
    assert (classify(view.state, view.reason, view.exit_code), view.state, view.exit_code) == (
        verdict,
        state,
        exit_code,
    )
    # The accounts have another exit code for cancelled jobs, and the same meaning.
    later = view_of(name, forgotten=True)
    assert classify(later.state, later.reason, later.exit_code) == verdict
    assert later.source == "sacct"


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("running", "RUNNING", ""),
        ("suspended", "SUSPENDED", ""),
        ("requeued_by_hand", "RUNNING", ""),
        ("pending_held", "PENDING", "JobHeldUser"),
        ("pending_begin_time", "PENDING", "BeginTime"),
        ("pending_resources", "PENDING", "Priority"),
        ("node_fail_requeued", "PENDING", "BeginTime"),
        ("preempted_requeued", "PENDING", None),
    ],
)
def test_a_job_that_goes_on_goes_on(name, state, reason):
    view = view_of(name)
    assert view.state == state
    assert reason is None or view.reason == reason
    assert classify(view.state, view.reason, view.exit_code) is Verdict.ACTIVE


@pytest.mark.parametrize("name", ["pending_partition_time_limit", "pending_dependency_never"])
def test_a_job_without_hope_is_known(name):
    view = view_of(name)
    assert classify(view.state, view.reason) is Verdict.STUCK


def test_the_estimate_of_the_start_is_read():
    assert view_of("pending_resources").starts_at.startswith("2026-11-30T")
    assert view_of("pending_held").starts_at == ""


def test_a_job_that_the_accounts_do_not_know_yet_is_not_lost():
    # Right after a start sacct says PENDING, and "allocation" for a name.
    rows = recorded("running")
    assert sacct_rows(rows["sacct"])[0].name == "allocation"
    assert view_of("running").source in {"squeue", "scontrol"}


def test_restarts_and_nodes_are_read_from_scontrol():
    (view,) = scontrol_rows(recorded("node_fail_requeued")["scontrol"])
    assert view.restarts == 1
    assert scontrol_rows(recorded("node_fail")["scontrol"])[0].nodes == "hpc2"


def test_usage_is_what_the_accounts_say():
    used = usage(recorded("completed")["usage"], None, SPEC)
    assert (used.cpu_s, used.cpus, used.nodes, used.source) == (0.5, 1, 1, "sacct")
    # The largest of any step; 933042K of a job that asked for 300M.
    assert usage(recorded("over_memory")["usage"], None, SPEC).peak_memory_mib == 911.2


def test_efficiency_is_cpu_time_over_the_time_of_all_cpus():
    rows = [
        "5|COMPLETED|100|4|2|03:20.000||4G|10",
        "5.batch|COMPLETED|100|2|1|01:00.000|1048576K||",
        "5.0|X|1|1|1|0:0|2G||",
    ]
    used = usage(rows, None, SPEC)
    assert (used.cpu_efficiency, used.node_hours, used.peak_memory_mib) == (0.5, round(2 * 100 / 3600, 4), 2048.0)


def test_a_site_without_accounts_has_the_job_s_own_figures():
    used = usage([], '{"elapsed_s": 50, "cpu_s": 25, "peak_memory_mib": null}', SPEC)
    assert (used.elapsed_s, used.cpu_efficiency, used.peak_memory_mib, used.source) == (50, 0.5, None, "script")
    assert usage([], "damaged", SPEC).as_dict() == {"cpus": 1, "nodes": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:05", 5), ("1:02:03", 3723), ("10-00:00:00", 864_000), ("00:01.002", 1.002), ("UNLIMITED", None), ("", None)],
)
def test_durations(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "mib"),
    [("1024K", 1), ("2G", 2048), ("300M", 300), ("4Gn", 4096), ("1048576", 1), ("16?", None), ("", None)],
)
def test_memory(text, mib):
    assert memory_mib(text) == mib


def test_partitions_are_read_with_their_limits():
    limited, endless = sinfo_rows(["compute|up|1:00:00|2|2|6144|(null)", "gpu|down|infinite|18|64+|250000+|gpu:4"])
    assert (limited.name, limited.is_up, limited.max_time_min, limited.cpus) == ("compute", True, 60, 2)
    assert (endless.is_up, endless.max_time_min, endless.cpus, endless.memory_mib) == (False, None, 64, 250_000)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phase": 1, "at": "x"}', '{"no": "phase"}', "null"])
def test_a_damaged_state_file_is_no_state(text):
    assert own_state(text) is None


def test_rows_that_are_no_rows_are_left_out():
    assert squeue_rows(["", "slurm_load_jobs error", "|||||"]) == []
    assert scontrol_rows(["", "No jobs in the system"]) == []
    assert sacct_rows(["", "Slurm accounting storage is disabled"]) == []
    assert sinfo_rows([""]) == []


def test_half_an_answer_is_none_and_a_queue_that_does_not_answer_is_named():
    with pytest.raises(TransportError, match="cut short"):
        answer(b"QUEUE 1|RUNNING|None", "Asking")
    with pytest.raises(QueueUnavailableError, match="Socket timed out"):
        answer(b"PROBLEM queue c3F1ZXVlOiBTb2NrZXQgdGltZWQgb3V0\nEND\n", "Asking")
    with pytest.raises(TransportError, match="damaged base64"):
        unpacked("!!")


def test_an_answer_about_many_jobs_is_taken_apart_by_job():
    found = answer(
        b"QUEUE 101|RUNNING|None|N/A|a.g0|node1||\nQUEUE 1011|PENDING|Priority|N/A|b.g0|||\n"
        b"DETAIL JobId=101 JobName=a.g0\nLOG 101 0 5\nTEXT 1011 0 aA==\nKILLED 1011\nEND\n",
        "Asking",
    )
    mine, other = found.about("101"), found.about("1011")
    assert mine.lines == {
        "QUEUE": ["101|RUNNING|None|N/A|a.g0|node1||"], "DETAIL": ["JobId=101 JobName=a.g0"], "LOG": ["101 0 5"],
    }  # fmt: skip
    assert (other.one("TEXT"), other.one("KILLED"), other.one("LOG")) == ("1011 0 aA==", "1011", None)
    assert found.about("10").lines == {}
