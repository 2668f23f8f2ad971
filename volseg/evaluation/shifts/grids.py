"""Shifts of the grid: thicker slices, coarser voxels, a turned patient, a smaller field of view.

The scan is averaged over what a thicker slice sees, not picked from. A rotation turns the grid and
its affine together, so that the patient lies askew in the grid and where he was in space; it
interpolates once, and that blur is part of what is measured. Where the turned grid reaches beyond
the scan, the border's values go on.
"""

from math import ceil, radians

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from volseg.data.geometry import Grid, to_indices
from volseg.data.scan import Scan
from volseg.evaluation.shifts.shift import slice_axis
from volseg.transforms.acquisition import resampling

LEAST = 4
"""Fewest voxels that a crop leaves along an axis."""


def thicken(scan: Scan, factor: float) -> Scan:
    """Acquire thicker slices.

    Args:
        scan: The scan.
        factor: Their thickness and distance, in those of the scan.

    Returns:
        The scan with fewer slices.
    """
    return _coarsen(scan, (slice_axis(scan.affine),), factor)


def coarsen(scan: Scan, factor: float) -> Scan:
    """Acquire coarser voxels along all axes.

    Args:
        scan: The scan.
        factor: Their edge, in those of the scan.

    Returns:
        The scan with fewer voxels.
    """
    return _coarsen(scan, (0, 1, 2), factor)


def turn(scan: Scan, degrees: float, seed: int) -> Scan:
    """Turn the grid about the middle of the scan, around a direction that the seed decides.

    Args:
        scan: The scan.
        degrees: By how much.
        seed: Of the direction.

    Returns:
        The scan on a turned grid that holds all of it.
    """
    direction = np.random.default_rng(seed).normal(size=3)
    vector = direction / np.linalg.norm(direction) * radians(degrees)
    rotation = Rotation.from_rotvec(vector).as_matrix()
    shape = np.asarray(scan.values.shape)
    middle = scan.affine[:3, :3] @ ((shape - 1) / 2) + scan.affine[:3, 3]
    linear = rotation @ scan.affine[:3, :3]
    corners = np.stack(np.meshgrid(*((-0.5, 0.5),) * 3), axis=-1).reshape(-1, 3) * (shape - 1)
    reach = np.abs(corners @ (np.linalg.inv(linear) @ scan.affine[:3, :3]).T).max(axis=0)
    size = 2 * np.ceil(reach - (shape - 1) / 2).clip(0).astype(int) + shape
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = middle - linear @ ((size - 1) / 2)
    chain = np.linalg.inv(scan.affine) @ affine
    values = ndimage.affine_transform(
        scan.values.astype(np.float32),
        chain[:3, :3],
        chain[:3, 3],
        output_shape=tuple(size.tolist()),
        order=1,
        mode="nearest",
    )
    return Scan(values, affine)


def crop(scan: Scan, share: float, seed: int) -> Scan:
    """Cut a part of the field of view off, at a face that the seed decides.

    Args:
        scan: The scan.
        share: Share of the field of view along that axis, below 1.
        seed: Of the face.

    Returns:
        What is left.
    """
    face = int(np.random.default_rng(seed).integers(6))
    axis, is_low = face // 2, face % 2 == 0
    size = scan.values.shape[axis]
    lost = min(round(share * size), max(0, size - LEAST))
    box: list[slice] = [slice(None)] * 3
    box[axis] = slice(lost, None) if is_low else slice(0, size - lost)
    affine = scan.affine.copy()
    if is_low:
        affine[:3, 3] += affine[:3, axis] * lost
    return Scan(scan.values[tuple(box)], affine)


def seen(native: Grid, scan: Scan) -> NDArray[np.bool_]:
    """Tell which voxels of a grid a scan covers; on its outer half voxels it still does.

    Args:
        native: The grid.
        scan: The scan.

    Returns:
        `True` where the voxel's centre lies in a voxel of the scan, ``(X, Y, Z)``.
    """
    matrix = to_indices(Grid(scan.values.shape, scan.affine), native)
    inside = np.ones(native.shape, dtype=bool)
    index = np.indices(native.shape, sparse=True)
    for row, size in zip(matrix[:3], scan.values.shape, strict=True):
        place = row[3] + sum(row[axis] * index[axis] for axis in range(3))
        inside &= (place >= -0.5 - 1e-6) & (place <= size - 0.5 + 1e-6)
    return inside


def _coarsen(scan: Scan, axes: tuple[int, ...], factor: float) -> Scan:
    values, affine = scan.values.astype(np.float32), scan.affine.copy()
    for axis in axes:
        values = _filled(values, axis, factor)
        down = resampling(values.shape[axis], factor, 0.5)[0].numpy()
        values = np.moveaxis(np.tensordot(down, values, axes=([1], [axis])), 0, axis)
        affine[:3, 3] += affine[:3, axis] * (0.5 * factor - 0.5)
        affine[:3, axis] *= factor
    return Scan(values, affine)


def _filled(values: NDArray[np.float32], axis: int, factor: float) -> NDArray[np.float32]:
    """Repeat the last voxels of an axis until whole slices cover all of it."""
    size = values.shape[axis]
    more = [(0, 0)] * values.ndim
    more[axis] = (0, ceil(ceil(size / factor) * factor) - size)
    return np.pad(values, more, mode="edge")
