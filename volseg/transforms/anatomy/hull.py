"""The hull of a brain, its sulci filled, and how deep a voxel lies below it.

The brain is closed by a ball (dilated, then eroded) through distances on a grid of about 2 mm; the
same distances tell the depth. What is depth to the 2 mm grid is then interpolated.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import DEPTH_STEP

CLOSING = 9.0
"""Radius of the ball that fills the sulci, in mm: fissures are up to about 18 mm wide."""

COARSE = 2.0
"""Edge of the voxels on which distances are computed, in mm, where the image's are finer."""


class Box(NamedTuple):
    """A box of voxels: the first along each axis, and the first beyond it."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def window(self) -> tuple[slice, slice, slice]:
        """Slices that cut the box out."""
        first, second, third = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return first, second, third


def find_box(mask: Tensor) -> Box | None:
    """Find the box that holds all marked voxels.

    Args:
        mask: ``(D, H, W)``, bool.

    Returns:
        The box; `None` if nothing is marked.
    """
    start, stop = [], []
    plain = mask.numpy()
    for axis in range(3):
        marked = np.flatnonzero(plain.any(axis=tuple(each for each in range(3) if each != axis)))
        if not len(marked):
            return None
        start.append(int(marked[0]))
        stop.append(int(marked[-1]) + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def coarse_factors(spacing: NDArray[np.float64]) -> tuple[int, int, int]:
    """Say how many voxels along each axis make one of about 2 mm.

    Args:
        spacing: Voxel edge along each axis, in mm.

    Returns:
        The number along each axis, at least 1.
    """
    first, second, third = (max(1, round(COARSE / float(edge))) for edge in spacing)
    return first, second, third


def shrink(mask: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Give the share of each coarse voxel that is marked.

    Args:
        mask: ``(D, H, W)``, bool; beyond its end nothing is marked.
        factors: Voxels in a coarse one along each axis.

    Returns:
        ``(d, h, w)``, float32, 0 to 1.
    """
    padding = [0, 0, 0, 0, 0, 0]
    for axis, factor in enumerate(factors):
        padding[5 - 2 * axis] = -mask.shape[axis] % factor
    padded = functional.pad(mask.float(), padding)[None]
    return functional.avg_pool3d(padded, factors)[0]


def grow(coarse: Tensor, factors: tuple[int, int, int], size: tuple[int, int, int]) -> Tensor:
    """Interpolate what `shrink` made coarse back to the voxels.

    Args:
        coarse: ``(d, h, w)``, float32.
        factors: Voxels in a coarse one along each axis.
        size: Voxels along each axis.

    Returns:
        ``(D, H, W)``, float32.
    """
    full = [count * factor for count, factor in zip(coarse.shape, factors, strict=True)]
    fine = functional.interpolate(coarse[None, None], size=full, mode="trilinear")[0, 0]
    return fine[tuple(slice(0, count) for count in size)]


def spread(coarse: Tensor, factors: tuple[int, int, int], size: tuple[int, int, int]) -> Tensor:
    """Repeat each coarse voxel over the voxels that it stands for.

    Args:
        coarse: ``(d, h, w)``.
        factors: Voxels in a coarse one along each axis.
        size: Voxels along each axis.

    Returns:
        ``(D, H, W)``.
    """
    for axis, factor in enumerate(factors):
        if factor > 1:
            coarse = coarse.repeat_interleave(factor, dim=axis)
    return coarse[: size[0], : size[1], : size[2]]


def coarse_affine(
    affine: NDArray[np.float64], factors: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Give the affine of the coarse voxels.

    Args:
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        factors: Voxels in a coarse one along each axis.

    Returns:
        From coarse voxel indices to RAS mm, ``(4, 4)``.
    """
    coarse: NDArray[np.float64] = np.array(affine, dtype=np.float64)
    coarse[:3, 3] += affine[:3, :3] @ ((np.asarray(factors) - 1) / 2)
    coarse[:3, :3] = affine[:3, :3] * np.asarray(factors)
    return coarse


def size_of(volume: Tensor) -> tuple[int, int, int]:
    """Give the voxels along each axis.

    Args:
        volume: ``(D, H, W)``.

    Returns:
        D, H and W.
    """
    first, second, third = volume.shape
    return first, second, third


def hull_depth(brain: Tensor, spacing: NDArray[np.float64], closing: float = CLOSING) -> Tensor:
    """Tell how deep each voxel lies below the brain's hull.

    Args:
        brain: The brain's own voxels in the box that holds them, ``(D, H, W)``, bool.
        spacing: Voxel edge along each axis, in mm.
        closing: Radius of the ball that fills the sulci, in mm.

    Returns:
        Depth in steps of 0.5 mm, at most 255; 0 outside the hull, ``(D, H, W)``, uint8.
    """
    factors = coarse_factors(spacing)
    edges = spacing * np.asarray(factors)
    margin = [int(np.ceil(closing / edge)) + 2 for edge in edges]
    coarse = shrink(brain, factors).numpy() >= 0.5
    padded = np.pad(coarse, [(each, each) for each in margin])
    signed = _closed_distance(padded, edges, closing)
    window = tuple(slice(a, a + b) for a, b in zip(margin, coarse.shape, strict=True))
    surface = torch.from_numpy(np.ascontiguousarray(signed[window], dtype=np.float32))
    fine = grow(surface, factors, size_of(brain)) + float(spacing.min()) / 2
    steps = (fine / DEPTH_STEP).round_().clamp_(0, 255).to(torch.uint8)
    return torch.where(brain & (steps == 0), torch.ones_like(steps), steps)


def _closed_distance(
    brain: NDArray[np.bool_], edges: NDArray[np.float64], closing: float
) -> NDArray[np.float64]:
    """Give the distance to the closed brain's surface, positive within."""
    half = float(edges.min()) / 2
    near = ndimage.distance_transform_edt(~brain, sampling=edges) <= closing + half
    inside: NDArray[np.float64] = ndimage.distance_transform_edt(near, sampling=edges)
    return inside - half - closing
