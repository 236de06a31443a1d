"""What a landed file must look like: the contract between whoever drops a file and the table that its lines become.

Files of one subject come with different headers, orders and preambles. `identify` looks at a file's first lines and
says which layout it has, or what is missing; every line after the header becomes a row of the bronze table, or a row of
the quarantine table with a reason.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.errors import SchemaMismatchError
from contracts.schema import Column, Dataset

_CONTRACT = ConfigDict(frozen=True, extra="forbid")

#: How many lines may stand before a header.
PREAMBLE_LINES = 20
#: Lines that a file is known by.
FIRST_LINES = PREAMBLE_LINES + 10
#: What some programs write before the first character of a file.
BOM = "\ufeff"

Type = Literal["string", "double", "int", "bigint", "date", "timestamp"]

#: Where a row came from; in every bronze and quarantine table of landed files.
PROVENANCE = (
    Column(
        name="source_file", type="string", about="name of the landed file, of a zip with its member", nullable=False
    ),
    Column(name="source_sha256", type="string", about="hex SHA-256 of the landed file", nullable=False),
    Column(name="source_line", type="bigint", about="line in the file, the first is 1", nullable=False),
)


class LandedField(BaseModel):
    """A column of the table and where its text stands: in one field of a line, or in several, joined by a space."""

    model_config = _CONTRACT

    column: str
    type: Type
    about: str
    #: Names in a header. Several of them: the names that different publishers give to one field.
    names: tuple[str, ...] = Field(min_length=1)
    #: Names of fields that stand directly behind the first one and belong to it, e.g. a time after a date.
    joined_with: tuple[str, ...] = ()
    #: Spark datetime patterns for a date or timestamp, the first that fits.
    formats: tuple[str, ...] = ()
    #: An empty text is a null; where it may not be, the line is refused.
    required: bool = True

    @model_validator(mode="after")
    def _patterns_for_times(self) -> Self:
        if (self.type in ("date", "timestamp")) != bool(self.formats):
            raise ValueError(f"{self.column}: dates and timestamps need formats, nothing else has them")
        return self


class Constant(BaseModel):
    """A column that is the same in every line of a file, found in its preamble or else in its name."""

    model_config = _CONTRACT

    column: str
    about: str
    #: Regular expressions with one group.
    in_preamble: str | None = None
    in_name: str | None = None


class Layout(BaseModel):
    """How the lines of a file are cut. ``header``: the file has one; else ``order`` names the columns from the left."""

    model_config = _CONTRACT

    name: str
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    header: bool
    order: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.header == bool(self.order):
            raise ValueError(f"{self.name}: either the header says the order, or the layout does")
        return self


class Landed(BaseModel):
    """Landed files of one subject and the tables that they become."""

    model_config = _CONTRACT

    subject: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str
    #: One more whenever a change makes other rows of the same files: they are then ingested anew.
    version: int = Field(default=1, ge=1)
    fields: tuple[LandedField, ...] = Field(min_length=1)
    constants: tuple[Constant, ...] = ()
    #: Tried in this order.
    layouts: tuple[Layout, ...] = Field(min_length=1)
    #: Names of files inside a zip that belong to the subject, as a regular expression.
    members: str | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        columns = [field.column for field in self.fields] + [constant.column for constant in self.constants]
        names = [name for field in self.fields for name in (*field.names, *field.joined_with)]
        for what, found in (("column", columns), ("name in a header", names)):
            twice = sorted({each for each in found if found.count(each) > 1})
            if twice:
                raise ValueError(f"{self.subject}: {what} {', '.join(twice)} stands there twice")
        for layout in self.layouts:
            if layout.order and sorted(layout.order) != sorted(field.column for field in self.fields):
                raise ValueError(f"{self.subject}: the order of layout {layout.name} must name every field once")
        return self

    def belongs(self, member: str) -> bool:
        """Whether a file inside a zip is one of the subject's; what macOS adds to archives never is."""
        is_junk = member.startswith("__MACOSX/") or member.rsplit("/", 1)[-1].startswith("._")
        return self.members is not None and not is_junk and re.search(self.members, member) is not None

    @property
    def bronze(self) -> Dataset:
        return Dataset(
            name=f"bronze.{self.subject}",
            about=self.about,
            key=("source_sha256", "source_line"),
            columns=(
                *PROVENANCE,
                *(Column(name=c.column, type="string", about=c.about, nullable=False) for c in self.constants),
                *(Column(name=f.column, type=f.type, about=f.about, nullable=not f.required) for f in self.fields),
            ),
        )

    @property
    def quarantine(self) -> Dataset:
        return Dataset(
            name=f"quarantine.{self.subject}",
            about=f"Lines of landed files that do not fit bronze.{self.subject}, with the reason.",
            key=("source_sha256", "source_line"),
            columns=(
                *PROVENANCE,
                Column(name="reason", type="string", about="why: wrong_number_of_fields, missing:<column> or "
                       "bad:<column>", nullable=False),
                Column(name="line", type="string", about="the line as it stands in the file", nullable=False),
            ),
        )  # fmt: skip


class Identified(NamedTuple):
    """What a file is: its layout, the column of each field from the left (None: a further part of the one before), the
    line (the first is 1) at which rows begin, and the constant columns."""

    layout: Layout
    columns: tuple[str | None, ...]
    first_row: int
    constants: dict[str, str]


def identify(landed: Landed, file_name: str, first_lines: Sequence[str]) -> Identified:
    """Find the layout of a file from its first lines (without line ends); SchemaMismatchError names what is wrong."""
    if not any(line.strip() for line in first_lines):
        raise _mismatch(landed, file_name, "an empty file", "a file with rows")
    complaints: list[tuple[int, str]] = []
    for layout in landed.layouts:
        found = _by_header(landed, layout, first_lines) if layout.header else _by_width(landed, layout, first_lines)
        if isinstance(found, _Complaint):
            complaints.append((found.distance, found.text))
            continue
        columns, first_row = found
        # Of a longer file only so many lines were read.
        is_whole = len(first_lines) < FIRST_LINES
        if is_whole and not any(line.strip() for line in first_lines[first_row - 1 :]):
            raise _mismatch(landed, file_name, "a header and no row after it", "a file with rows")
        return Identified(layout, columns, first_row, _constants(landed, file_name, first_lines[: first_row - 1]))
    nearest = min(complaints)[1]
    raise _mismatch(landed, file_name, nearest, f"one of the layouts {', '.join(each.name for each in landed.layouts)}")


class _Complaint(NamedTuple):
    """Why a layout does not fit, and how far away it is: the nearest one is told to the person."""

    distance: int
    text: str


def cut(line: str, delimiter: str) -> list[str]:
    """Fields of a line, quotes taken off, blanks around them too; a delimiter at the end adds none."""
    try:
        fields = [field.strip() for field in next(csv.reader([line.removeprefix(BOM)], delimiter=delimiter), [])]
    except csv.Error:  # a NUL, or a field of more than 128 KiB: nothing that anybody calls a column
        return [line]
    return fields[:-1] if fields and fields[-1] == "" else fields


def _by_header(landed: Landed, layout: Layout, lines: Sequence[str]) -> tuple[tuple[str | None, ...], int] | _Complaint:
    places = {name.lower(): field.column for field in landed.fields for name in field.names}
    parts = {name.lower() for field in landed.fields for name in field.joined_with}
    best: tuple[int, int, list[str]] | None = None
    for number, line in enumerate(lines[: PREAMBLE_LINES + 1]):
        names = [name.lower() for name in cut(line, layout.delimiter)]
        known = sum(name in places for name in names)
        if best is None or known > best[0]:
            best = known, number, names
    if best is None or best[0] == 0:
        return _Complaint(len(landed.fields), f"no header with {_some(places)}")
    _, number, names = best
    columns = tuple(None if name in parts else places.get(name, name) for name in names)
    needed = {field.column for field in landed.fields}
    missing = sorted(needed - set(columns))
    unexpected = sorted(name for name in names if name not in places and name not in parts)
    twice = sorted({column for column in columns if column is not None and columns.count(column) > 1})
    apart = sorted(part for field in landed.fields for part in field.joined_with if not _follows(part, field, names))
    faults = {
        "no column": missing,
        "unknown columns": unexpected,
        "twice": twice,
        "not behind the field it belongs to:": apart,
    }
    if any(faults.values()):
        said = ", ".join(f"{what} {_some(found)}" for what, found in faults.items() if found)
        return _Complaint(sum(map(len, faults.values())), f"a header with {said}")
    return columns, number + 2


def _follows(part: str, field: LandedField, names: Sequence[str]) -> bool:
    """Whether a part of a field stands once, in its place directly behind the field."""
    first = next((place for place, name in enumerate(names) if name in {each.lower() for each in field.names}), None)
    if first is None:
        return True  # the field itself is missing, which is said elsewhere
    place = first + 1 + field.joined_with.index(part)
    return list(names).count(part.lower()) == 1 and place < len(names) and names[place] == part.lower()


def _by_width(landed: Landed, layout: Layout, lines: Sequence[str]) -> tuple[tuple[str | None, ...], int] | _Complaint:
    """A file without a header fits when its first line has the layout's width, and numbers where they belong."""
    first = cut(lines[0], layout.delimiter)
    if len(first) != len(layout.order):
        # A line without any number is a header: what a layout with one says about it helps more.
        distance = abs(len(first) - len(layout.order)) if any(map(_is_number, first)) else len(layout.order)
        return _Complaint(distance, f"{len(first)} fields in the first line, and not {len(layout.order)}")
    types = {field.column: field.type for field in landed.fields}
    wrong = [
        column for column, text in zip(layout.order, first, strict=True)
        if types[column] in ("double", "int", "bigint") and text and not _is_number(text)
    ]  # fmt: skip
    if wrong:
        return _Complaint(len(wrong), f"texts in the first line where {_some(wrong)} are numbers")
    return layout.order, 1


def _constants(landed: Landed, file_name: str, preamble: Sequence[str]) -> dict[str, str]:
    found = {}
    for constant in landed.constants:
        in_preamble = re.search(constant.in_preamble, "\n".join(preamble)) if constant.in_preamble else None
        in_name = re.search(constant.in_name, file_name) if constant.in_name else None
        match = in_preamble or in_name
        if match is None:
            required = f"{constant.column} in the preamble or in the name of the file"
            raise _mismatch(landed, file_name, f"nothing that says {constant.column}", required)
        found[constant.column] = match[1]
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _mismatch(landed: Landed, file_name: str, found: str, required: str) -> SchemaMismatchError:
    return SchemaMismatchError(
        f"Reading {file_name} as {landed.subject}", found=found, required=required,
        next_step=f"Correct the file, or add its layout to {landed.subject} in contracts/landed_files.py.",
    )  # fmt: skip
