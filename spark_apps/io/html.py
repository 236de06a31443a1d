"""What the pages for people have in common: one style, tables, numbers."""

from collections.abc import Sequence
from html import escape

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #dde3e9; vertical-align: top }
td.number, th.number { text-align: right } h2 { margin-top: 2rem } img { max-width: 100%; margin-right: 1rem }
p, li { max-width: 60rem } code { overflow-wrap: anywhere }
"""

_SMALLEST = 0.0001


def number(value: float | None) -> str:
    """For people: four digits, thousands apart; empty where there is none."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 10 else f"{value:,.2f}"


def probability(value: float | None) -> str:
    """For people: four decimals; smaller ones differ in nothing that anybody would do."""
    if value is None:
        return ""
    return "< 0.0001" if value < _SMALLEST else f"{value:.4f}"


def table(rows: Sequence[Sequence[str]], *, has_head: bool = False) -> str:
    """Texts, escaped; the first cell of a row is its name, with ``has_head`` the first row is one of names."""
    head, body = (rows[:1], rows[1:]) if has_head else ([], rows)
    names = "".join("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in row) + "</tr>" for row in head)
    cells = "".join(
        f"<tr><th>{escape(row[0])}</th>" + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in body
    )
    return f"<table>{names}{cells}</table>"
