"""Fast filters of whole volumes on one thread: a Gaussian blur, and the closing of gaps."""

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from volseg.types import Spacing

REACH = 2.5
"""A kernel ends after as many standard deviations."""

COARSE = 2.5
"""Gaps are closed on a grid of about this spacing, in mm."""


def blur(volume: Tensor, sigma: float, spacing: Spacing) -> Tensor:
    """Blur a volume with a Gaussian, its border continued.

    Args:
        volume: ``(D, H, W)``.
        sigma: Standard deviation, in mm.
        spacing: Voxel edge along each axis, in mm.

    Returns:
        The blurred volume, ``(D, H, W)``.
    """
    for axis, edge in enumerate(spacing):
        volume = blur_axis(volume, sigma / edge, axis)
    return volume


def blur_axis(volume: Tensor, sigma: float, axis: int) -> Tensor:
    """Blur a volume with a Gaussian along one axis, its border continued.

    Args:
        volume: ``(D, H, W)``.
        sigma: Standard deviation, in voxels; below 0.15 the neighbours' share is less than
            1e-10 and nothing is done.
        axis: Which axis.

    Returns:
        The blurred volume, ``(D, H, W)``.
    """
    if sigma < 0.15:
        return volume
    radius = min(ceil(REACH * sigma), volume.shape[axis] - 1)
    weights = torch.exp(-0.5 * (torch.arange(radius + 1) / sigma) ** 2)
    weights = weights / (2 * weights.sum() - weights[0])
    length = volume.shape[axis]
    first = volume.narrow(axis, 0, 1)
    last = volume.narrow(axis, length - 1, 1)
    counts = [-1, -1, -1]
    counts[axis] = radius
    padded = torch.cat([first.expand(counts), volume, last.expand(counts)], dim=axis)
    total = volume * float(weights[0])
    for shift in range(1, radius + 1):
        weight = float(weights[shift])
        total.add_(padded.narrow(axis, radius - shift, length), alpha=weight)
        total.add_(padded.narrow(axis, radius + shift, length), alpha=weight)
    return total


def close_gaps(mask: Tensor, width: float, spacing: Spacing) -> Tensor:
    """Fill the gaps of a mask that are narrower than a width, on a coarse grid.

    Args:
        mask: ``(D, H, W)``, boolean.
        width: Widest gap that is filled, in mm.
        spacing: Voxel edge along each axis, in mm.

    Returns:
        A mask that holds the given one, ``(D, H, W)``, boolean.
    """
    steps = [max(1, round(COARSE / edge)) for edge in spacing]
    radii = [
        max(1, round(width / 2 / (edge * step))) for edge, step in zip(spacing, steps, strict=True)
    ]
    coarse = functional.avg_pool3d(mask[None, None].float(), steps, ceil_mode=True)[0, 0] >= 0.5
    border = [r for radius in reversed(radii) for r in (radius, radius)]
    grown = _dilate(functional.pad(coarse, border), radii)
    shrunk = ~_dilate(~grown, radii)
    window = tuple(slice(r, r + n) for r, n in zip(radii, coarse.shape, strict=True))
    closed = shrunk[window].float()
    size = [n * step for n, step in zip(closed.shape, steps, strict=True)]
    fine = functional.interpolate(closed[None, None], size=size, mode="trilinear")[0, 0] > 0.5
    return fine[tuple(slice(n) for n in mask.shape)] | mask


def _dilate(mask: Tensor, radii: list[int]) -> Tensor:
    """Grow a mask by a ball, as a sum of boxes and diamonds would: one voxel at a time."""
    mask = mask.clone()
    for step in range(max(radii)):
        before = mask.clone()
        for axis in range(3):
            if step >= radii[axis]:
                continue
            length = mask.shape[axis]
            source = before if step % 2 == 0 else mask.clone()
            mask.narrow(axis, 1, length - 1).logical_or_(source.narrow(axis, 0, length - 1))
            mask.narrow(axis, 0, length - 1).logical_or_(source.narrow(axis, 1, length - 1))
    return mask
