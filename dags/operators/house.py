"""What every DAG of the platform has in common, so that a DAG file says only what is its own."""

from datetime import UTC, datetime, timedelta
from typing import Any

from jinja2 import StrictUndefined

from dags.operators.alerts import FailureAlert
from dags.operators.runs import run_folder

#: The first day that a scheduled run or a backfill may be for.
START = datetime(2026, 1, 1, tzinfo=UTC)


def house(doc: str, *, workload: str, tier: int, run_limit: timedelta) -> dict[str, Any]:
    """Arguments of ``DAG(...)``. ``run_limit`` ends a run that hangs; every task has a limit of its own as well."""
    return {
        "doc_md": doc,
        "tags": [workload, f"tier_{tier}"],
        "start_date": START,
        "catchup": False,
        # A run replaces what its window owns: two at once would write the same rows.
        "max_active_runs": 1,
        "dagrun_timeout": run_limit,
        "render_template_as_native_obj": False,
        # A misspelt name in a template fails instead of becoming an empty string.
        "template_undefined": StrictUndefined,
        "user_defined_macros": {"run_folder": run_folder},
        "default_args": {
            "owner": "millrace",
            # Only Airflow retries; Spark is told to try once. dags/operators/spark.py says which failures are worth it.
            "retries": 2,
            "retry_delay": timedelta(seconds=30),
            "execution_timeout": timedelta(minutes=5),
            "on_failure_callback": FailureAlert(),
        },
    }
