"""Whether a DICOM segmentation, read back without the library that wrote it, is the mask."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from volseg.data.headers import GRID_TOLERANCE
from volseg.data.reading import Reading
from volseg.errors import GeometryError

FLIP = np.array([-1.0, -1.0, 1.0])
"""From DICOM's left, posterior, superior to right, anterior, superior."""


ROUNDING = 1e-3
"""What an affine's rounding adds to the tolerance, in voxels."""


def require_equal(
    path: Path, labels: NDArray[Any], reading: Reading, slices: Sequence[Dataset]
) -> None:
    """Compare a DICOM segmentation with the mask, voxel by voxel, and with the slices' places.

    Args:
        path: The segmentation.
        labels: Number of the segment at each voxel, ``(X, Y, Z)``.
        reading: The series, for its affine.
        slices: Headers of the slices, in the order of the mask's last axis.

    Raises:
        GeometryError: If anything differs.
    """
    written = dcmread(path, stop_before_pixels=True)
    if (written.Columns, written.Rows) != labels.shape[:2]:
        raise GeometryError(f"has frames of {written.Columns} by {written.Rows} when read back")
    _require_orientation(written, reading, slices[0])
    indices = {header.SOPInstanceUID: index for index, header in enumerate(slices)}
    found = np.zeros(labels.shape, labels.dtype, order="F")
    for frame, item, segment in _frames(path, written):
        uid = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        if uid not in indices:
            raise GeometryError(f"refers to the instance {uid}, which is none of its slices")
        index = indices[uid]
        _require_position(item, reading, slices[index], index)
        if segment is None:
            found[:, :, index] = frame.T
        else:
            found[:, :, index][frame.T != 0] = segment
    changed = np.count_nonzero(found != labels)
    if changed:
        raise GeometryError(f"{changed} voxels read back with another label")


def unpack_frames(written: Dataset) -> Iterator[NDArray[Any]]:
    """Unpack frames one by one; frames of bits follow each other without filling up a byte.

    Args:
        written: A segmentation with its pixels, which are not compressed.

    Yields:
        Each frame, ``(rows, columns)``.
    """
    size = written.Rows * written.Columns
    if written.BitsAllocated > 1:
        values = np.frombuffer(written.PixelData, dtype=f"<u{written.BitsAllocated // 8}")
        whole = values[: size * int(written.NumberOfFrames)]  # one byte may fill up a word
        yield from whole.reshape(-1, written.Rows, written.Columns)
        return
    packed = np.frombuffer(written.PixelData, dtype=np.uint8)
    for first in range(0, size * int(written.NumberOfFrames), size):
        piece = packed[first // 8 : (first + size + 7) // 8]
        bits = np.unpackbits(piece, bitorder="little")[first % 8 : first % 8 + size]
        yield bits.reshape(written.Rows, written.Columns)


def _frames(path: Path, written: Dataset) -> Iterator[tuple[NDArray[Any], Dataset, int | None]]:
    """Give each frame with its header and, in a binary segmentation, the number of its segment."""
    shared = written.SharedFunctionalGroupsSequence[0]
    is_binary = written.SegmentationType == "BINARY"
    frames = unpack_frames(dcmread(path))
    for frame, item in zip(frames, written.PerFrameFunctionalGroupsSequence, strict=True):
        segment = None
        if is_binary:
            holder = item if "SegmentIdentificationSequence" in item else shared
            segment = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        yield frame, item, segment


def _require_orientation(written: Dataset, reading: Reading, first: Dataset) -> None:
    """Compare rows, columns and their spacing with the first slice and with the affine."""
    shared = written.SharedFunctionalGroupsSequence[0]
    turn = list(shared.PlaneOrientationSequence[0].ImageOrientationPatient)
    spacing = list(shared.PixelMeasuresSequence[0].PixelSpacing)
    if turn != list(first.ImageOrientationPatient) or spacing != list(first.PixelSpacing):
        raise GeometryError("has another orientation or pixel spacing than its slices")
    axes = np.stack([np.multiply(turn[:3], spacing[1]), np.multiply(turn[3:], spacing[0])], axis=1)
    gaps = (FLIP[:, None] * axes - reading.affine[:3, :2]) * reading.values.shape[:2]
    if not np.linalg.norm(gaps, axis=0).max() <= GRID_TOLERANCE * min(spacing):
        raise GeometryError("has rows or columns that run otherwise than those of its image")


def _require_position(item: Dataset, reading: Reading, header: Dataset, index: int) -> None:
    position = list(item.PlanePositionSequence[0].ImagePositionPatient)
    if position != list(header.ImagePositionPatient):
        raise GeometryError(f"has a frame at {position}, not at the place of slice {index}")
    gap = FLIP * np.array(position, dtype=np.float64)
    gap -= reading.affine[:3, 3] + index * reading.affine[:3, 2]
    rows, columns, step = reading.affine[:3, :3].T
    axes = np.array([rows, columns, np.cross(rows, columns)])
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    edges = np.abs(np.einsum("ij,ij->i", axes, [rows, columns, step]))
    # as even as a series must be to be read
    if not (np.abs(axes @ gap) <= (GRID_TOLERANCE + ROUNDING) * edges).all():
        far = np.linalg.norm(gap)
        raise GeometryError(f"has slice {index} {far:.3g} mm off the place that its image gives it")
