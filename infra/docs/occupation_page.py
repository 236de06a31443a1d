"""Write docs/occupation_study.md and its picture from benchmarks/results/occupation/study.json.

python -m infra.docs.occupation_page
"""

import json
import textwrap
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from contracts.files import write_atomically
from contracts.settings import REPOSITORY

RESULT = REPOSITORY / "benchmarks" / "results" / "occupation" / "study.json"
PAGE = REPOSITORY / "docs" / "occupation_study.md"
PICTURE = REPOSITORY / "docs" / "images" / "occupation_study.svg"
_OWNERS = {
    "published_shares": "Owners by chance, in the published shares",
    "fields_of_work": "Owners by field of work: none of them sees all three classes",
}
_COLUMNS = {
    "all": "all columns", "without automation_probability_2030": "without the probability",
    "without job_title": "without the title", "without any leak": "without both",
}  # fmt: skip
_CONTENDERS = {
    "guess_by_share": "a guess by the classes' shares", "majority": "always the largest class",
    "global": "one model of everybody's rows", "each_node": "an owner's model, on everybody's rows (mean of three)",
    "own_node": "an owner's model, on the owner's rows", "vote": "vote of the owners' models",
    "federated": "federated averaging",
}  # fmt: skip
_COLORS = {"guess_by_share": "#9aa5b1", "global": "#1f5fa8", "each_node": "#c2571a", "own_node": "#e0a15e",
           "vote": "#5b8c3e", "federated": "#7a4fa3"}  # fmt: skip
_HEAD = """# One model for all, or one for each owner?
Made by `make docs` from `benchmarks/results/occupation/study.json`, which `make occupation-study` writes; of
`{source}`. `pipelines/studies/occupation_risk.yaml` says what is studied,
`spark_apps/compare_partitioned_training.py` does it.

A table of occupations is split among three owners, each on a worker of its own. Multinomial logistic regression (string
indexer, one-hot encoder, vector assembler) is trained on everybody's rows, and on each owner's, the three at the same
time. Then there are two ways of learning from all without moving a row: the owners' models vote, or their weights are
averaged after every few steps (federated averaging). All answer the same held-out rows, a fifth of each owner's rows of
each class; {repeats} repeats with other rows held out. ± is half of a 95 % interval, wider as the repeats share rows.

![Macro F1 by owners, columns and way of training](images/occupation_study.svg)

## What it says
{says}"""


def says(found: dict[str, Any]) -> str:
    """The conclusions, each with its figures; nothing is said that the figures do not say."""
    macro = {(row["owners"], row["columns"], row["contender"]): row["macro_f1"][0] for row in found["summary"]}
    above = {(row["owners"], row["columns"], row["contender"]): row["above_global"] for row in found["summary"]}
    chance, work = "published_shares", "fields_of_work"
    leaky, bare = "all", "without any leak"
    kept = [macro[chance, name, "global"] for name in ("without automation_probability_2030", "without job_title")]
    mean, half = above[chance, leaky, "each_node"]
    fewer, fewer_half = above[chance, "without job_title", "each_node"]
    both, title, neither = macro[chance, leaky, "global"], kept[0], macro[chance, bare, "global"]
    guess, shared = macro[chance, bare, "guess_by_share"], macro[work, leaky, "federated"]
    lines = [
        "* **The published figures are those of a leak.** The label is a step function of the probability, and the "
        f"title all but says it. With both columns everybody's model reaches a macro F1 of {both:.3f}, without the "
        f"probability {title:.3f}, without the title {kept[1]:.3f}; without both {neither:.3f}, where a guess by the "
        f"classes' shares has {guess:.3f}. Published of such models were F1 .957, .990 and .977 in one table and .991, "
        ".998 and .995 in another: figures that only a leak gives.",
        f"* **Owners by chance differ in the number of rows only.** An owner's model is {_signed(mean)} ± {half:.3f} "
        f"from everybody's in macro F1 on all columns, and {_signed(fewer)} ± {fewer_half:.3f} without the title: a "
        "third of the same kind of rows is enough, or nearly.",
        f"* **Owners who differ can.** By field of work an owner's model has {macro[work, leaky, 'each_node']:.3f} on "
        f"everybody's rows, and {macro[work, leaky, 'own_node']:.3f} on rows like its own; everybody's model has "
        f"{macro[work, leaky, 'global']:.3f}. The vote reaches {macro[work, leaky, 'vote']:.3f}, federated averaging "
        f"{shared:.3f}; for neither has a row left its owner. Votes of models that never saw a class do not add up to "
        "one that did; averaged weights do.",
        "* **An owner can be a leak too.** Without both columns an owner's model reaches "
        f"{macro[work, bare, 'own_node']:.3f} on rows like its own although nothing else tells: who owns a row says "
        "which classes it may have.",
    ]
    return "\n".join(textwrap.fill(line, 120, subsequent_indent="  ") for line in lines)


def page(found: dict[str, Any]) -> str:
    repeats = found["summary"][0]["repeats"]
    parts = [_HEAD.format(source=found["source"], repeats=repeats, says=says(found))]
    for owners, title in _OWNERS.items():
        parts += [f"## {title}", _owned(found, owners), *(_measures(found, owners, name) for name in _COLUMNS)]
    parts += ["## What it costs", _use(found), "## How even rows are spread", _balance(found)]
    return "\n\n".join(parts) + "\n"


def picture(found: dict[str, Any]) -> str:
    """Macro F1 with intervals, one panel for each kind of owners, as SVG; the same text for the same figures."""
    mpl.rcParams["svg.hashsalt"] = "millrace"
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(_OWNERS), sharey=True)
    for axes, (owners, title) in zip(panels, _OWNERS.items(), strict=True):
        for n, (contender, color) in enumerate(_COLORS.items()):
            rows = {
                row["columns"]: row
                for row in found["summary"]
                if (row["owners"], row["contender"]) == (owners, contender)
            }
            means, halves = zip(*(rows[name]["macro_f1"] for name in _COLUMNS), strict=True)
            places = [place + (n - 2.5) * 0.13 for place in range(len(_COLUMNS))]
            axes.bar(places, means, 0.12, yerr=halves, color=color, label=_CONTENDERS[contender], error_kw={"lw": 0.8})
        axes.set_xticks(range(len(_COLUMNS)), _COLUMNS.values(), fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(0, 1.05)
    panels[0].set_ylabel("macro F1")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, ncols=3, loc="outside lower center")
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _owned(found: dict[str, Any], owners: str) -> str:
    [first] = [each for each in found["settings"] if each["owners"] == owners and each["repeat"] == 0]
    rows: dict[str, int] = {}
    held = 0
    for counted in first["rows"]:
        rows[counted["owner"]] = rows.get(counted["owner"], 0) + counted["count"]
        held += counted["count"] if counted["is_holdout"] else 0
    return f"Rows: {', '.join(f'{name} {n:,}' for name, n in sorted(rows.items()))}; {held:,} of them are held out."


def _measures(found: dict[str, Any], owners: str, columns: str) -> str:
    mine = {row["contender"]: row for row in found["summary"] if (row["owners"], row["columns"]) == (owners, columns)}
    nodes = {name: f"the model of {name}" for name in mine if name not in _CONTENDERS}
    lines = [f"**{_COLUMNS[columns][0].upper()}{_COLUMNS[columns][1:]}**", ""]
    lines += ["| | macro F1 | weighted F1 | above everybody's model (macro F1) |", "|---|---|---|---|"]
    for contender, title in (_CONTENDERS | nodes).items():
        row = mine[contender]
        apart = "" if contender == "global" else _interval(row["above_global"], signed=True)
        lines.append(f"| {title} | {_interval(row['macro_f1'])} | {_interval(row['weighted_f1'])} | {apart} |")
    return "\n".join(lines)


def _use(found: dict[str, Any]) -> str:
    seconds = {_setting(row): row["seconds"] for row in found["warm"]}
    about = (
        "One training on all columns, owners by chance: three workers of one core each on a machine of two cores. "
        "Warm is the wall time in an application that has trained before; cold that of the first training of a fresh "
        f"one ({len(found['cold']['global'])} of them). CPU and the rest are sums over tasks from Spark's event log; "
        "heap is the most of any executor. An owner's model is all three, at the same time, each on one executor. "
        "Federated averaging computes in Python, which Spark's count does not see. The vote costs what the owners' "
        "models cost."
    )
    lines = [
        textwrap.fill(about, 120),
        "",
        "| | warm s | cold s | CPU s | GC s | shuffle written MiB | heap MiB | tasks | executors |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["use"]:
        if (row["owners"], row["columns"]) == ("published_shares", "all"):
            cold = found["cold"].get(row["contender"])
            lines.append(
                f"| {_CONTENDERS[row['contender']].replace(', on everybody', '|').split('|')[0]} "
                f"| {_interval(seconds[_setting(row)], digits=2)} | {f'{sum(cold) / len(cold):.1f}' if cold else ''} "
                f"| {row['cpu_s']:.2f} | {row['gc_s']:.2f} | {row['shuffle_written_mib']:.3f} "
                f"| {row['peak_heap_mib']:.0f} | {row['tasks']:.0f} | {row['executors']:.0f} |"
            )
    return "\n".join(lines)


def _balance(found: dict[str, Any]) -> str:
    lines = ["| spread by | rows of each Spark partition | largest over mean | ranges |", "|---|---|---|---|"]
    for name, parts in found["balance"].items():
        rows = [part["rows"] for part in parts]
        ranges = "; ".join(f"{part['lowest']:.2f}-{part['highest']:.2f}" for part in parts)
        even = max(rows) * len(rows) / sum(rows)
        lines.append(f"| {name} | {', '.join(map(str, rows))} | {even:.3f} | {ranges} |")
    return "\n".join(lines)


def _setting(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["owners"], row["columns"], row["contender"]


def _interval(found: list[float], *, signed: bool = False, digits: int = 3) -> str:
    mean, half = found
    return f"{_signed(mean) if signed else f'{mean:.{digits}f}'} ± {half:.{digits}f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\u2212")


if __name__ == "__main__":
    studied = json.loads(RESULT.read_text(encoding="utf-8"))
    write_atomically(PICTURE, picture(studied))
    write_atomically(PAGE, page(studied))
