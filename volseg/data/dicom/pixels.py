"""The numbers of a stack: decoded slice by slice, rescaled by what each slice says."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.data.dicom.headers import load_pydicom, read_dataset, unreadable
from volseg.data.dicom.planes import Plane, Storage
from volseg.data.headers import one_line
from volseg.errors import DataError


def read_pixels(planes: Sequence[Plane]) -> NDArray[Any]:
    """Read the numbers of planes of one size.

    Args:
        planes: In the order of the slices.

    Returns:
        Columns, rows and slices: integers where every slope and intercept is whole, else float32.

    Raises:
        DataError: If a plane has no numbers, is cut off, or cannot be decoded.
    """
    shape = (*planes[0].size, len(planes))
    kind = _type_of([plane.storage for plane in planes])
    slices = defaultdict(list)
    for index, plane in enumerate(planes):
        slices[plane.file].append(index)
    try:
        values = np.empty(shape, kind, order="F")
        for file, indices in slices.items():
            frames = _decode(file, [planes[index].frame for index in indices])
            for index, frame in zip(indices, frames, strict=True):
                values[:, :, index] = _scale(frame, planes[index].storage).T
    except MemoryError as error:
        folder = planes[0].file.parent
        raise DataError(f"{folder}: does not fit into memory (shape {shape})") from error
    return values


def _decode(file: Path, frames: list[int]) -> Iterator[NDArray[Any]]:
    """Decode frames of a file, ``(rows, columns)`` each."""
    dataset = read_dataset(file, with_pixels=True)
    try:
        if "PixelData" not in dataset:
            raise DataError(f"{file}: has no pixel data")
        _require_decoder(file, dataset.file_meta.TransferSyntaxUID)
        yield from load_pydicom("pydicom.pixels").iter_pixels(dataset, indices=frames)
    except unreadable(RuntimeError) as error:
        raise DataError(f"{file}: is damaged or cut off ({one_line(error)})") from error


def _require_decoder(file: Path, syntax: Any) -> None:
    try:
        decoder = load_pydicom("pydicom.pixels").get_decoder(syntax)
    except NotImplementedError as error:
        raise DataError(f"{file}: is compressed as {syntax.name}, which is not read") from error
    if not decoder.is_available:
        missing = "; or ".join(decoder.missing_dependencies)
        raise DataError(
            f"{file}: is compressed as {syntax.name}, for which a decoder is missing; run: pip"
            f" install 'volseg[dicom]' (any of: {missing})"
        )


def _scale(frame: NDArray[Any], storage: Storage) -> NDArray[np.float64]:
    """Give quantities; float64 holds every whole number that can come out."""
    stored = frame.astype(np.float64)
    if storage.is_inverted:
        stored = sum(storage.limits) - stored
    return stored * storage.slope + storage.intercept


def _type_of(storages: Sequence[Storage]) -> type[np.number[Any]]:
    """Choose the smallest signed type that holds whatever may come out."""
    bounds = [
        limit * storage.slope + storage.intercept
        for storage in storages
        for limit in storage.limits
    ]
    factors = [number for storage in storages for number in (storage.slope, storage.intercept)]
    if not all(float(number).is_integer() for number in factors):
        return np.float32
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= min(bounds) and max(bounds) <= np.iinfo(kind).max:
            return kind
    return np.float32
