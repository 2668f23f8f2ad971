"""Small copies of an image and its labels, for a viewer inside a page.

Voxels are merged in whole blocks, so the copies lie exactly where the scan lies. A block shows the
class that fills most of it, if the classes fill half of it; a class that would vanish keeps the
block that it fills most.
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from volseg.inference.gallery.scan import Box, Factors, Scan, block_means
from volseg.inference.gallery.window import Window

LEVELS = 80
"""Steps from the darkest to the brightest shade; finer ones are noise, and noise takes space."""

MARGIN = 0.25
"""How far the shades reach beyond the window on each side, as a share of its width."""

VOXELS = 400_000
"""Most voxels to begin with; it takes fewer when they do not compress to what is allowed."""


@dataclass(frozen=True)
class Preview:
    """Copies for the viewer.

    Args:
        image: Gzipped NIfTI file, unsigned bytes with slope and intercept.
        labels: Gzipped NIfTI file, unsigned bytes.
        edges: Edges of the voxels, in mm.
    """

    image: bytes
    labels: bytes
    edges: tuple[float, float, float]


def make_preview(
    scan: Scan, window: Window, classes: Mapping[int, Box], max_bytes: int, edge_mm: float
) -> Preview:
    """Shrink a scan until it takes few enough bytes.

    Args:
        scan: The scan.
        window: Black and white, for the viewer to begin with.
        classes: Box of each label value; the values become 1, 2, 3 and so on.
        max_bytes: Most bytes of both copies together.
        edge_mm: Voxel edge not to go below, in mm.

    Returns:
        The copies.
    """
    least = [max(1, round(edge_mm / spacing)) for spacing in scan.spacing.tolist()]
    factors = _coarsen(scan, least, VOXELS)
    while True:
        image = _shrink_image(scan, window, factors)
        labels = _shrink_labels(scan, classes, factors)
        size, count = len(image) + len(labels), prod(_blocks(scan, factors))
        if size <= max_bytes or count == 1:
            x, y, z = (scan.spacing * factors).tolist()
            return Preview(image, labels, (x, y, z))
        factors = _coarsen(scan, factors, min(count - 1, count * max_bytes // size))


def _coarsen(scan: Scan, factors: Sequence[int], max_voxels: int) -> Factors:
    """Enlarge blocks where they are shortest until there are few enough."""
    x, y, z = factors
    while prod(_blocks(scan, (x, y, z))) > max(1, max_voxels):
        edges = [
            edge * by if by < size else np.inf
            for edge, by, size in zip(scan.spacing, (x, y, z), scan.values.shape, strict=True)
        ]
        shortest = int(np.argmin(edges))
        x, y, z = x + (shortest == 0), y + (shortest == 1), z + (shortest == 2)
    return x, y, z


def _blocks(scan: Scan, factors: Factors) -> tuple[int, ...]:
    return tuple(-(-size // by) for size, by in zip(scan.values.shape, factors, strict=True))


def _affine(scan: Scan, factors: Factors) -> NDArray[np.float64]:
    """Place blocks: the first one's centre lies between those of its first and last voxel."""
    step = np.diag([*factors, 1.0])
    step[:3, 3] = (np.array(factors) - 1) / 2
    return np.asarray(scan.affine @ step, dtype=np.float64)


def _shrink_image(scan: Scan, window: Window, factors: Factors) -> bytes:
    reach = window.widened(MARGIN)
    shades = np.rint(block_means(scan.values, factors, reach.grey) * LEVELS)
    slope = (reach.high - reach.low) / LEVELS
    image = nib.Nifti1Image(shades.astype(np.uint8), _affine(scan, factors))
    image.header.set_slope_inter(slope, reach.low)
    image.header["cal_min"], image.header["cal_max"] = window.low, window.high
    return _pack(image)


def _shrink_labels(scan: Scan, classes: Mapping[int, Box], factors: Factors) -> bytes:
    shape = _blocks(scan, factors)
    filled, best = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    chosen = np.zeros(shape, np.uint8)
    peaks = []
    for rank, (value, box) in enumerate(classes.items(), start=1):
        blocks, share = _share_of(scan.labels, value, box, factors)
        filled[blocks] += share
        is_best = share > best[blocks]
        chosen[blocks][is_best] = rank
        best[blocks][is_best] = share[is_best]
        peak = np.unravel_index(int(share.argmax()), share.shape)
        peaks.append(tuple(int(p) + cut.start for p, cut in zip(peak, blocks, strict=True)))
    chosen[filled < 0.5] = 0
    for rank in set(range(1, len(classes) + 1)) - set(np.unique(chosen).tolist()):
        chosen[peaks[rank - 1]] = rank
    return _pack(nib.Nifti1Image(chosen, _affine(scan, factors)))


def _share_of(
    labels: NDArray[Any], value: int, box: Box, factors: Factors
) -> tuple[Box, NDArray[np.float32]]:
    """Give the blocks that a class may fill, and how much of each it fills."""
    blocks = tuple(
        slice(cut.start // by, -(-cut.stop // by)) for cut, by in zip(box, factors, strict=True)
    )
    voxels = tuple(
        slice(cut.start * by, cut.stop * by) for cut, by in zip(blocks, factors, strict=True)
    )
    return blocks, block_means(labels[voxels], factors, partial(np.equal, value))


def _pack(image: Any) -> bytes:
    image.set_data_dtype(np.uint8)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)
