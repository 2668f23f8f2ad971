"""The planes of a DICOM file: where each lies, and how its numbers are stored.

A classic file holds one plane; an enhanced one holds many, with a functional group for each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.data.dicom.headers import kind_of, unreadable
from volseg.data.headers import one_line
from volseg.errors import DataError

UNIT_TOLERANCE = 1e-3
"""How far the directions of rows and columns may be from unit vectors at right angles."""

PHYSICAL = ("CT", "PT")
"""Modalities whose rescaled numbers are quantities, such as HU, however they are displayed."""


@dataclass(frozen=True)
class Storage:
    """How the numbers of a plane are stored.

    Args:
        bits: Bits of a number.
        is_signed: Whether one of them is the sign.
        slope: Factor, which comes first.
        intercept: Summand.
        is_inverted: Whether large numbers are dark.
    """

    bits: int
    is_signed: bool
    slope: float = 1.0
    intercept: float = 0.0
    is_inverted: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """Give the smallest and largest number that can be stored."""
        if self.is_signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1


@dataclass(frozen=True)
class Plane:
    """A plane of pixels and its place in space.

    Args:
        file: The file.
        frame: Index in the file.
        position: Centre of the first pixel, in mm towards left, back and top.
        rows: Direction along a row, in which the column index grows; a unit vector.
        columns: Direction along a column, in which the row index grows; a unit vector.
        spacing: Distance of columns and of rows, in mm.
        size: Number of columns and of rows.
        thickness: What the header says of the distance to the next plane, in mm, or 0.
        storage: How its numbers are stored.
    """

    file: Path
    frame: int
    position: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    spacing: tuple[float, float]
    size: tuple[int, int]
    thickness: float
    storage: Storage


def planes_of(path: Path, dataset: Any) -> list[Plane]:
    """List the planes of a file.

    Args:
        path: The file, for messages.
        dataset: Of pydicom.

    Returns:
        One for each frame, in the order of the file.

    Raises:
        DataError: If it holds no grey-value image with a place in space.
    """
    try:
        _require_grey(path, dataset)
        if "PerFrameFunctionalGroupsSequence" in dataset:
            number = len(dataset.PerFrameFunctionalGroupsSequence or ())
            if number == 0 or number != int(dataset.NumberOfFrames):
                raise DataError(
                    f"{path}: has {dataset.NumberOfFrames} frames and {number} functional groups"
                )
            return [_plane(path, dataset, index) for index in range(number)]
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        if frames != 1:
            raise DataError(
                f"{path}: holds {frames} frames and no functional groups, which would say where"
                " each lies; export it as single slices or as enhanced multi-frame"
            )
        return [_plane(path, dataset, None)]
    except unreadable() as error:
        raise DataError(f"{path}: has a damaged header ({one_line(error)})") from error


def _require_grey(path: Path, dataset: Any) -> None:
    kind = kind_of(dataset)
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise DataError(f"{path}: holds no image ({kind})")
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or not photometric.startswith("MONOCHROME"):
        raise DataError(f"{path}: holds colours ({photometric}); give grey values")
    if dataset.get("ModalityLUTSequence"):
        raise DataError(f"{path}: maps its values by a table (Modality LUT), which is not read")
    if int(dataset.HighBit) != int(dataset.BitsStored) - 1:
        raise DataError(f"{path}: stores its {dataset.BitsStored} bits up to bit {dataset.HighBit}")


def _plane(path: Path, dataset: Any, frame: int | None) -> Plane:
    place = _numbers(path, _group(dataset, frame, "PlanePosition"), "ImagePositionPatient", 3)
    turn = _numbers(path, _group(dataset, frame, "PlaneOrientation"), "ImageOrientationPatient", 6)
    measures = _group(dataset, frame, "PixelMeasures")
    between_rows, between_columns = _numbers(path, measures, "PixelSpacing", 2)
    if min(between_rows, between_columns) <= 0:
        raise DataError(f"{path}: has a PixelSpacing of {between_rows:g} x {between_columns:g} mm")
    thickness = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0
    rows, columns = np.array(turn[:3]), np.array(turn[3:])
    products = np.array([rows @ rows - 1, columns @ columns - 1, rows @ columns])
    if np.abs(products).max() > UNIT_TOLERANCE:
        raise DataError(
            f"{path}: has the ImageOrientationPatient {list(turn)}, which are no two unit vectors"
            " at right angles; correct its header"
        )
    return Plane(
        path,
        frame or 0,
        np.array(place),
        rows / np.linalg.norm(rows),
        columns / np.linalg.norm(columns),
        (between_columns, between_rows),
        (int(dataset.Columns), int(dataset.Rows)),
        abs(float(thickness)),
        _storage(path, dataset, _group(dataset, frame, "PixelValueTransformation")),
    )


def _group(dataset: Any, frame: int | None, name: str) -> Any:
    """Give what holds the tags of a functional group: the group of a frame, or the file itself."""
    if frame is None:
        return dataset
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    for groups in (dataset.PerFrameFunctionalGroupsSequence[frame], shared[0]):
        found = groups.get(f"{name}Sequence")
        if found:
            return found[0]
    return {}


def _storage(path: Path, dataset: Any, scaling: Any) -> Storage:
    stated = [scaling.get(f"Rescale{name}") for name in ("Slope", "Intercept")]
    is_absent = [number in (None, "") for number in stated]
    slope = 1.0 if is_absent[0] else float(stated[0])
    intercept = 0.0 if is_absent[1] else float(stated[1])
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise DataError(
            f"{path}: scales its values by {slope:g} and adds {intercept:g}; correct its header"
        )
    is_first = str(dataset.get("PhotometricInterpretation")) == "MONOCHROME1"
    return Storage(
        int(dataset.BitsStored),
        bool(dataset.get("PixelRepresentation", 0)),
        slope,
        intercept,
        is_first and str(dataset.get("Modality")) not in PHYSICAL,
    )


def _numbers(path: Path, holder: Any, keyword: str, count: int) -> tuple[float, ...]:
    found = holder.get(keyword)
    if found is None or found == "":
        raise DataError(f"{path}: has no {keyword}, so that its place in space is not known")
    try:
        numbers = tuple(float(number) for number in found)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise DataError(f"{path}: has the {keyword} {found}; {count} finite numbers are needed")
    return numbers
