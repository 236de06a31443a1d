"""Start a program, later and later when it keeps dying soon: ``paced.py FILE COMMAND...``.

The supervisor restarts what ends; it waits only between starts that fail within seconds, but a streaming driver that
dies after half a minute, again and again, would take both cores for ever. So every service is started through this: it
looks how long the last life was, waits, and then becomes the program (execve keeps the process id and signals).
Standard library only, started with ``-I -S``: 20 ms.
"""

import json
import os
import sys
import time
from pathlib import Path

#: A life shorter than this is a failure to stay up.
SHORT_LIFE_S = 60.0
LONGEST_WAIT_S = 30.0


def wait_s(short_lives: int) -> float:
    """0 after the first short life, then 1, 2, 4 … seconds."""
    return 0.0 if short_lives < 2 else min(LONGEST_WAIT_S, 2.0 ** (short_lives - 2))


def plan(file: Path, now: float) -> dict[str, float]:
    """What to do at the start at ``now`` (epoch seconds), from what the last start left in ``file``."""
    try:
        last = json.loads(file.read_text(encoding="utf-8"))
        was_short = now - float(last["began_at"]) < SHORT_LIFE_S
        short_lives = int(last["short_lives"]) + 1 if was_short else 0
    except (OSError, ValueError, KeyError, TypeError):
        # The first start, or a file that a full disk has damaged: nothing to wait for.
        short_lives = 0
    return {"short_lives": short_lives, "began_at": now + wait_s(short_lives)}


def main(argv: list[str]) -> None:
    file, command = Path(argv[0]), argv[1:]
    now = time.time()
    found = plan(file, now)
    file.write_text(json.dumps(found), encoding="utf-8")
    time.sleep(max(0.0, found["began_at"] - now))
    os.execvp(command[0], command)  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main(sys.argv[1:])
