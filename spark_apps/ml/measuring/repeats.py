"""What a few repeats of a measurement say about its mean."""

import numpy as np
from scipy.special import stdtrit


def interval(values: list[float], *, test_share: float) -> tuple[float, float]:
    """Mean of repeats with other held-out rows, and half the width of its 95 % confidence interval.

    Repeats share rows, so their spread alone is too small: corrected as in Nadeau and Bengio, Inference for the
    Generalization Error (Machine Learning 52, 2003), with the share of rows that are held out.
    """
    repeats = len(values)
    variance = float(np.var(values, ddof=1)) * (1 / repeats + test_share / (1 - test_share))
    return float(np.mean(values)), float(stdtrit(repeats - 1, 0.975)) * variance**0.5
