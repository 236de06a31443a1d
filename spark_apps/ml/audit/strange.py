"""Numbers unlike those of the data: what notices them has looked where it must not."""

from pyspark.sql import Column
from pyspark.sql import functions as F

#: Times a number of the data.
FACTOR = 1000.0


def number(column: str, type_: str) -> Column:
    """Another number of the same type; a whole number that then does not fit is null."""
    return (F.col(column).cast("double") * FACTOR + 1).try_cast(type_)
