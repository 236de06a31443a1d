"""Has a column changed its unit? Then its values are a fixed multiple of what they were: nothing to learn from."""

import numpy as np

from spark_apps.ml.drift import statistics
from spark_apps.ml.drift.bins import Counts, NumericBins

#: What a value is multiplied by, and what happened then.
FACTORS: dict[str, float] = {
    "km to miles": 0.621371, "miles to km": 1.609344, "m to feet": 3.28084, "feet to m": 0.3048,
    "kg to pounds": 2.204623, "pounds to kg": 0.453592, "to thousandths": 1000.0, "to thousands": 0.001,
    "to hundredths (percent)": 100.0, "to hundreds": 0.01, "inches to cm": 2.54, "cm to inches": 0.393701,
    "hours to minutes or minutes to seconds": 60.0, "seconds to minutes or minutes to hours": 1 / 60,
    "hours to seconds": 3600.0, "seconds to hours": 1 / 3600, "sign turned": -1.0,
    "per quarter of an hour to per hour": 4.0, "per hour to per quarter of an hour": 0.25,
}  # fmt: skip
#: A shift that is smaller is no change of unit.
_LARGE = 0.2
#: The unit explains a shift that it makes so many times smaller.
_TIMES_SMALLER = 6.0


def changed(bins: NumericBins, reference: Counts, window: Counts, *, min_effect: float) -> str | None:
    """The change of unit that explains a large shift, or None.

    ``reference`` and ``window`` are counts by bin without that of missing values. The distribution function of the
    reference, its values multiplied, is compared with that of the window: largest difference at the window's edges.
    """
    if len(bins.edges) < 2 or not reference.sum() or not window.sum():
        return None
    before = statistics.kolmogorov_smirnov(reference, window)
    if before < _LARGE:
        return None
    left = {name: _distance(bins, reference, window, factor) for name, factor in FACTORS.items()}
    best = min(left, key=lambda name: left[name])
    return best if left[best] <= max(before / _TIMES_SMALLER, min_effect) else None


def _distance(bins: NumericBins, reference: Counts, window: Counts, factor: float) -> float:
    """Kolmogorov-Smirnov distance of the reference times ``factor`` from the window, linear inside of bins."""
    edges = np.asarray(bins.edges)
    below_now = np.cumsum(statistics.shares(window))[:-1]
    ends = np.concatenate([[bins.low], edges, [max(bins.high, edges[-1])]])
    below = np.concatenate([[0.0], np.cumsum(statistics.shares(reference))])
    at = np.interp(edges / factor, ends, below)
    if factor < 0:
        at = 1 - at
    # Where the window has nothing between two edges, its function is known no better than at one of them.
    return float(np.abs(at - below_now).max())
