"""Gaussian filters, axis by axis."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.types import Spacing


def as_spacing(spacing: NDArray[np.float64]) -> Spacing:
    """Turn an anatomy's spacing into a triple.

    Args:
        spacing: Three lengths in mm.

    Returns:
        The same.
    """
    return float(spacing[0]), float(spacing[1]), float(spacing[2])


def blur(volume: Tensor, deviations: Sequence[float]) -> Tensor:
    """Blur by a Gaussian, axis by axis; the border is continued.

    Args:
        volume: ``(D, H, W)``.
        deviations: Standard deviation along each axis, in voxels; 0 leaves the axis as it is.

    Returns:
        The blurred volume, ``(D, H, W)``.
    """
    for axis, deviation in enumerate(deviations):
        if deviation > 0.1:
            volume = convolve(volume, gaussian(deviation), axis)
    return volume


def gaussian(deviation: float) -> list[float]:
    """Sample a Gaussian kernel over three standard deviations to either side.

    Args:
        deviation: In voxels, above 0.

    Returns:
        Odd number of weights that sum to 1.
    """
    radius = max(1, round(3 * deviation))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    kernel: list[float] = (weights / weights.sum()).tolist()
    return kernel


def convolve(volume: Tensor, kernel: Sequence[float], axis: int) -> Tensor:
    """Convolve along one axis; the border is continued.

    Args:
        volume: ``(D, H, W)``.
        kernel: Odd number of weights, symmetric.
        axis: 0, 1 or 2.

    Returns:
        The convolved volume, ``(D, H, W)``.
    """
    radius, length = len(kernel) // 2, volume.shape[axis]
    first, last = volume.narrow(axis, 0, 1), volume.narrow(axis, length - 1, 1)
    padded = torch.cat([*[first] * radius, volume, *[last] * radius], dim=axis)
    result = padded.narrow(axis, radius, length) * kernel[radius]
    for step in range(1, radius + 1):
        weight = kernel[radius + step]
        result.add_(padded.narrow(axis, radius - step, length), alpha=weight)
        result.add_(padded.narrow(axis, radius + step, length), alpha=weight)
    return result
