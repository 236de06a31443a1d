"""Telling people: one message to the log, and to a webhook where one is set."""

import asyncio
import json
import logging
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseNotifier
from airflow.sdk.log import mask_secret, redact

from contracts.settings import load_settings

log = logging.getLogger(__name__)

_TIMEOUT_S = 10
#: A traceback or a table of broken rules belongs in the task log, not in a chat message.
_LONGEST_MESSAGE = 1500


def send(subject: str, text: str, facts: dict[str, Any]) -> bool:
    """Log an alert and post it to ``MILLRACE_ALERT_WEBHOOK``; returns whether the webhook has it.

    The body is ``{"text", "subject", "facts"}``: chat services show ``text`` and ignore the rest. Never raises for an
    unreachable webhook: an alert that fails must not change what the work itself came to.
    """
    webhook = load_settings().alert_webhook
    if webhook:
        # Chat webhooks carry their token in the path.
        mask_secret(webhook)
    text, facts = redact(f"{subject}\n{text}")[:_LONGEST_MESSAGE], redact(facts)
    body = {"text": text, "subject": subject, "facts": facts}
    log.error("alert text=%r facts=%s", text, json.dumps(facts, default=str))
    if not webhook:
        return False
    if urlsplit(webhook).scheme not in ("http", "https"):
        log.error("alert not sent: MILLRACE_ALERT_WEBHOOK is not an http or https address")
        return False
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        webhook, data=json.dumps(body, default=str).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            log.info("alert sent status=%d", answer.status)
            return True
    except (OSError, ValueError) as error:
        log.error("alert not sent: the webhook does not take it (%s)", redact(str(error)))  # noqa: TRY400 - no traceback: it would show the address
        return False


class FailureAlert(BaseNotifier):
    """``on_failure_callback`` of every task: says which task of which run failed, why, and where to read on."""

    def notify(self, context: Any) -> None:  # noqa: ANN401 - Airflow's context
        ti = context["ti"]
        facts = {
            "dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index,
            "try_number": ti.try_number, "log": getattr(ti, "log_url", None),
        }  # fmt: skip
        reason = str(context.get("exception") or "no exception: the process was lost or marked failed by hand")
        send(f"{ti.dag_id}.{ti.task_id} failed", reason, facts)


async def late(context: dict[str, Any] | None = None, **facts: Any) -> None:  # noqa: ANN401 - what the DAG passes
    """Callback of a missed deadline; it runs in the triggerer, so the post must not hold its event loop."""
    run = (context or {}).get("dag_run") or {}
    known = {"dag_id": _field(run, "dag_id"), "run_id": _field(run, "run_id") or _field(run, "dag_run_id"), **facts}
    text = "The run was not over at its deadline. It goes on; see what it waits for."
    await asyncio.to_thread(send, f"{known['dag_id']} is late", text, known)


def _field(record: Any, name: str) -> Any:  # noqa: ANN401 - a model or a dictionary, by Airflow version
    return record.get(name) if isinstance(record, dict) else getattr(record, name, None)
