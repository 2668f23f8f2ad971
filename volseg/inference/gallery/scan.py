"""An image and its labels, turned so that the axes point right, forwards and up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.errors import DataError, GeometryError

COARSE = 96
"""Most cells along an axis when lesions are told apart."""

SLAB = 16
"""Slices that are searched for classes at once; the search takes eight bytes a voxel."""

Box = tuple[slice, ...]
Index = tuple[int, int, int]
Factors = tuple[int, int, int]


@dataclass(frozen=True)
class Scan:
    """Views of an image and its labels; nothing is copied.

    Args:
        values: Intensities, ``(X, Y, Z)``, rightwards, forwards and upwards as nearly as the
            voxel axes allow.
        labels: Label map on the same grid.
        affine: Index to mm, ``(4, 4)``.
    """

    values: NDArray[Any]
    labels: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel edge along each axis, in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0), dtype=np.float64)

    def place(self, index: Index) -> tuple[float, float, float]:
        """Say where a voxel's centre lies, in mm.

        Args:
            index: The voxel.

        Returns:
            Millimetres to the right, the front and the top.
        """
        x, y, z = (self.affine @ [*index, 1.0])[:3].tolist()
        return x, y, z

    def crop(self, box: Box) -> "Scan":
        """Cut out a box.

        Args:
            box: Where it lies along each axis.

        Returns:
            Views of what lies in it.
        """
        affine = self.affine.copy()
        affine[:3, 3] = self.place((box[0].start, box[1].start, box[2].start))
        return Scan(self.values[box], self.labels[box], affine)


def turn_upright(values: NDArray[Any], labels: NDArray[Any], affine: NDArray[np.float64]) -> Scan:
    """Permute and flip the axes until they point right, forwards and up.

    Args:
        values: Intensities, ``(X, Y, Z)``.
        labels: Label map, ``(X, Y, Z)``, of whole numbers from 0.
        affine: Index to mm, ``(4, 4)``.

    Returns:
        Views of both.

    Raises:
        GeometryError: If the two have different shapes, or not three axes.
        DataError: If the labels are not whole numbers.
    """
    if values.shape != labels.shape or values.ndim != 3:
        raise GeometryError(
            f"image of shape {values.shape} and labels of shape {labels.shape}; a picture needs"
            " both on one grid of three axes"
        )
    if labels.dtype.kind not in ("b", "u", "i"):
        raise DataError(f"labels of type {labels.dtype}; a picture needs whole numbers")
    labels = labels.view(np.uint8) if labels.dtype.kind == "b" else labels
    turn = nib.io_orientation(affine)
    turned = affine @ nib.orientations.inv_ornt_aff(turn, values.shape)
    return Scan(nib.apply_orientation(values, turn), nib.apply_orientation(labels, turn), turned)


def block_means(
    volume: NDArray[Any], factors: Factors, of: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.float32]:
    """Average blocks of voxels, slab by slab; a block at the far end may be smaller.

    Args:
        volume: Any volume, ``(X, Y, Z)``.
        factors: Voxels of a block along each axis.
        of: What to average, given a slab of the volume.

    Returns:
        One mean a block.
    """
    starts = [np.arange(0, size, by) for size, by in zip(volume.shape, factors, strict=True)]
    counts = [np.diff([*s, size]) for s, size in zip(starts, volume.shape, strict=True)]
    slabs = []
    for start in starts[2]:
        slab = of(volume[:, :, start : start + factors[2]]).sum(axis=2, dtype=np.float32)
        slab = np.add.reduceat(slab, starts[0], axis=0)
        slabs.append(np.add.reduceat(slab, starts[1], axis=1))
    voxels = counts[0][:, None, None] * counts[1][:, None] * counts[2]
    means: NDArray[np.float32] = (np.stack(slabs, axis=2) / voxels).astype(np.float32)
    return means


def find_classes(labels: NDArray[Any]) -> dict[int, Box]:
    """Find which classes a label map holds, and where.

    Args:
        labels: Label map, ``(X, Y, Z)``.

    Returns:
        The smallest box around each class, by ascending value.
    """
    found: dict[int, Box] = {}
    for start in range(0, labels.shape[2], SLAB):
        for value, box in enumerate(ndimage.find_objects(labels[:, :, start : start + SLAB]), 1):
            if box is not None:
                z = slice(box[2].start + start, box[2].stop + start)
                here = (box[0], box[1], z)
                found[value] = _around(found[value], here) if value in found else here
    return dict(sorted(found.items()))


def _around(one: Box, other: Box) -> Box:
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )


def coarse_factors(shape: tuple[int, ...]) -> Factors:
    """Choose blocks so that a scan has few of them.

    Args:
        shape: Voxels along each axis.

    Returns:
        Voxels of a block along each axis.
    """
    x, y, z = (-(-size // COARSE) for size in shape)
    return x, y, z


def find_focus(scan: Scan) -> Index:
    """Find a voxel of the largest lesion, as near to its centre as it has one.

    Lesions are told apart on blocks of voxels, so that a large scan takes no long.

    Args:
        scan: The scan.

    Returns:
        The voxel; the middle of the scan, if the labels are empty.
    """
    factors = coarse_factors(scan.labels.shape)
    shares = block_means(scan.labels, factors, lambda slab: slab > 0)
    parts, number = ndimage.label(shares > 0)
    if number == 0:
        x, y, z = (size // 2 for size in scan.labels.shape)
        return x, y, z
    weights = np.bincount(parts.ravel(), weights=shares.ravel())
    blocks = np.argwhere(parts == 1 + int(np.argmax(weights[1:])))
    share = shares[tuple(blocks.T)]
    centre = (blocks * share[:, None]).sum(axis=0) / share.sum()
    edges = scan.spacing * factors
    block = blocks[np.argmin((((blocks - centre) * edges) ** 2).sum(axis=1))]
    return _voxel_in(scan, block * factors, factors)


def _voxel_in(scan: Scan, start: NDArray[Any], factors: tuple[int, ...]) -> Index:
    """Find the labelled voxel nearest to the middle of a block that holds one."""
    cut = tuple(slice(s, s + by) for s, by in zip(start, factors, strict=True))
    voxels = np.argwhere(scan.labels[cut] > 0)
    middle = (np.array(factors) - 1) / 2
    nearest = voxels[np.argmin((((voxels - middle) * scan.spacing) ** 2).sum(axis=1))]
    x, y, z = (start + nearest).tolist()
    return x, y, z
