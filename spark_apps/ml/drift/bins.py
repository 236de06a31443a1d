"""Into which bins the values of each column are counted: fixed by the reference, so that all counts can be added."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

#: Quantiles of the reference that are looked for; the deciles are among them. A largest difference of distribution
#: functions is found to within half a bin.
N_BINS = 200
#: A column with fewer different values than this is one of atoms, compared by its shares.
_MANY_VALUES = 12
#: Categories that have a bin of their own; the others share one.
_MOST_CATEGORIES = 100
#: Significant digits to which values are the same: files of one source come rounded and not.
DIGITS = 3

#: What is smaller is zero: its digits are beyond the numbers that a double can hold well.
_LEAST_MAGNITUDE = 1e-300

#: How many values lie in each bin; the last axis is the bins.
Counts = NDArray[np.int64]

_FIXED = ConfigDict(frozen=True, extra="forbid")


class NumericBins(BaseModel):
    """``edges`` ascend; value v lies in bin j when edges[j-1] <= v < edges[j]. Nulls and NaN have the last bin."""

    model_config = _FIXED

    kind: Literal["numeric"] = "numeric"
    column: str
    edges: tuple[float, ...]
    #: Smallest and largest value seen: where the outer bins end when a distance is measured in the column's unit.
    low: float
    high: float
    #: Few different values: their shares say more than an order.
    is_atomic: bool

    @property
    def size(self) -> int:
        return len(self.edges) + 2


class CategoryBins(BaseModel):
    """One bin for each of ``values``, then one for all others, then one for nulls."""

    model_config = _FIXED

    kind: Literal["category"] = "category"
    column: str
    values: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.values) + 2


Bins = Annotated[NumericBins | CategoryBins, Field(discriminator="kind")]


class Plan(BaseModel):
    """What is counted: the bins of each column, by the values of ``by`` apart, in blocks of ``block_s`` seconds of
    ``ordered_by`` apart. Counts of one plan can be added.
    """

    model_config = _FIXED

    columns: tuple[Bins, ...]
    by: str | None = None
    ordered_by: str | None = None
    block_s: int | None = None

    @property
    def size(self) -> int:
        """Length of the vector that holds the counts of all columns."""
        return sum(each.size for each in self.columns)

    def part(self, counts: Counts, column: str) -> Counts:
        """Counts of one column, out of an array whose last axis has those of all."""
        start = 0
        for each in self.columns:
            if each.column == column:
                return counts[..., start : start + each.size]
            start += each.size
        raise KeyError(column)


def of_sample(sample: pa.Table, categories: Sequence[str] = ()) -> tuple[Bins, ...]:
    """Bins for every column of a sample of the reference: quantiles of numbers, the most frequent texts.

    Columns of ``categories`` are texts even if they are numbers.
    """
    return tuple(
        _categories(name, sample[name])
        if name in categories or pa.types.is_string(sample[name].type) or pa.types.is_boolean(sample[name].type)
        else _quantiles(name, sample[name])
        for name in sample.column_names
    )


def _quantiles(name: str, column: pa.ChunkedArray) -> NumericBins:
    values = pc.cast(column, pa.float64()).drop_null().to_numpy()
    values = values[np.isfinite(values)]
    if not len(values):
        return NumericBins(column=name, edges=(), low=0.0, high=0.0, is_atomic=True)
    rounded = np.unique(rounding_boundary(values))
    # After each of a handful of values; else at quantiles, where they differ.
    is_atomic = len(rounded) < _MANY_VALUES
    quantiles = np.quantile(values, np.arange(1, N_BINS) / N_BINS)
    edges = rounded if is_atomic else np.unique(rounding_boundary(quantiles))
    return NumericBins(
        column=name, edges=tuple(map(float, edges)), low=float(values.min()), high=float(values.max()),
        is_atomic=is_atomic,
    )  # fmt: skip


def rounding_boundary(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The number just above each value at which rounding to ``DIGITS`` significant digits changes.

    Cut there, a value and the same value rounded fall into the same bin: none needs to be rounded to be counted.
    """
    magnitude = np.abs(values)
    is_zero = magnitude < _LEAST_MAGNITUDE
    exponent = np.floor(np.log10(np.where(is_zero, 1.0, magnitude)))
    step = np.power(10.0, exponent - (DIGITS - 1))
    # The rounded value in steps; half a step further is where the next one begins. Across a power of ten steps change.
    rounded = np.floor(values / step + 0.5)
    most = 10.0**DIGITS
    half = np.where(rounded == most, 5.0, np.where(rounded == -most / 10, 0.05, 0.5))
    boundary = (rounded + half) * step
    found: NDArray[np.float64] = np.where(is_zero, _LEAST_MAGNITUDE, boundary)
    return found


def _categories(name: str, column: pa.ChunkedArray) -> CategoryBins:
    counted = pc.value_counts(pc.cast(column, pa.string()).drop_null())
    found = sorted(counted.to_pylist(), key=lambda each: (-each["counts"], each["values"]))
    return CategoryBins(column=name, values=tuple(each["values"] for each in found[:_MOST_CATEGORIES]))
