"""A volume with its place in the world, and how it is read on another grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Matrix = NDArray[np.float64]
"""From RAS mm of one scan to RAS mm of another, ``(4, 4)``."""

TAILS = (0.5, 99.5)
"""Percentiles at which intensities are cut off, so that the bins are not spent on outliers."""


@dataclass(frozen=True)
class Scan:
    """A volume and where it lies.

    Args:
        values: ``(X, Y, Z)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
    """

    values: NDArray[Any]
    affine: Matrix


def resample(scan: Scan, shape: Sequence[int], affine: Matrix, matrix: Matrix) -> NDArray[Any]:
    """Read a scan linearly at the voxels of another grid.

    Args:
        scan: The scan.
        shape: Voxels of the grid along each axis.
        affine: Of the grid, from voxel indices to RAS mm, ``(4, 4)``.
        matrix: From the RAS mm of the grid to those of the scan, ``(4, 4)``.

    Returns:
        Values on the grid; outside the scan, its lowest value.
    """
    chain = np.linalg.inv(scan.affine) @ matrix @ affine
    found = ndimage.affine_transform(
        scan.values,
        chain[:3, :3],
        chain[:3, 3],
        output_shape=tuple(shape),
        order=1,
        mode="constant",
        cval=float(scan.values.min()),
    )
    return np.asarray(found)


def upright(scan: Scan, spacing: float) -> Scan:
    """Bring a scan to a grid along the axes of RAS, smoothed where it was finer.

    Args:
        scan: The scan.
        spacing: Voxel edge of the grid, in mm.

    Returns:
        The scan on the smallest such grid that contains it, float32, without outliers.
    """
    values = np.nan_to_num(np.asarray(scan.values, np.float32), nan=0, posinf=0, neginf=0)
    low, high = np.percentile(values[::2, ::2, ::2], TAILS)
    edges = np.linalg.norm(scan.affine[:3, :3], axis=0)
    sigmas = [0.4 * spacing / edge if edge < spacing else 0.0 for edge in edges]
    smooth = ndimage.gaussian_filter(np.clip(values, low, high), sigmas, mode="nearest")
    corners = np.array(list(product(*((0, n - 1) for n in values.shape))))
    places = corners @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = places.min(axis=0)
    shape = np.ceil((places.max(axis=0) - places.min(axis=0)) / spacing).astype(int) + 1
    return Scan(resample(Scan(smooth, scan.affine), shape.tolist(), affine, np.eye(4)), affine)
