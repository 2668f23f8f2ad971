"""Which files make an image, and what was read from them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Source:
    """Which files make one image; nothing is read yet.

    Args:
        name: Where it lies below the input, without ending; ``/`` between folders.
        files: One file, or the instances of one DICOM series.
        format: ``nifti``, ``nrrd``, ``metaimage`` or ``dicom``.
        channel: What it shows, in the words of the network that is to read it; empty if nobody
            asks.
    """

    name: str
    files: tuple[Path, ...]
    format: str
    channel: str = ""


@dataclass(frozen=True)
class Reading:
    """An image in memory.

    Args:
        source: The files.
        values: Voxels with the scaling of the file applied, ``(X, Y, Z)`` in the file's own order:
            columns, rows, slices for DICOM.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        files: For DICOM, the file of slice ``k`` at index ``k``; otherwise the one file.
        warnings: What is unusual about it.
    """

    source: Source
    values: NDArray[Any]
    affine: NDArray[np.float64]
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()
