"""How far a volume that should not change does: the coefficient of variation, and Bland and Altman.

The within-subject coefficient of variation is the root of the mean squared relative standard
deviation of each subject's measurements. The limits of agreement (Bland and Altman 1986,
https://doi.org/10.1016/S0140-6736(86)90837-8) hold 95 % of the differences if these are normal;
they are of single cases, not of means.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

LIMIT = 1.96
"""Standard deviations that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Agreement:
    """Differences between two measurements of the same subjects.

    Args:
        bias: Mean of the differences.
        low: Lower limit of agreement.
        high: Upper limit of agreement.
        subjects: Subjects that have both measurements.
    """

    bias: float
    low: float
    high: float
    subjects: int


def within_subject_variation(measurements: NDArray[np.floating]) -> float:
    """Give the within-subject coefficient of variation.

    Args:
        measurements: One row a subject, one column a repetition, ``(S, M)``; `nan` is left out.
            A subject whose mean is 0 or who has fewer than two measurements has no variation.

    Returns:
        As a part of the mean; `nan` if no subject counts.

    Examples:
        >>> round(within_subject_variation(np.array([[9.0, 11.0], [18.0, 22.0]])), 4)
        0.1414
    """
    rows = [row[~np.isnan(row)] for row in measurements]
    relative = [row.var(ddof=1) / row.mean() ** 2 for row in rows if len(row) > 1 and row.mean()]
    return float(np.sqrt(np.mean(relative))) if relative else nan


def limits_of_agreement(first: NDArray[np.floating], second: NDArray[np.floating]) -> Agreement:
    """Compare two measurements of each subject.

    Args:
        first: One a subject, ``(S,)``.
        second: The other, ``(S,)``.

    Returns:
        The agreement of the second with the first; no limits with fewer than two subjects.

    Examples:
        >>> limits_of_agreement(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        Agreement(bias=1.0, low=1.0, high=1.0, subjects=2)
    """
    gaps = second - first
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        return Agreement(nan, nan, nan, 0)
    bias = float(gaps.mean())
    if len(gaps) < 2:
        return Agreement(bias, nan, nan, len(gaps))
    reach = LIMIT * float(gaps.std(ddof=1))
    return Agreement(bias, bias - reach, bias + reach, len(gaps))
