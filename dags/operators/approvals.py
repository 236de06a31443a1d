"""Questions that only a person answers: asked in Airflow, and told by an alert, as nobody watches Airflow all day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseNotifier

from dags.operators.alerts import send

#: No answer in this time is a no; it leaves room for a weekend.
PATIENCE = timedelta(days=3)
#: Run limit of a DAG that asks: what waits for a person, and the work before and after.
RUN_LIMIT = PATIENCE + timedelta(hours=6)


@dataclass(frozen=True)
class Question:
    """What a person is asked: a headline, and Markdown with what there is to know."""

    subject: str
    body: str

    def push(self, ti: Any) -> None:  # noqa: ANN401 - Airflow's task instance
        """Leave it where the task ``ask`` looks for it."""
        ti.xcom_push(key="subject", value=self.subject)
        ti.xcom_push(key="body", value=self.body)


def ask(asked_by: str) -> ApprovalOperator:
    """The task ``ask``: waits, without a worker, for a yes to the question that task ``asked_by`` pushed.

    A no, and no answer within ``PATIENCE``, skip what comes after it.
    """
    return ApprovalOperator(
        task_id="ask",
        subject=f"{{{{ ti.xcom_pull(task_ids='{asked_by}', key='subject') }}}}",
        body=f"{{{{ ti.xcom_pull(task_ids='{asked_by}', key='body') }}}}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=PATIENCE,
        notifiers=QuestionAlert(),
    )


def is_approved(answer: dict[str, Any] | None) -> bool:
    """``answer`` is what the task ``ask`` left in XCom: None where nobody was asked."""
    return bool(answer) and answer["chosen_options"] == [ApprovalOperator.APPROVE]


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table for a question; numbers have four digits, and what a cell holds cannot end it."""
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever a run result holds
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return " ".join(text.replace("|", "\\|").split())


class QuestionAlert(BaseNotifier):
    """Tells people that a question waits for them, and where to answer it."""

    def notify(self, context: Any) -> None:  # noqa: ANN401 - Airflow's context
        ti, asked = context["ti"], context["task"]
        page = f"{ti.log_url.partition('?')[0]}/required_actions"
        facts = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "answer_at": page}
        send(asked.subject, f"An answer is needed within {PATIENCE.days} days, at {page}\n\n{asked.body}", facts)
