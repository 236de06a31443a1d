"""Is the champion still as good as on its holdout? With labels by a test that may be asked every day, and without."""

from collections.abc import Sequence
from math import erfc, exp, inf, sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

#: Fewer blocks of the holdout do not say how much the loss of one differs from the next.
MIN_BLOCKS = 10
#: Weight of the mixture: largest power near a growth of one standard deviation of a block after twenty of them.
_RHO_SQUARED = 0.05
#: Beyond it exp() overflows, and there is no doubt left.
_CERTAIN = 700.0


class LossGrowth(BaseModel):
    """The champion's mean loss on rows with labels that it did not know, beside that on its holdout.

    ``evidence`` is an e-value: without growth it exceeds 1 / alpha with a chance of at most alpha, whenever and however
    often one looks. Infinite where there is no doubt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    holdout: float
    now: float
    rows: int
    blocks: int
    evidence: float
    is_drift: bool

    @property
    def growth(self) -> float:
        """Of the mean loss, as a share of that on the holdout."""
        return self.now / self.holdout - 1 if self.holdout > 0 else 0.0


def grown(
    holdout: Sequence[tuple[float, int]], now: Sequence[tuple[float, int]], *, min_growth: float, alpha: float
) -> LossGrowth | None:
    """Compare blocks of losses (sum, rows), in the order of time; None where the holdout has too few
    blocks or there are no new ones.

    Without drift the mean loss of a block is at most ``(1 + min_growth)`` times that of the holdout. The excesses, in
    standard deviations of the holdout's blocks, are summed; a normal mixture over how much they may grow makes a
    supermartingale of the sum (Robbins, Annals of Mathematical Statistics 41, 1970; Howard et al., Annals of Statistics
    49, 2021, one-sided mixture), whose maximum Ville's inequality bounds. The mean of the holdout is uncertain by
    its standard error, which is added to what is allowed.
    """
    before, after = _blocks(holdout), _blocks(now)
    if len(before) < MIN_BLOCKS or not len(after):
        return None
    mean = float(before[:, 0].sum() / before[:, 1].sum())
    per_block = before[:, 0] / before[:, 1]
    deviation = float(per_block.std(ddof=1))
    allowed = mean * (1 + min_growth) + deviation / sqrt(len(before))
    excess = (after[:, 0] / after[:, 1] - allowed) / max(deviation, 1e-12 * max(abs(mean), 1.0))
    evidence = max((_evidence(total, n) for n, total in enumerate(np.cumsum(excess), start=1)), default=1.0)
    return LossGrowth(
        holdout=mean, now=float(after[:, 0].sum() / after[:, 1].sum()), rows=int(after[:, 1].sum()), blocks=len(after),
        evidence=evidence, is_drift=evidence >= 1 / alpha,
    )  # fmt: skip


def _blocks(found: Sequence[tuple[float, int]]) -> NDArray[np.float64]:
    return np.array([pair for pair in found if pair[1]], dtype=float).reshape(-1, 2)


def _evidence(total: float, n: int) -> float:
    """The one-sided normal mixture of ``n`` standardized excesses that sum to ``total``."""
    spread = 1 + _RHO_SQUARED * n
    exponent = _RHO_SQUARED * total**2 / (2 * spread)
    share_above = erfc(-total * sqrt(_RHO_SQUARED / (2 * spread))) / 2
    if exponent > _CERTAIN:
        return inf if total > 0 else 0.0
    return 2 / sqrt(spread) * exp(exponent) * share_above


class Expected(BaseModel):
    """What a calibrated classifier's own probabilities say about its quality, without a label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    positive_share: float
    roc_auc: float
    log_loss: float
    brier: float


def expected(scores: Sequence[float], rows: Sequence[int]) -> Expected | None:
    """From probabilities (ascending, means of narrow bins) and the rows at each; None without rows.

    If a row with probability p is positive with probability p, these are the expected scores: the idea of
    confidence-based performance estimation (Garg et al., Leveraging unlabeled data to predict out-of-distribution
    performance, 2022). They hold as long as the champion is calibrated: a changed relation of features and label
    cannot be seen here.
    """
    p, n = np.asarray(scores, dtype=float), np.asarray(rows, dtype=float)
    total = float(n.sum())
    if not total:
        return None
    inner = np.clip(p, 1e-12, 1 - 1e-12)
    positive, negative = n * p, n * (1 - p)
    below = np.cumsum(negative) - negative
    pairs = float(positive.sum() * negative.sum())
    auc = float((positive * (below + negative / 2)).sum()) / pairs if pairs else 0.5
    entropy = -(p * np.log(inner) + (1 - p) * np.log1p(-inner))
    return Expected(
        rows=int(total), positive_share=float(positive.sum()) / total, roc_auc=auc,
        log_loss=float((n * entropy).sum()) / total, brier=float((n * p * (1 - p)).sum()) / total,
    )  # fmt: skip
