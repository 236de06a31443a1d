"""Write docs/closed_loop.md from benchmarks/results/loop/*.json: what was planted into a year and what came of it.

python -m infra.docs.loop_story
"""

import json
from pathlib import Path
from typing import Any

from contracts.files import write_atomically
from contracts.settings import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results" / "loop"
PAGE = REPOSITORY / "docs" / "closed_loop.md"
_HEAD = """# A year in fast-forward
Made from `benchmarks/results/loop/*.json` by `make docs`; measured by `make bench-loop`, whose summary stands in
[figures.md](figures.md#make-bench-loop). Real rows land window by window with planted events, and the applications' own
entry functions do what the DAGs would have them do. Three ways of keeping a champion begin with the same one:

* **with checks**: what the platform does. Drift is checked in every window; the schedule alone trains seldom.
* **every window**: no checks; every window is validated and trained on, and the same gate decides.
* **never**: the first champion, whatever comes.

Loss is that of the champion which a window meets, on the rows as the world made them. A fault spoils only what lands.
"""
_NAMES = {"with_checks": "with checks", "every_window": "every window", "never": "never"}
_LONGEST = 240


def page(results: Path = RESULTS) -> str:
    """One section for each year."""
    years = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    return "\n".join([_HEAD, *(_section(name, year) for name, year in years.items())])


def _section(name: str, year: dict[str, Any]) -> str:
    told = year["stories"]
    losses = list(told["never"][0]["losses"])
    lines = [f"## {name}: {year['about']}", "", "| planted | from | to | |", "|---|---|---|---|"]
    lines += [_event(event) for event in year["events"]]
    heads = " | ".join(f"mean loss ({loss})" for loss in losses)
    lines += ["", f"| | trainings | {heads} |", "|---|---|" + "---|" * len(losses)]
    lines += [_sum(_NAMES[strategy], stories, losses) for strategy, stories in told.items()]
    lines += ["", "With checks, window by window, without those in which nothing was found and nothing done:", ""]
    lines += [f"| window | loss ({losses[0]}) | found | done |", "|---|---|---|---|"]
    lines += [_window(story, losses[0]) for story in told["with_checks"] if story["did"] != "nothing" or _found(story)]
    return "\n".join(lines) + "\n"


def _event(event: dict[str, Any]) -> str:
    until = "the end" if event["last"] is None else event["last"]
    kind = "fault of the data" if event["is_fault"] else "change of the world"
    return f"| {event['kind']}: {event['about']} | {event['first']} | {until} | {kind} |"


def _sum(name: str, stories: list[dict[str, Any]], losses: list[str]) -> str:
    means = [sum(story["losses"][loss] for story in stories) / len(stories) for loss in losses]
    trainings = sum(story["did"] == "trained" for story in stories)
    return f"| {name} | {trainings} | {' | '.join(f'{mean:.4g}' for mean in means)} |"


def _window(story: dict[str, Any], loss: str) -> str:
    because = " because of drift" if story.get("drift") else ""
    asked = ", a person was asked" if story.get("asked") else ""
    said = f"{story['did']}{because}{asked}. {_short(story.get('said', ''))}"
    return f"| {story['window']} | {story['losses'][loss]:.4g} | {_short(_found(story))} | {said.strip()} |"


def _found(story: dict[str, Any]) -> str:
    return str(story.get("refused") or ("" if story.get("state") in (None, "stable") else story.get("why", "")))


def _short(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "/")
    return flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST]} …"


if __name__ == "__main__" and any(RESULTS.glob("*.json")):
    write_atomically(PAGE, page())
