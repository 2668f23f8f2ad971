"""Scores of class probabilities: by scikit-learn for all samples, by counting for each draw.

A bootstrap scores thousands of draws; scikit-learn checks its input each time, which takes many
times as long as counting.
"""

from collections.abc import Sequence
from math import nan

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, roc_auc_score

Weights = NDArray[np.floating] | None


def balanced_accuracy(
    truth: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Weights = None
) -> float:
    """Give the mean over classes of the share that was recognised.

    Args:
        truth: Class of each sample, from 0.
        probabilities: Of each class, ``(N, K)``.
        weights: How much each sample counts.

    Returns:
        0 to 1; `nan` if a class does not occur.
    """
    table = _confusion(truth, probabilities, weights)
    totals = table.sum(axis=1)
    if not (totals > 0).all():
        return nan
    if weights is None:
        return float(balanced_accuracy_score(truth, probabilities.argmax(1)))
    return float((table.diagonal() / totals).mean())


def area_under_curve(
    truth: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Weights = None
) -> float:
    """Give the area under the ROC curve, the mean over classes of each against all others.

    Args:
        truth: Class of each sample, from 0.
        probabilities: Of each class, ``(N, K)``.
        weights: How much each sample counts.

    Returns:
        0 to 1, 0.5 by chance; `nan` if a class does not occur, or no other.
    """
    count = probabilities.shape[1]
    found = np.bincount(truth, weights, minlength=count)
    if not (found > 0).all() or count < 2:
        return nan
    each = [
        roc_auc_score(truth == value, probabilities[:, value])
        if weights is None
        else _area(truth == value, probabilities[:, value], weights)
        for value in range(count)
    ]
    return float(np.mean(each))


def quadratic_kappa(
    truth: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Weights = None
) -> float:
    """Give the quadratically weighted agreement of grades, corrected for chance.

    Cohen 1968, https://doi.org/10.1037/h0026256: an error of two grades counts four times as much
    as one of one grade.

    Args:
        truth: Grade of each sample, from 0.
        probabilities: Of each grade, ``(N, K)``; the most probable one counts.
        weights: How much each sample counts.

    Returns:
        1: all right; 0: as by chance; `nan` if there is but one grade.
    """
    table = _confusion(truth, probabilities, weights)
    grades = np.arange(len(table))
    cost = (grades[:, None] - grades) ** 2
    by_chance = (np.outer(table.sum(1), table.sum(0)) * cost).sum() / table.sum()
    if by_chance <= 0:
        return nan
    if weights is None:
        predicted = probabilities.argmax(1)
        return float(
            cohen_kappa_score(truth, predicted, labels=grades.tolist(), weights="quadratic")
        )
    return float(1 - (table * cost).sum() / by_chance)


def encode(labels: Sequence[str], *, is_graded: bool) -> tuple[NDArray[np.int64], list[str]]:
    """Number the classes.

    Args:
        labels: Label of each sample.
        is_graded: Whether labels are numbers whose order counts.

    Returns:
        Class of each sample, and the name of each class.
    """
    names = sorted(set(labels), key=float if is_graded else str)
    index = {name: number for number, name in enumerate(names)}
    return np.array([index[label] for label in labels], dtype=np.int64), names


def _confusion(
    truth: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Weights
) -> NDArray[np.floating]:
    """Count, rows true, columns predicted."""
    count = probabilities.shape[1]
    cells = truth * count + probabilities.argmax(1)
    counts = np.bincount(cells, weights, minlength=count**2)
    return counts.astype(float).reshape(count, count)


def _area(
    is_positive: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.floating]
) -> float:
    """Give the weighted share of pairs that are in order; equals count half."""
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights * is_positive)
    negative = np.bincount(place, weights * ~is_positive)
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / pairs)
