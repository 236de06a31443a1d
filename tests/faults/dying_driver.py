"""The streaming application with a fault in it, as a process of its own.

    python -m tests.faults.dying_driver --die after:append:silver.access_log:2 [--naive] -- [--drain]

``--die WHEN:CALL:NAME:N`` kills the whole process group (Python and its JVM) with SIGKILL before or after the N-th call
of ``tables.append``, ``tables.replace`` (NAME is the dataset) or ``stream_records.finish_batch`` (NAME is empty).
``--naive`` writes as if Delta had no transactions.
"""

import os
import signal
import sys
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from spark_apps.io import stream_records, tables
from streaming import access_log

_CALLS = {"append": tables, "replace": tables, "finish_batch": stream_records}


def die_at(point: str) -> None:
    when, call, name, number = point.split(":")
    module, seen = _CALLS[call], Counter[str]()
    real = getattr(module, call)

    def watched(*args: Any, **kwargs: Any) -> Any:
        this = "" if call == "finish_batch" else args[1].name
        seen[this] += 1
        is_it = this == name and seen[this] == int(number)
        if is_it and when == "before":
            die()
        result = real(*args, **kwargs)
        if is_it:
            die()
        return result

    setattr(module, call, watched)


def die() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def forget_transactions() -> None:
    append = tables.append
    tables.append = lambda rows, dataset, settings, _transaction=None: append(rows, dataset, settings)  # type: ignore[assignment]
    tables.last_transaction = lambda *_: -1  # type: ignore[assignment]


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--die")
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("rest", nargs="*")
    chosen = parser.parse_args()
    if chosen.naive:
        forget_transactions()
    if chosen.die:
        die_at(chosen.die)
    sys.argv = ["access_log", *chosen.rest]
    sys.exit(access_log.main())
