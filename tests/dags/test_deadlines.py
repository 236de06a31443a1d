"""Late runs are announced, and a run that has a deadline can be cleared (the live part is in test_dags_live.py)."""

from datetime import timedelta

import pytest
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert

from contracts.pipelines import load_all
from dags.operators.deadlines import DagRunFirstQueuedDeadline, late_after

SPECS = load_all()


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_retraining_is_late_after_the_minutes_of_its_spec(dag_bag, name):
    (alert,) = dag_bag.dags[f"retrain_{name}"].deadline
    assert isinstance(alert.reference, DagRunFirstQueuedDeadline)
    assert alert.interval == timedelta(minutes=SPECS[name].schedule.deadline_min)


def test_airflow_reads_the_deadline_back_from_its_database():
    """By our plugin. A reference of Airflow's own type would be recalculated at a clear, which 3.3.2 fails at."""
    stored = encode_deadline_alert(late_after(timedelta(minutes=90)))
    read = decode_deadline_alert(stored)
    assert isinstance(read.reference.inner_ref, DagRunFirstQueuedDeadline)
    assert read.interval == timedelta(minutes=90)
    assert stored["reference"]["reference_type"] != "DagRunQueuedAtDeadline"
