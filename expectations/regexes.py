"""Which regular expressions may meet text that strangers wrote: those that Java matches in linear time.

A backtracking expression against a hostile line costs seconds (``(a+)+$``) or the JVM's stack (``("|\\\\.)*`` on
4,000 escaped quotes), and takes the whole stream with it. So the allowed form is small: anchored at the start, nothing
repeated but single characters and character classes, and every repetition but the last one possessive (``a++``): with
at most one place to come back to, the work is at most the length of the text times the length of the expression.
"""

import re

_TOKEN = re.compile(
    r"""(?P<escape>\\(?:[pP]\{\w+\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.))
      | (?P<set>\[\^?(?:\\.|[^\]\[\\])*\])
      | (?P<open>\((?:\?(?:[a-zA-Z]+[:)]|<?[=!]|[:>|<]))?)
      | (?P<close>\))
      | (?P<repeat>(?:[*+?]|\{\d+(?:,\d*)?\})[+?]?)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
#: Not repeated, not looked around, not referred back to.
_OPENINGS = ("(", "(?:", "(?i)", "(?s)", "(?is)")
_FORBIDDEN_ESCAPES = re.compile(r"\\(?:[0-9kQEGRX])")


def check_linear(regex: str) -> str:
    """Return ``regex``; ValueError where it is not of the allowed form."""
    tokens = [(str(match.lastgroup), match.group()) for match in _TOKEN.finditer(regex)]
    variable: list[str] = []
    for position, (sort, text) in enumerate(tokens):
        if sort == "open" and text not in _OPENINGS:
            raise ValueError(f"{text!r} is not allowed; groups may begin with {', '.join(_OPENINGS)}")
        if sort == "escape" and _FORBIDDEN_ESCAPES.match(text):
            raise ValueError(f"{text!r} is not allowed: no references back, no quoting")
        if sort == "set" and ("&&" in text or re.search(r"\\[QE]", text)):
            raise ValueError(f"{text} is not allowed: no intersections, no quoting")
        if sort == "other" and text in "[{":
            raise ValueError(f"{text!r} begins nothing that is allowed; write \\{text} for the character")
        if sort == "repeat":
            _check_repeat(tokens, position)
            if not re.fullmatch(r"\{\d+\}", text):
                variable.append(text)
    _check_order(regex, variable)
    _check_balanced(tokens)
    return regex


def _check_repeat(tokens: list[tuple[str, str]], position: int) -> None:
    sort = tokens[position - 1][0] if position else ""
    text = tokens[position][1]
    if sort not in {"escape", "set", "other", "close"} or tokens[position - 1][1] in ("^", "$", "|"):
        raise ValueError(f"{text!r} repeats nothing that may be repeated")
    if sort == "close" and text not in ("?", "?+"):
        raise ValueError(f"a group may be optional but not repeated ({text!r}); repeat a character class instead")


def _check_order(regex: str, variable: list[str]) -> None:
    loose = [text for text in variable[:-1] if not text.endswith("+") or len(text) == 1]
    if loose:
        raise ValueError(f"every repetition but the last must be possessive: write {loose[0]}+ for {loose[0]}")
    anchored = re.match(r"(?:\(\?[is]+\))?(?:\^|\\A)", regex) is not None and not _has_outer_choice(regex)
    if variable and not anchored:
        raise ValueError("an expression with a repetition must begin with ^ and have no choice (|) outside a group")


def _check_balanced(tokens: list[tuple[str, str]]) -> None:
    depth = 0
    for sort, text in tokens:
        depth += (sort == "open" and not text.endswith(")")) - (sort == "close")
        if depth < 0:
            break
    if depth:
        raise ValueError("brackets do not match")


def _has_outer_choice(regex: str) -> bool:
    depth = 0
    for match in _TOKEN.finditer(regex):
        depth += (match.lastgroup == "open" and not match.group().endswith(")")) - (match.lastgroup == "close")
        if match.lastgroup == "other" and match.group() == "|" and depth == 0:
            return True
    return False
