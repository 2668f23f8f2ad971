"""Where windows stand along an axis, and how they share its voxels.

The weight of a window is a product of one factor an axis, so the factors can be divided by their
sums beforehand. The products then add up to one at every voxel: no map of counts, no division
afterwards.
"""

from math import ceil

import torch
from torch import Tensor

SIGMA = 0.125
"""Standard deviation of the weight as a fraction of the window, as in nnU-Net and MONAI."""

SMALLEST_WEIGHT = 0.1
"""Floor of the weight of one axis before normalisation: a corner counts a thousandth of a centre.

MONAI has the floor 0.001 on the product of the axes, which could not be normalised axis by axis.
"""


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Place windows along an axis, evenly, from its first voxel to its last.

    Args:
        length: Voxels of the axis, at least ``window``.
        window: Voxels of a window.
        overlap: Least fraction of a window that it shares with the next.

    Returns:
        First voxel of each window, ascending.

    Examples:
        >>> window_starts(10, 4, overlap=0.5)
        [0, 2, 4, 6]
        >>> window_starts(9, 4, overlap=0.0)
        [0, 2, 5]
    """
    step = max(1, int(window * (1 - overlap)))
    steps = ceil((length - window) / step)
    return [round(index * (length - window) / max(steps, 1)) for index in range(steps + 1)]


def axis_weights(length: int, window: int, starts: list[int]) -> Tensor:
    """Share out every voxel of an axis between the windows that contain it.

    Args:
        length: Voxels of the axis.
        window: Voxels of a window.
        starts: First voxel of each window; together the windows cover the axis.

    Returns:
        Weights, ``(windows, window)``, that sum to one at every voxel of the axis.
    """
    offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weight = torch.exp(-0.5 * (offsets / (SIGMA * window)) ** 2).clamp_min(SMALLEST_WEIGHT)
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + window] += weight
    shares = [weight / total[start : start + window] for start in starts]
    return torch.stack(shares).float()
