"""Masks as fractions: how much of a voxel, or of a part of one, lies inside.

The border of a mask lies somewhere between two voxel centres. A signed distance in voxels says how
far each centre is from it, so that the border can be moved by a fraction of a voxel.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.data.scan import Matrix, Scan, resample

HALF = 0.5

PADDING = 3
"""Voxels about a mask in which distances are measured."""

THICK = 1.0
"""Edge of the parts of a voxel at which a mask is read to know how much of the voxel it fills."""


def voxel_edge(scan: Scan) -> float:
    """Give the edge of a cube as large as a voxel.

    Args:
        scan: Any volume.

    Returns:
        Its edge in mm.
    """
    return float(abs(np.linalg.det(scan.affine[:3, :3])) ** (1 / 3))


def volume_ml(mask: Scan) -> float:
    """Measure a mask.

    Args:
        mask: Boolean.

    Returns:
        Its volume in mL.
    """
    return float(mask.values.sum()) * voxel_edge(mask) ** 3 / 1000


def border_of(mask: Scan) -> Scan:
    """Measure how far the voxels in and about a mask lie from its border.

    Args:
        mask: Boolean, not empty.

    Returns:
        `signed_distance` in the box of the mask and a few voxels more, which may lie beyond the
        mask's grid.
    """
    marked = np.argwhere(mask.values)
    low, high = marked.min(axis=0), marked.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ (low - PADDING)
    return Scan(signed_distance(np.pad(mask.values[box], PADDING)), affine)


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Measure how far each voxel centre lies from the border of a mask.

    The nearest voxel of the other kind ends half a voxel before its centre, along the axis on which
    it is farthest.

    Args:
        mask: ``(X, Y, Z)``.

    Returns:
        Distance in voxels, negative inside; beside the border -0.5 and 0.5.
    """
    outside, inside = (_distance(~mask), _distance(mask))
    return np.where(mask, -inside, outside)


def fraction(
    distance: NDArray[np.float64], border: float, parts: float = 1.0
) -> NDArray[np.float64]:
    """Estimate the fraction of a cell that lies inside a mask.

    Args:
        distance: Of its centre from the border, in voxels of the mask, negative inside.
        border: How far out the border is moved, in voxels.
        parts: Edge of a voxel of the mask in cells.

    Returns:
        Fractions, 0 to 1.
    """
    return np.clip(HALF - (distance - border) * max(1.0, parts), 0.0, 1.0)


def divide(affine: Matrix, pitch: float) -> NDArray[np.float64]:
    """Divide a voxel into equal parts, at most eight along each axis.

    Args:
        affine: Of the voxel's grid, ``(4, 4)``.
        pitch: Edge that the parts should have, in mm.

    Returns:
        Their centres, in voxels from the voxel's own, ``(N, 3)``.
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    counts = [min(8, max(1, round(edge / pitch))) for edge in edges]
    axes = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def on_grid(tumour: Scan, shape: Sequence[int], affine: Matrix, matrix: Matrix) -> NDArray[Any]:
    """Bring a mask to another grid as the fraction of each voxel that it fills.

    Args:
        tumour: Boolean mask.
        shape: Voxels of the grid along each axis.
        affine: Of the grid, from voxel indices to RAS mm, ``(4, 4)``.
        matrix: From the RAS mm of the grid to those of the mask, ``(4, 4)``.

    Returns:
        Fractions, 0 to 1, float32; thick voxels are read at several places.
    """
    soft = Scan(tumour.values.astype(np.float32), tumour.affine)
    offsets = divide(affine, THICK)
    total = np.zeros(tuple(shape), np.float32)
    for offset in offsets:
        moved = affine.copy()
        moved[:3, 3] += affine[:3, :3] @ offset
        total += resample(soft, shape, moved, matrix)
    return np.asarray(total / len(offsets))


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Measure how far each voxel of a mask lies from where the mask ends, in voxels."""
    if mask.all():
        return np.full(mask.shape, 1e3)
    length, nearest = ndimage.distance_transform_edt(mask, return_indices=True)
    steps = np.abs(nearest - np.indices(mask.shape)).max(axis=0)
    return np.asarray(length * (1 - HALF / np.maximum(steps, 1)))
