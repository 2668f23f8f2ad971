"""Is a network right as often as it is sure? The calibration error, and a temperature to mend it.

Guo et al. 2017, https://arxiv.org/abs/1706.04599. Most voxels of a volume are background of which
every network is sure, so the error over all voxels is near 0 whatever the network does; here only
voxels near a predicted or true structure count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.optimize import minimize_scalar

from volseg.errors import DataError

BINS = 15
REACH = 3
"""How far around a structure voxels count, in voxels."""

VOXELS = 20_000
"""Most voxels of a case; they are drawn without replacement."""

LEAST = 1e-6
"""Smaller probabilities count as this: maps are stored in 65535 steps."""


@dataclass(frozen=True)
class Voxels:
    """Voxels of one case.

    Args:
        chances: Probability of each class, ``(N, K)``.
        truth: True class, ``(N,)``.
    """

    chances: NDArray[np.floating]
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Voxels of about equal confidence.

    Args:
        confidence: Their mean probability of the chosen class.
        accuracy: How many of them are right.
        share: How many of all voxels they are.
    """

    confidence: float
    accuracy: float
    share: float


def near_structures(
    chances: NDArray[np.floating], reference: NDArray[np.int64], seed: int = 0
) -> Voxels:
    """Take voxels near a predicted or true structure.

    Args:
        chances: Probability of each class, ``(X, Y, Z, K)``.
        reference: True classes, ``(X, Y, Z)``.
        seed: Of the draw, where there are too many.

    Returns:
        The voxels.

    Raises:
        DataError: If the shapes or the classes do not fit.
    """
    if chances.shape[:3] != reference.shape or reference.max(initial=0) >= chances.shape[3]:
        raise DataError(
            f"probabilities have shape {chances.shape}, the reference {reference.shape} with values"
            f" up to {reference.max(initial=0)}; give those of the same grid and classes"
        )
    is_structure = (chances.argmax(-1) > 0) | (reference > 0)
    is_near = binary_dilation(is_structure, iterations=REACH)
    index = np.flatnonzero(is_near.ravel())
    if len(index) > VOXELS:
        index = np.random.default_rng(seed).choice(index, VOXELS, replace=False)
    flat = chances.reshape(-1, chances.shape[3])
    return Voxels(flat[index].astype(np.float64), reference.ravel()[index])


def temper(chances: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Divide logits by a temperature.

    Args:
        chances: Probabilities, ``(N, K)``; their logarithms are logits.
        temperature: Above 1: less sure; below: surer. The chosen class stays.

    Returns:
        Probabilities, ``(N, K)``.
    """
    logits = np.log(np.clip(chances, LEAST, 1)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.floating] = raised / raised.sum(axis=1, keepdims=True)
    return result


def fit_temperature(cases: Sequence[Voxels]) -> float:
    """Find the temperature at which the true classes are most probable.

    Args:
        cases: Voxels of some cases; each case weighs the same.

    Returns:
        The temperature, 0.05 to 20.

    Raises:
        DataError: If there is no voxel.
    """
    known = [case for case in cases if len(case.truth)]
    if not known:
        raise DataError("no case has a structure, predicted or true; nothing can be calibrated")

    def loss(log_temperature: float) -> float:
        each = []
        for case in known:
            tempered = temper(case.chances, float(np.exp(log_temperature)))
            true = tempered[np.arange(len(case.truth)), case.truth]
            each.append(-np.log(np.maximum(true, LEAST)).mean())
        return float(np.mean(each))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def calibration_error(cases: Sequence[Voxels], bins: int = BINS) -> tuple[float, list[Bin]]:
    """Compare confidence with accuracy.

    Args:
        cases: Voxels of the cases.
        bins: Intervals of confidence of equal width.

    Returns:
        The expected calibration error, which is the mean distance of confidence and accuracy over
        voxels; and the bins that hold any.
    """
    chances = np.concatenate([case.chances for case in cases])
    truth = np.concatenate([case.truth for case in cases])
    confidence, is_right = chances.max(axis=1), chances.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found = [
        Bin(
            float(confidence[place == number].mean()),
            float(is_right[place == number].mean()),
            float((place == number).mean()),
        )
        for number in np.unique(place)
    ]
    return sum(each.share * abs(each.confidence - each.accuracy) for each in found), found
