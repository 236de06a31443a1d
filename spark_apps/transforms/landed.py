"""Lines of a landed file as rows of its bronze table, each with the reason for which it does not fit, if any."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.landed import BOM, PROVENANCE, Identified, Landed, LandedField, Type

#: Characters of a refused line that the quarantine keeps.
LONGEST_LINE = 10_000


def rows(lines: DataFrame, contract: Landed, found: Identified) -> DataFrame:
    """``source_file, source_sha256, source_line, line`` -> these, constants, typed fields and ``reason``.

    ``reason`` (null where the line fits): ``wrong_number_of_fields``, else ``missing:<column>`` or ``bad:<column>`` of
    the first column in the contract's order. Lines before ``found.first_row`` and blank ones are no rows. A quoted
    field may hold the delimiter, not a line end. One delimiter at the end of a line adds no field.
    """
    width, delimiter = len(found.columns), found.layout.delimiter
    whole = F.when(F.col("source_line") == 1, F.ltrim("line", F.lit(BOM))).otherwise(F.col("line"))
    body = lines.withColumn("line", whole)
    body = body.where((F.col("source_line") >= found.first_row) & (F.trim("line") != ""))
    # One field more than there should be, for the delimiter at the end.
    schema = ", ".join(f"_{place} string" for place in range(width + 1))
    options = {"sep": delimiter, "quote": '"', "escape": '"', "ignoreLeadingWhiteSpace": "true"}
    cut = body.withColumn("_cut", F.from_csv("line", schema, options)).withColumn("_width", _width(delimiter))
    texts = {field.column: _text(field, found) for field in contract.fields}
    typed = cut.select(
        *[column.name for column in PROVENANCE], "line", "_width",
        *[text.alias(f"_{column}") for column, text in texts.items()],
        *[_value(field.type, field.formats, texts[field.column]).alias(field.column) for field in contract.fields],
    )  # fmt: skip
    ends_with_delimiter = F.endswith(F.rtrim("line", F.lit(" \r")), F.lit(delimiter))
    has_width = (F.col("_width") == width) | ((F.col("_width") == width + 1) & ends_with_delimiter)
    reason = F.when(~has_width, "wrong_number_of_fields")
    for field in contract.fields:
        text, value = F.col(f"_{field.column}"), F.col(field.column)
        if field.required:
            reason = reason.when(text.isNull(), f"missing:{field.column}")
        reason = reason.when(text.isNotNull() & value.isNull(), f"bad:{field.column}")
    return typed.select(
        *[column.name for column in PROVENANCE],
        *[F.lit(found.constants[constant.column]).alias(constant.column) for constant in contract.constants],
        *[field.column for field in contract.fields],
        reason.alias("reason"),
        F.substr("line", F.lit(1), F.lit(LONGEST_LINE)).alias("line"),
    )


def _width(delimiter: str) -> Column:
    """Fields of ``line``: its delimiters outside quotes, and one."""
    bare = F.regexp_replace("line", '"[^"]*"', "")
    return F.length(bare) - F.length(F.replace(bare, F.lit(delimiter), F.lit(""))) + 1


def _text(field: LandedField, found: Identified) -> Column:
    """The field's text without blanks around it, null where it is empty; parts are joined by a blank."""
    place = found.columns.index(field.column)
    parts = [place]
    while len(parts) <= len(field.joined_with):
        place += 1
        parts.append(place)
    text = F.concat_ws(" ", *[F.trim(F.col("_cut")[f"_{each}"]) for each in parts])
    return F.nullif(F.trim(text), F.lit(""))


def _value(type_: Type, formats: tuple[str, ...], text: Column) -> Column:
    if type_ == "string":
        return text
    if type_ in ("date", "timestamp"):
        return F.coalesce(*[F.try_to_timestamp(text, F.lit(each)) for each in formats]).cast(type_)
    number = text.try_cast("double")
    number = F.when(~F.isnan(number) & (F.abs(number) != F.lit(float("inf"))), number)
    if type_ == "double":
        return number
    # 1, 1.0 and 1.00E+00 are whole numbers; beyond 2^53 only the first is exact.
    whole = F.when(number == F.floor(number), number.try_cast(type_))
    return F.coalesce(text.try_cast(type_), whole)
