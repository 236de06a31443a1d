"""Measures of a classifier of several classes, from how often each class was taken for each."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Counts = NDArray[np.int64]


def counts(labels: NDArray[np.int64], answers: NDArray[np.int64], n_classes: int) -> Counts:
    """(class, answer) -> rows."""
    found = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(found, (labels, answers), 1)
    return found


def f1(confusion: Counts) -> dict[str, float]:
    """``macro_f1`` (mean over classes), ``weighted_f1`` (by their rows) and ``accuracy``.

    A class that is neither there nor ever answered has no F1 and is left out of the mean; one that is there and never
    answered has 0.
    """
    right, present, answered = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    judged = present + answered > 0
    each = np.where(judged, 2 * right / np.maximum(present + answered, 1), 0.0)
    total = confusion.sum()
    return {
        "macro_f1": float(each[judged].mean()),
        "weighted_f1": float((each * present).sum() / total),
        "accuracy": float(right.sum() / total),
    }


def interval(values: list[float], *, test_share: float) -> tuple[float, float]:
    """Mean of repeats with other held-out rows, and half the width of its 95 % confidence interval.

    Repeats share rows, so their spread alone is too small: corrected as in Nadeau and Bengio, Inference for the
    Generalization Error (Machine Learning 52, 2003), with the share of rows that are held out.
    """
    repeats = len(values)
    variance = float(np.var(values, ddof=1)) * (1 / repeats + test_share / (1 - test_share))
    return float(np.mean(values)), float(stdtrit(repeats - 1, 0.975)) * variance**0.5
