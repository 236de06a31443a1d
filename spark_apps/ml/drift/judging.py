"""Which columns shifted: every column of every group tested, corrected together, and held against a least effect."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from contracts.pipelines.drift import DriftPolicy
from spark_apps.ml.drift import statistics
from spark_apps.ml.drift.bins import Bins, CategoryBins, Counts, NumericBins
from spark_apps.ml.drift.sketches import Sketch

#: Fewer blocks of the reference say nothing about how much one differs from the next.
MIN_BLOCKS = 6
#: The index is given for about ten bins, whatever the number that is counted in.
_DECILES = 10


class Shift(BaseModel):
    """One column of one group: how far the window is from the reference, and whether that is drift.

    ``effect`` is the largest difference of the two distribution functions, or of two shares for categories. ``p`` is
    None where there were too few rows or blocks for a test; such a column is no drift.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    group: str | None
    kind: Literal["numeric", "category"]
    reference_rows: int
    window_rows: int
    effect: float
    p: float | None
    p_adjusted: float | None = None
    is_drift: bool = False
    #: Of missing values among the window's rows.
    missing: float
    #: Distances for people to look at: PSI and its 95 % point without a shift, Jensen-Shannon, Wasserstein in the
    #: column's unit, the two p-values of independent numbers.
    distances: dict[str, float] = {}

    @property
    def name(self) -> str:
        """How a message calls it."""
        return self.column if self.group is None else f"{self.column} of {self.group}"


def compare(reference: Sketch, window: Sketch, policy: DriftPolicy) -> list[Shift]:
    """Every column of every group that the window has; p-values are not corrected yet, see `corrected`.

    Both are counted by one plan. With ``policy.block_hours`` they have blocks, and rows of a block are not taken for
    independent.
    """
    if reference.plan != window.plan:
        raise ValueError("counts of different bins cannot be compared")
    return [
        _shift(bins, group, reference.of(bins.column, group), window.of(bins.column, group), policy)
        for group in window.groups
        for bins in window.plan.columns
    ]


def corrected(shifts: Sequence[Shift], policy: DriftPolicy) -> list[Shift]:
    """The same with p-values adjusted for how many they are, and the verdict on each.

    Drift is a shift whose adjusted p is at most ``policy.false_alarm_rate`` and whose effect is at least
    ``policy.min_effect``: significance alone would call any trifle drift, given enough rows.
    """
    tested = [shift for shift in shifts if shift.p is not None]
    adjusted = dict(
        zip(map(id, tested), statistics.benjamini_hochberg([shift.p or 0.0 for shift in tested]), strict=True)
    )
    return [_judged(shift, adjusted.get(id(shift)), policy) for shift in shifts]


def _judged(shift: Shift, adjusted: float | None, policy: DriftPolicy) -> Shift:
    is_drift = adjusted is not None and adjusted <= policy.false_alarm_rate and shift.effect >= policy.min_effect
    return shift.model_copy(update={"p_adjusted": adjusted, "is_drift": is_drift})


def _shift(bins: Bins, group: str | None, reference: Counts, window: Counts, policy: DriftPolicy) -> Shift:
    """``reference`` and ``window``: blocks x bins, the last bin that of missing values."""
    seen, now = reference[:, :-1].sum(0), window[:, :-1].sum(0)
    n, m, rows = int(seen.sum()), int(now.sum()), int(window.sum())
    is_ordered = isinstance(bins, NumericBins) and not bins.is_atomic
    effect = (statistics.kolmogorov_smirnov if is_ordered else statistics.total_variation)(seen, now)
    distances: dict[str, float] = {}
    p = None
    if min(n, m):
        distances = _distances(bins, seen, now)
    if min(n, m) >= policy.min_rows:
        if policy.block_hours is None:
            p = _independent_p(seen, now, is_ordered=is_ordered)
        else:
            p = _blocks_p(reference[:, :-1], window[:, :-1], is_ordered=is_ordered)
    return Shift(
        column=bins.column, group=group, kind="category" if isinstance(bins, CategoryBins) else "numeric",
        reference_rows=n, window_rows=m, effect=effect, p=p, missing=(rows - m) / rows if rows else 0.0,
        distances=distances,
    )  # fmt: skip


def _independent_p(seen: Counts, now: Counts, *, is_ordered: bool) -> float:
    """Numbers by Anderson and Darling's test, which finds shifts of middle and tails alike; shares by Pearson's."""
    if not is_ordered:
        return statistics.chi_squared_p(seen, now)
    return statistics.anderson_darling_p(statistics.anderson_darling(seen, now))


def _blocks_p(reference: Counts, window: Counts, *, is_ordered: bool) -> float | None:
    """By how much blocks of the reference, as long as the window where it has enough of them, differ from each other.

    None with fewer than ``MIN_BLOCKS`` of them.
    """
    reference = _whole(reference)
    n_window_blocks = window.sum() / max(np.median(reference.sum(1)), 1) if len(reference) else 0.0
    length = min(max(round(n_window_blocks), 1), len(reference) // MIN_BLOCKS)
    if not length:
        return None
    blocks = _joined(reference, length)
    if is_ordered:
        edges = statistics.places(reference.sum(0))
        parts, now = _below(blocks, edges), _below(window.sum(0, keepdims=True), edges)[0]
    else:
        parts, now = _parts(blocks), _parts(window.sum(0, keepdims=True))[0]
    if not parts.shape[1]:
        return None
    return statistics.shift_of_blocks_p(parts, now, n_window_blocks / length)


def _whole(blocks: Counts) -> Counts:
    """Without those that hold less than half of what the middle one does, such as where a series begins or ends."""
    rows = blocks.sum(1)
    found: Counts = blocks[rows >= np.median(rows) / 2] if len(blocks) else blocks
    return found


def _joined(blocks: Counts, length: int) -> Counts:
    """``length`` blocks after each other as one; the newest are in the last, the oldest may be left out."""
    n = len(blocks) // length
    joined: Counts = blocks[len(blocks) - n * length :].reshape(n, length, -1).sum(1)
    return joined


def _parts(counts: Counts) -> NDArray[np.float64]:
    parts: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    # The last of the shares follows from the others.
    return parts[:, :-1]


def _below(counts: Counts, edges: list[int]) -> NDArray[np.float64]:
    below: NDArray[np.float64] = np.cumsum(counts, axis=1)[:, edges] / counts.sum(axis=1, keepdims=True)
    return below


def _distances(bins: Bins, seen: Counts, now: Counts) -> dict[str, float]:
    n, m = int(seen.sum()), int(now.sum())
    coarse_seen, coarse_now = _coarse(seen, now)
    found = {
        "psi": statistics.population_stability_index(coarse_seen, coarse_now),
        "psi_limit": statistics.stability_index_limit(n, m, len(coarse_seen)),
        "jensen_shannon": statistics.jensen_shannon(seen, now),
        "chi_squared_p": statistics.chi_squared_p(seen, now),
    }
    if isinstance(bins, NumericBins):
        found["ks"] = statistics.kolmogorov_smirnov(seen, now)
        found["ks_p"] = statistics.kolmogorov_smirnov_p(found["ks"], n, m)
        found["wasserstein"] = statistics.wasserstein(seen, now, [bins.low, *bins.edges, max(bins.high, bins.low)])
    return found


def _coarse(seen: Counts, now: Counts) -> tuple[Counts, Counts]:
    """Both in about ten bins of like size in ``seen``; as they are where there are not many more."""
    if len(seen) <= 2 * _DECILES:
        return seen, now
    share = np.cumsum(seen) / seen.sum()
    into = np.minimum(np.ceil(share * _DECILES - 1e-9).astype(int), _DECILES) - 1
    into = np.maximum(into, 0)
    return np.bincount(into, seen, _DECILES).astype(np.int64), np.bincount(into, now, _DECILES).astype(np.int64)
