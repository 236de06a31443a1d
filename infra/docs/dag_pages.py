"""``docs/dags.md`` from the DAGs themselves; in the environment ``airflow``: ``python -m infra.docs.dag_pages``."""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGE = REPOSITORY / "docs" / "dags.md"

_HEAD = """\
<!-- Made by `make docs` from dags/. Edit the DAGs, not this page. -->
# DAGs

Times are UTC. Spark tasks run on the cluster in a compute profile (`contracts/profiles.py`); exit codes 5 and 6, killed
and lost processes are retried, everything else fails at once (`docs/decisions/0005-windows-and-results.md`).
"""


def page() -> str:
    """The whole page. The caller has prepared Airflow's environment."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(REPOSITORY / "dags")
    if bag.import_errors:
        raise SystemExit("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
    return _HEAD + "".join(_section(bag.dags[dag_id]) for dag_id in sorted(bag.dags))


def _section(dag: Any) -> str:  # noqa: ANN401 - Airflow is not installed where this is type-checked
    # The DAG's own heading becomes a sentence under its id.
    text = re.sub(r"^#+ (.*)$", r"*\1*", dag.doc_md.strip(), count=1, flags=re.MULTILINE)
    facts = {
        "File": f"`dags/{Path(dag.fileloc).name}`",
        "Starts": _schedule(dag.timetable),
        "Emits": ", ".join(sorted(f"asset `{outlet.name}`" for task in dag.tasks for outlet in task.outlets)),
        "Tags": ", ".join(f"`{tag}`" for tag in sorted(dag.tags)),
        "Run limit": _duration(dag.dagrun_timeout),
        "Late after": ", ".join(_duration(alert.interval) for alert in _deadlines(dag)),
    }
    lines = ["", f"## {dag.dag_id}", "", text, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items() if value]
    if dag.params:
        lines += ["", "| parameter | default | allowed | |", "|---|---|---|---|", *map(_param, dag.params.items())]
    lines += ["", "| task | does | profile | time limit | runs when |", "|---|---|---|---|---|"]
    lines += map(_task, _in_order(dag))
    return "\n".join(lines) + "\n"


def _schedule(timetable: Any) -> str:  # noqa: ANN401 - as above
    condition = getattr(timetable, "asset_condition", None)
    clock = getattr(timetable, "timetable", None if condition is not None else timetable)
    starts = [] if clock is None else [_by_clock(clock)]
    if condition is not None:
        starts.append("on the asset " + " or ".join(f"`{asset.name}`" for asset in condition.objects))
    return "; ".join(starts)


def _by_clock(timetable: Any) -> str:  # noqa: ANN401 - as above
    kind = "for the days that have ended" if "Interval" in type(timetable).__name__ else "for the moment"
    zone = str(timetable.timezone)
    return f"`{timetable.expression}`{'' if zone == 'UTC' else f' in {zone}'}, {kind}"


def _deadlines(dag: Any) -> list[Any]:  # noqa: ANN401 - as above
    found = dag.deadline or []
    return found if isinstance(found, list) else [found]


def _param(item: tuple[str, Any]) -> str:
    name, param = item
    rules = {key: value for key, value in param.schema.items() if key not in ("title", "description")}
    types = rules.pop("type")
    allowed = [" or ".join(types) if isinstance(types, list) else types]
    allowed += [f"{key} {value}" for key, value in rules.items()]
    default = "" if param.value is None else f"`{param.value}`"
    return f"| `{name}` | {default} | {', '.join(allowed)} | {param.description} |"


def _task(task: Any) -> str:  # noqa: ANN401 - as above
    application = getattr(task, "application", "")
    does, profile = "asks a person" if task.task_type == "ApprovalOperator" else "Python in Airflow", ""
    if application:
        # What goes to a partition has the profile of its connection.
        where = getattr(task, "profile", "") or task.ssh_conn_id
        does, profile = f"`spark_apps/{Path(application).name}`", f"`{where}`"
    rule = task.trigger_rule.value.replace("_", " ")
    # What a person is given to answer is not the limit of a process.
    limit = _duration(getattr(task, "response_timeout", None) or task.execution_timeout)
    return f"| `{task.task_id}` | {does} | {profile} | {limit} | {rule} |"


def _in_order(dag: Any) -> list[Any]:  # noqa: ANN401 - as above
    done: list[str] = []
    waiting = sorted(dag.tasks, key=lambda task: task.task_id)
    while waiting:
        ready = next(task for task in waiting if set(task.upstream_task_ids) <= set(done))
        done.append(ready.task_id)
        waiting.remove(ready)
    return [dag.get_task(task_id) for task_id in done]


def _duration(span: Any) -> str:  # noqa: ANN401 - timedelta
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def main() -> int:
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        text = page()
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
