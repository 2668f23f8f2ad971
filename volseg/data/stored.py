"""Write new intensities the way an image stores its own: its grid, header, type and scaling.

Whole numbers stay whole numbers: what was computed is rounded to the stored steps and held within
their range, so that every voxel that was not changed is written as it was, bit for bit.
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from volseg.data.geometry import save_whole, with_space_of
from volseg.errors import GeometryError


def write_like(path: Path, values: NDArray[np.floating[Any]], source: Path) -> None:
    """Write intensities beside the image that they were made from.

    Args:
        path: The file, ``*.nii`` or ``*.nii.gz``.
        values: Real intensities on the image's grid, ``(X, Y, Z)``.
        source: The image. Its type of float is kept; so are whole numbers, with their scaling.

    Raises:
        GeometryError: If the values are not on the image's grid.
    """
    image = nib.load(source)
    if tuple(values.shape) != tuple(image.shape[:3]):
        raise GeometryError(f"{path}: is {values.shape} voxels and {source} {image.shape[:3]}")
    dtype = image.get_data_dtype().newbyteorder("=")
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    if dtype.kind == "f":
        stored, slope, inter = values.astype(dtype), 1.0, 0.0
    else:
        limits = np.iinfo(dtype)
        steps = np.rint((values.astype(np.float64) - inter) / slope)
        stored = np.clip(steps, limits.min, limits.max).astype(dtype)
    if dtype.itemsize >= 4 and dtype != np.float32 and (slope, inter) == (1, 0):
        raw = np.asarray(image.dataobj).reshape(values.shape)
        stored = np.where(raw.astype(np.float32) == values, raw, stored).astype(dtype)
    made = with_space_of(image, stored)
    made.header.set_slope_inter(slope, inter)
    made.header["descrip"] = b"volseg: simulated resection"
    save_whole(made, path)


def write_floating(path: Path, values: NDArray[np.float32], source: Path) -> None:
    """Write intensities on the grid of a label map that they were made from.

    Args:
        path: The file, ``*.nii`` or ``*.nii.gz``.
        values: Intensities, ``(X, Y, Z)``.
        source: The label map.
    """
    made = with_space_of(nib.load(source), values.astype(np.float32))
    made.header["descrip"] = b"volseg: synthetic image"
    save_whole(made, path)
