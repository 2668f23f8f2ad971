"""Reading a DICOM series as a volume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from volseg.data.dicom.headers import read_dataset
from volseg.data.dicom.pixels import read_pixels
from volseg.data.dicom.planes import planes_of
from volseg.data.dicom.stack import Stack, stack_planes
from volseg.errors import DataError

INVERTED = "is displayed with large numbers dark (MONOCHROME1); its values are turned round"


def read_stack(files: Sequence[Path]) -> Stack:
    """Put the slices of a series in order; only headers are read.

    Args:
        files: The instances, in any order.

    Returns:
        The planes in order, and their affine.

    Raises:
        DataError: If there is no file, or one holds no image that fits the others.
    """
    if not files:
        raise DataError("a DICOM series has no files; give at least one")
    return stack_planes([plane for file in files for plane in planes_of(file, read_dataset(file))])


def read_series(files: Sequence[Path]) -> tuple[NDArray[Any], Stack, list[str]]:
    """Read a DICOM series.

    Args:
        files: The instances, in any order.

    Returns:
        Voxels ``(columns, rows, slices)``; the planes in the order of the slices, with their
        affine; what is unusual. Files that are damaged, hold no grey values, or do not form one
        even stack are refused with a `DataError`.
    """
    stack = read_stack(files)
    warnings = list(stack.warnings)
    if any(plane.storage.is_inverted for plane in stack.planes):
        warnings.append(INVERTED)
    return read_pixels(stack.planes), stack, warnings
