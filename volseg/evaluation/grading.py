"""How much lesion a mask holds, and which grade that is.

The load is a volume, or the share of an organ that the lesion takes, which is how the extent of
pneumonia on CT is graded (Li et al. 2020, https://doi.org/10.1007/s00330-020-06817-6, and others).
Where the grades begin is for the user to say: by thresholds, or by quantiles of the cases at hand.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np

from volseg.errors import DataError
from volseg.evaluation.pairs import read_labels


@dataclass(frozen=True)
class Load:
    """How much lesion there is.

    Args:
        ml: Volume of the lesion, in mL.
        organ_ml: Volume of the organ, lesion included, in mL; `nan` if no organ was named.
    """

    ml: float
    organ_ml: float = nan

    @property
    def share(self) -> float:
        """Give the share of the organ that is lesion; `nan` if there is no organ."""
        return self.ml / self.organ_ml if self.organ_ml > 0 else nan


def measure_load(
    mask: Path, lesion: Collection[int] | None = None, organ: Collection[int] = ()
) -> Load:
    """Measure the load of a mask.

    Args:
        mask: The file.
        lesion: Label values that are lesion; `None`: all but 0.
        organ: Label values of the organ around it; lesion counts to it in any case.

    Returns:
        The load.
    """
    labels, affine = read_labels(mask)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    is_lesion = labels > 0 if lesion is None else np.isin(labels, list(lesion))
    ml = np.count_nonzero(is_lesion) * voxel_ml
    if not organ:
        return Load(ml)
    return Load(ml, np.count_nonzero(is_lesion | np.isin(labels, list(organ))) * voxel_ml)


def quantile_thresholds(values: Sequence[float], grades: int) -> list[float]:
    """Divide cases into grades of about equal number.

    Args:
        values: Load of each case.
        grades: How many.

    Returns:
        The least load of each grade but the first.

    Raises:
        DataError: If the loads do not differ enough.

    Examples:
        >>> quantile_thresholds([1, 2, 3, 4, 5, 6], 3)
        [2.6666666666666665, 4.333333333333333]
    """
    if grades < 2:
        raise DataError(f"{grades} grade(s) tell nothing apart; use 2 or more")
    edges = [float(np.quantile(values, part / grades)) for part in range(1, grades)]
    if len(set(edges)) < len(edges) or edges[0] <= min(values):
        raise DataError(
            f"the loads of {len(values)} cases are too alike for {grades} grades; give thresholds"
        )
    return edges


def grade_of(value: float, thresholds: Sequence[float]) -> int:
    """Give the grade of a load.

    Args:
        value: The load.
        thresholds: The least load of each grade but the first, rising.

    Returns:
        The grade, from 0.

    Raises:
        DataError: If the thresholds do not rise, or the load is not a number.

    Examples:
        >>> [grade_of(load, [1.0, 5.0]) for load in (0.2, 1.0, 7.5)]
        [0, 1, 2]
    """
    if any(later <= earlier for earlier, later in pairwise(thresholds)):
        raise DataError(f"thresholds are {list(thresholds)}; give them rising")
    if not np.isfinite(value):
        raise DataError(f"a load is {value}; its mask holds no organ")
    return int(np.searchsorted(list(thresholds), value, side="right"))
