"""A label map on the grid of its image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.data.geometry import Grid
from volseg.data.source import Reading
from volseg.inference.survey import NativeMap


@dataclass(frozen=True)
class Prediction:
    """A label map on the grid of its image.

    Args:
        labels: Label of each voxel, in the axis order of the image's file.
        grid: Grid of the image.
        source: File of the image.
        warnings: What is unusual about the image, or about what was found in it.
        findings: What the bundle's guard has measured, and which channels were used where some may
            be missing, as plain values.
        reading: The image.
        confidence: Mean probability of the chosen class over all that is not background; `None`:
            there is nothing else.
        maps: Maps on the image's grid, by name.
    """

    labels: NDArray[np.integer]
    grid: Grid
    source: Path
    warnings: tuple[str, ...] = ()
    findings: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading | None = None
    confidence: float | None = None
    maps: Mapping[str, NativeMap] = field(default_factory=dict)

    def volumes(self, classes: Mapping[int, str]) -> dict[str, float]:
        """Measure the classes; the voxel's volume is the determinant of the affine.

        Args:
            classes: Name of each label value; the background, 0, is left out.

        Returns:
            Volume of each class in mL, by name.
        """
        voxel = abs(float(np.linalg.det(np.asarray(self.grid.affine)[:3, :3]))) / 1000
        counts = np.zeros(max(classes) + 1, np.int64)
        for plane in self.labels:  # a count of all at once takes eight times the labels' memory
            counts += np.bincount(plane.ravel(), minlength=len(counts))
        return {name: float(counts[value] * voxel) for value, name in classes.items() if value}
