"""How unsure a network is of a whole case, from its maps alone."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

REACH = 2
"""How far around the mask the entropy counts, in voxels: errors are at borders."""


def describe_certainty(chances: NDArray[np.floating]) -> dict[str, float]:
    """Say how sure a network is of a case.

    Args:
        chances: Probability of each class, ``(X, Y, Z, K)``.

    Returns:
        ``expected_dice``, the mean over the classes found of the Dice that the mask would have if
        the probabilities were true, ``2 sum(p m) / (sum(p) + sum(m))``; ``confidence``, the mean
        probability of the chosen class within the mask; ``entropy``, its mean within and around
        the mask as a share of the greatest. A case without a mask has 0, 0 and 1, so that it is
        looked at first.

    Examples:
        >>> chances = np.zeros((5, 5, 5, 2))
        >>> chances[2, 2, 2] = 0.2, 0.8
        >>> round(describe_certainty(chances)["expected_dice"], 3)
        0.889
    """
    labels = chances.argmax(-1)
    found = [value for value in range(1, chances.shape[-1]) if (labels == value).any()]
    if not found:
        return {"expected_dice": 0.0, "confidence": 0.0, "entropy": 1.0}
    scores = []
    for value in found:
        chance, mask = chances[..., value], labels == value
        scores.append(2 * chance[mask].sum() / (chance.sum() + mask.sum()))
    safe = np.clip(chances, 1e-12, 1)
    entropy = -(chances * np.log(safe)).sum(-1) / np.log(chances.shape[-1])
    return {
        "expected_dice": float(np.mean(scores)),
        "confidence": float(chances.max(-1)[labels > 0].mean()),
        "entropy": mean_around(entropy, labels),
    }


def mean_around(values: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Give the mean of a map within and around a mask.

    Args:
        values: The map.
        labels: The mask; where it is empty, all of the map counts.

    Returns:
        The mean.
    """
    if not labels.any():
        return float(values.mean())
    return float(values[binary_dilation(labels > 0, iterations=REACH)].mean())


def uncertainty_of(certainty: Mapping[str, float]) -> float:
    """Give the number by which cases are sorted.

    Args:
        certainty: Any of ``expected_dice``, ``entropy`` and ``variance``; the first that is there
            counts.

    Returns:
        Larger is less sure.
    """
    if "expected_dice" in certainty:
        return 1 - certainty["expected_dice"]
    return next(certainty[key] for key in ("entropy", "variance") if key in certainty)
