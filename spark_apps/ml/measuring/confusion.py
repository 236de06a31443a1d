"""Measures of a classifier of several classes, from how often each class was taken for each."""

import numpy as np
from numpy.typing import NDArray

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
