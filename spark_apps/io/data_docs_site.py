"""Great Expectations' pages made to stand alone: nothing loaded from the internet, an index that needs no script.

As they come, they ask several other sites for styles, scripts and a logo, the last with the identity of the context and
the time in its address. A validation is nobody's business but ours, and a cluster may see no other site at all.
"""

import html
import re
from pathlib import Path

from contracts.files import write_atomically

_OUTSIDE = (
    re.compile(r'<link\b[^>]*href="https?://[^>]*>'),
    re.compile(r'<script\b[^>]*src="https?://[^>]*>\s*</script>'),
    re.compile(r'<img\b[^>]*src="https?://[^>]*>'),
    re.compile(r"background: url\('https?://[^;]*;"),
    re.compile(r"<footer>.*?</footer>", re.DOTALL),
)
_STYLE = Path(__file__).with_name("data_docs.css")
_STYLE_MARK = '<style data-of="millrace">'
_STATUS = re.compile(r"Status:</span>.*?</i>\s*(\w+)", re.DOTALL)


def make_stand_alone(site: Path) -> None:
    """Treat every page that is new since the last time, and write the index anew."""
    style = f"{_STYLE_MARK}\n{_STYLE.read_text(encoding='utf-8')}</style>\n"
    pages = []
    for page in site.glob("*/**/*.html"):
        text = page.read_text(encoding="utf-8")
        if _STYLE_MARK not in text:
            for outside in _OUTSIDE:
                text = outside.sub("", text)
            write_atomically(page, text.replace("</head>", f"{style}</head>", 1))
        pages.append((page, text))
    write_atomically(site / "index.html", _index(site, pages, style))


def _index(site: Path, pages: list[tuple[Path, str]], style: str) -> str:
    """Validations, newest first, then the rules of each dataset."""
    validations, rules = [], []
    for page, text in pages:
        kind, *dataset = page.relative_to(site).with_suffix("").parts
        link = html.escape(str(page.relative_to(site)))
        if kind == "validations":
            *dataset, run, at, _ = dataset
            status = found.group(1) if (found := _STATUS.search(text)) else "unknown"
            cells = (f'<a href="{link}">{".".join(dataset)}</a>', status, html.escape(run), _instant(at))
            validations.append((at, "".join(f"<td>{cell}</td>" for cell in cells)))
        elif kind == "expectations":
            rules.append(f'<li><a href="{link}">{".".join(dataset)}</a></li>')
    rows = "\n".join(f"<tr>{cells}</tr>" for _, cells in sorted(validations, reverse=True))
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Data Docs</title>
{style}</head>
<body><div class="container-fluid">
<h1>Data Docs</h1>
<h2>Validations</h2>
<table class="table">
<tr><th>Dataset</th><th>Result</th><th>Run</th><th>When (UTC)</th></tr>
{rows}
</table>
<h2>Rules</h2>
<ul>
{"".join(sorted(rules))}
</ul>
</div></body>
</html>
"""


def _instant(text: str) -> str:
    """20261121T114856.117435Z as 2026-11-21 11:48:56."""
    return re.sub(r"^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d).*$", r"\1-\2-\3 \4:\5:\6", text)
