"""How well a score puts what is sought above the rest: areas under two curves.

Both are taken from the ranks, ties counted half (ROC) or together (precision), without a threshold
that somebody would have to choose. With rare lesions the area under the ROC curve looks good at
once; that under the precision-recall curve starts from the share of lesion voxels.
"""

from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def roc_area(scores: NDArray[np.floating], is_sought: NDArray[np.bool_]) -> float:
    """Give the probability that a sought item scores higher than another.

    Args:
        scores: One an item.
        is_sought: Which of them are sought.

    Returns:
        The area under the ROC curve; `nan` if all items are of one kind.

    Examples:
        >>> roc_area(np.array([1.0, 2.0, 2.0]), np.array([False, False, True]))
        0.75
    """
    count = int(is_sought.sum())
    others = is_sought.size - count
    if not count or not others:
        return nan
    ranks = stats.rankdata(scores)
    return float((ranks[is_sought].sum() - count * (count + 1) / 2) / (count * others))


def average_precision(scores: NDArray[np.floating], is_sought: NDArray[np.bool_]) -> float:
    """Give the area under the precision-recall curve, as steps.

    Args:
        scores: One an item.
        is_sought: Which of them are sought.

    Returns:
        The mean precision at each sought item; `nan` if none is sought.

    Examples:
        >>> average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
        0.8333333333333333
    """
    if not is_sought.any():
        return nan
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_sought[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    found = hits[ends]
    precision = found / (ends + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / hits[-1])
