"""The command line of a task, as the operator builds it, without a database."""

from types import SimpleNamespace
from typing import Any

from tests.dags.home import REPOSITORY, STATE, TOOLCHAIN

RUN_ID = "manual__2026-11-20T04:30:00+00:00"


def context(dag: Any, task: Any, run_id: str = RUN_ID, *, try_number: int = 1, max_tries: int = 2) -> dict[str, Any]:
    """As much of Airflow's context as our templates and the operator use."""
    ti = SimpleNamespace(
        dag_id=dag.dag_id, run_id=run_id, task_id=task.task_id, map_index=-1, try_number=try_number,
        max_tries=max_tries, pushed={},
    )  # fmt: skip
    ti.xcom_push = lambda key, value: ti.pushed.update({key: value})
    return {"dag": dag, "task": task, "ti": ti, "run_id": run_id}


def command(dag: Any, task: Any) -> str:
    """One word per line; what differs between machines is a placeholder in braces."""
    rendered = task.prepare_for_execution()
    rendered.render_template_fields(context(dag, rendered))
    words = rendered._get_hook()._build_spark_submit_command(rendered.application)
    text = "\n".join(words) + "\n"
    for path, name in ((STATE, "{state}"), (TOOLCHAIN, "{toolchain}"), (REPOSITORY, "{repository}")):
        text = text.replace(str(path), name)
    return text
