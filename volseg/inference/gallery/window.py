"""Which intensities are black and which white."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.inference.gallery.scan import Box, Index, Scan, block_means, coarse_factors

REACH = 60.0
"""Half the edge of the box around the focus whose intensities count, in mm."""

SAMPLES = 200_000
"""Most voxels that are looked at; percentiles need no more."""

AIR, LUNG = -950.0, -500.0
"""In Hounsfield units: air outside is darker than the first, lung on average than the second."""

DARK = 0.06
"""Blocks whose mean shade is below this show nothing."""

MARGIN = 4.0
"""What stays of the dark around the brightest box, in mm."""

SOFT = (-200.0, 400.0)
"""Widest window for anything that is not lung, in Hounsfield units."""


@dataclass(frozen=True)
class Window:
    """Intensities that are shown black and white.

    Args:
        low: Black.
        high: White.
    """

    low: float
    high: float

    def grey(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map intensities to shades, what is not a number to black.

        Args:
            values: Intensities.

        Returns:
            Shades from 0 to 1.
        """
        shades = (values.astype(np.float32) - self.low) / (self.high - self.low)
        clipped: NDArray[np.float32] = np.fmin(np.fmax(shades, 0.0), 1.0)
        return clipped

    def widened(self, share: float) -> "Window":
        """Give a window that reaches further on both sides.

        Args:
            share: How much further, as a share of its width.

        Returns:
            The wider window.
        """
        more = share * (self.high - self.low)
        return Window(self.low - more, self.high + more)


def find_window(scan: Scan, focus: Index) -> Window:
    """Choose the window from what surrounds the focus.

    Args:
        scan: The scan.
        focus: The voxel that matters.

    Returns:
        From the 1st to the 99.5th percentile, within the soft-tissue window on a CT outside the
        lungs.
    """
    nearby = _sample(_box(scan, focus))
    if nearby.size == 0 or nearby.min() == nearby.max():
        nearby = _sample(scan.values)
    if nearby.size == 0:
        return Window(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(nearby, (1, 99.5)))
    if _is_ct(scan) and not _is_lung(nearby):
        low, high = max(low, SOFT[0]), min(high, SOFT[1])
    return Window(low, high if high > low else low + max(1.0, 1e-3 * abs(low)))


def find_content(scan: Scan, window: Window) -> Box:
    """Find what is worth showing: the dark around the body is not.

    Args:
        scan: The scan.
        window: Black and white.

    Returns:
        A box that holds all labels and all that is not dark.
    """
    factors = coarse_factors(scan.values.shape)
    is_shown = block_means(scan.values, factors, window.grey) > DARK
    is_shown |= block_means(scan.labels, factors, lambda slab: slab > 0) > 0
    if not is_shown.any():
        return tuple(slice(0, size) for size in scan.values.shape)
    box = ndimage.find_objects(is_shown.astype(np.uint8))[0]
    margins = np.ceil(MARGIN / scan.spacing).astype(int).tolist()
    return tuple(
        slice(max(0, cut.start * by - more), min(size, cut.stop * by + more))
        for cut, by, more, size in zip(box, factors, margins, scan.values.shape, strict=True)
    )


def _box(scan: Scan, focus: Index) -> NDArray[Any]:
    reach = np.ceil(REACH / scan.spacing).astype(int)
    return scan.values[
        tuple(slice(max(0, at - by), at + by + 1) for at, by in zip(focus, reach, strict=True))
    ]


def _sample(values: NDArray[Any]) -> NDArray[Any]:
    """Take every nth voxel along each axis, if it is finite."""
    step = max(1, round((values.size / SAMPLES) ** (1 / 3)))
    taken = values[::step, ::step, ::step].ravel()
    finite: NDArray[Any] = taken[np.isfinite(taken)]
    return finite


def _is_ct(scan: Scan) -> bool:
    """Only CT has air far below zero and bone far above."""
    sample = _sample(scan.values)
    return bool(sample.size) and bool(sample.min() < -800) and bool(sample.max() > 150)


def _is_lung(nearby: NDArray[Any]) -> bool:
    tissue = nearby[nearby > AIR]
    return bool(tissue.size) and bool(np.median(tissue) < LUNG)
