"""Where the brain is in a scan of which nothing else is known.

A scan whose skull was removed says so itself: its background is one constant, and what is left is
no larger than a brain. In a whole head a surface swells from within the upper part of the head
until it meets the skull. Both work on any MR contrast, since bone is dark in all of them; neither
is a substitute for a segmentation.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.anatomy.hull import (
    coarse_affine,
    coarse_factors,
    grow,
    shrink,
    size_of,
    spread,
)
from volseg.transforms.anatomy.surface import Brightness, Surface, fill, sphere, swell

PITCH = 2.0
"""Edge of the isotropic voxels on which a brain is looked for, in mm."""

LARGEST_BRAIN_ML = 2150.0
SMALLEST_BRAIN_ML = 150.0
"""What is left of a scan without its skull has between these volumes."""

CONSTANT_SHARE = 0.25
"""At least this share of a scan without its skull is the one value of the background."""

START_BELOW_VERTEX = 75.0
"""The surface starts this far below the top of the head, in mm."""

HEAD_HEIGHT = 120.0
"""The middle of a head is that of its uppermost part, of this height, in mm."""

START_RADIUS = 38.0
VERTICES = 642

OVERHANG = 8.0
"""Beyond its ends a scan is taken to go on as it ends for this many mm."""

FRACTIONS = (0.5, 0.65, 0.8)
"""Thresholds that are tried in turn, as fractions of the brightness nearby."""

SCALP = 8.0
"""Skull and scalp together are taken to be at least this thick, in mm."""

LARGEST_SURFACE_ML = 1950.0
"""A surface that holds more has left the skull, and a stricter threshold is tried."""


@dataclass(frozen=True)
class Grid:
    """An isotropic grid along RAS, and the scan on it.

    Args:
        image: ``(D, H, W)``, float32.
        is_seen: Whether the scan covers a voxel, ``(D, H, W)``, bool.
        origin: RAS mm of its first voxel.
    """

    image: NDArray[np.float32]
    is_seen: NDArray[np.bool_]
    origin: NDArray[np.float64]


def estimate_brain(image: Tensor, affine: NDArray[np.float64]) -> Tensor:
    """Estimate where the brain is in an MR scan of any contrast.

    Args:
        image: ``(D, H, W)``; voxels that are not finite count as background.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        Mask of the brain, its inner and outer fluid partly included, ``(D, H, W)``, bool.

    Raises:
        DataError: If the scan is constant, or no brain is found in it.
    """
    if image.ndim != 3:
        raise DataError(f"the image has the shape {tuple(image.shape)}; use (D, H, W)")
    affine = np.asarray(affine, dtype=np.float64)
    values = torch.nan_to_num(image.detach().cpu().float(), nan=0.0, posinf=0.0, neginf=0.0)
    if float(values.min()) == float(values.max()):
        raise DataError(f"the image is {float(values.min()):g} everywhere; no brain is in it")
    brain = find_stripped(values, affine)
    if brain is None:
        brain = _find_in_head(values, affine)
    if not bool(brain.any()):
        raise DataError("no brain was found in the image; give a mask or a label map")
    return brain


def find_stripped(image: Tensor, affine: NDArray[np.float64]) -> Tensor | None:
    """Find the brain of a scan from which everything else was removed.

    Args:
        image: ``(D, H, W)``, finite.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        Mask of the brain with its holes filled, ``(D, H, W)``, bool; `None` if the scan shows more
        than a brain, or less.
    """
    thinned = image[::3, ::3, ::3]
    levels, counts = torch.unique(thinned, return_counts=True)
    background = levels[counts.argmax()]
    if int(counts.max()) < CONSTANT_SHARE * thinned.numel():
        return None
    reach = float(torch.quantile((thinned - background).abs().flatten()[:1_000_000], 0.99))
    shown = (image - background).abs() > 0.02 * reach
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    factors = coarse_factors(np.linalg.norm(affine[:3, :3], axis=0))
    solid = ndimage.binary_fill_holes(_largest(shrink(shown, factors).numpy() > 0.3))
    volume = float(solid.sum()) * voxel_ml * int(np.prod(factors))
    if not SMALLEST_BRAIN_ML <= volume <= LARGEST_BRAIN_ML:
        return None
    return spread(torch.from_numpy(solid), factors, size_of(image))


def _find_in_head(image: Tensor, affine: NDArray[np.float64]) -> Tensor:
    """Let a surface swell in a head, anew from a stricter threshold while it leaves the skull."""
    grid = _resample(image, affine)
    low, high = _thresholds(grid.image[grid.is_seen])
    head = _find_head(grid, low + 0.1 * (high - low))
    centre = _centre(head)
    near = np.linalg.norm(np.argwhere(head) * PITCH - centre, axis=1) < START_RADIUS
    middle = float(np.median(grid.image[head][near])) if near.any() else high
    start = sphere(VERTICES)
    begun = Surface(start.vertices * START_RADIUS + centre, start.triangles)
    grid.image[_below_scalp(head, grid.is_seen) < SCALP] = low
    for fraction in FRACTIONS:
        surface = swell(grid.image, PITCH, begun, Brightness(low, high, middle, fraction))
        if surface.volume_ml() <= LARGEST_SURFACE_ML:
            break
    return _bring_back(surface, grid, image, affine)


def _below_scalp(head: NDArray[np.bool_], is_seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the distance of each voxel to the air around the head, in mm."""
    solid = head.copy()
    for index in range(head.shape[2]):
        solid[:, :, index] = ndimage.binary_fill_holes(head[:, :, index])
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(solid | ~is_seen, sampling=PITCH)
    return distance


def _resample(image: Tensor, affine: NDArray[np.float64]) -> Grid:
    """Bring a scan to isotropic voxels along RAS; beyond its ends it goes on as it ends."""
    factors = coarse_factors(np.linalg.norm(affine[:3, :3], axis=0))
    coarse = shrink(image, factors).numpy()
    matrix = coarse_affine(affine, factors)
    corners = np.stack(np.meshgrid(*[(0, count - 1) for count in coarse.shape]), -1).reshape(-1, 3)
    places = corners @ matrix[:3, :3].T + matrix[:3, 3]
    origin = places.min(axis=0)
    shape = tuple(np.ceil((places.max(axis=0) - origin) / PITCH).astype(int) + 1)
    inverse = np.linalg.inv(matrix)
    way = (inverse[:3, :3] * PITCH, inverse[:3, :3] @ origin + inverse[:3, 3], shape)
    values = ndimage.affine_transform(coarse, *way, order=1, mode="nearest")
    ones = np.ones(coarse.shape, dtype=np.uint8)
    is_seen = ndimage.affine_transform(ones, *way, order=0, mode="grid-constant") > 0
    beyond = ndimage.distance_transform_edt(~is_seen, sampling=PITCH)
    values[beyond > OVERHANG] = coarse.min()
    return Grid(values.astype(np.float32), is_seen, origin)


def _thresholds(values: NDArray[np.float32]) -> tuple[float, float]:
    """Give what is below and above nearly all voxels (Smith 2002, t2 and t98)."""
    low, high = np.quantile(values[:: max(1, len(values) // 200_000)], [0.02, 0.98])
    return float(low), float(high)


def _find_head(grid: Grid, threshold: float) -> NDArray[np.bool_]:
    head: NDArray[np.bool_] = ndimage.binary_fill_holes(
        _largest((grid.image > threshold) & grid.is_seen)
    )
    return head


def _centre(head: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Find the middle of the upper part of a head, in mm from the grid's first voxel."""
    areas = head.sum(axis=(0, 1)) * PITCH**2
    tall = np.flatnonzero(areas > 1500)
    if not len(tall):
        raise DataError("no head was found in the image; give a mask or a label map")
    top = int(tall[-1])
    upper = np.argwhere(head[:, :, max(0, top - int(HEAD_HEIGHT / PITCH)) : top + 1])
    middle: NDArray[np.float64] = (upper.min(axis=0) + upper.max(axis=0)) / 2 * PITCH
    bottom = int(tall[0])
    middle[2] = max(top * PITCH - START_BELOW_VERTEX, (top + bottom) / 2 * PITCH)
    return middle


def _bring_back(surface: Surface, grid: Grid, image: Tensor, affine: NDArray[np.float64]) -> Tensor:
    """Mark the voxels of the scan that lie within the surface, ``(D, H, W)``, bool."""
    pitch = 2 * PITCH
    first, second, third = (-(-count // 2) for count in grid.image.shape)
    depth = fill(surface, (first, second, third), pitch)
    factors = coarse_factors(np.linalg.norm(affine[:3, :3], axis=0))
    matrix = coarse_affine(affine, factors)
    linear, offset = matrix[:3, :3] / pitch, (matrix[:3, 3] - grid.origin) / pitch
    sizes = tuple(-(-count // each) for count, each in zip(image.shape, factors, strict=True))
    coarse = ndimage.affine_transform(depth, linear, offset, sizes, order=1, mode="nearest")
    return grow(torch.from_numpy(coarse), factors, size_of(image)) > 0


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = parts == int(sizes.argmax())
    return largest
