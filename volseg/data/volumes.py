"""Reading a NIfTI volume, or saying in one line why it cannot be used."""

import gzip
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from volseg.data.headers import (
    GRID_TOLERANCE,
    UNREADABLE,
    Affine,
    codes_of,
    judge_grid,
    judge_header,
    one_line,
    open_image,
    spatial_shape,
)
from volseg.errors import DataError, GeometryError

ENDINGS = (".nii.gz", ".nii")
"""How the files of NIfTI volumes end."""

LABEL_TOLERANCE = 1e-3
"""How far a stored label may lie from a whole number; scaled integers read back as 0.99999997."""

CHUNK = 1 << 20
"""Bytes that are read at once of what follows the voxels."""

NamedGrid = tuple[str, tuple[int, ...], Affine]
"""What a grid is called, its shape, and its affine."""


@dataclass(frozen=True)
class VolumeReport:
    """What a volume is, and what is wrong with it.

    Args:
        path: The file.
        shape: Voxels along each axis.
        spacing: Voxel edge along each axis, in mm.
        orientation: Directions of the axes, such as ``RAS``.
        dtype: Type of the stored voxels.
        codes: Codes of sform and qform.
        problems: Why volseg cannot use it.
        warnings: What is unusual about it.
    """

    path: Path
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""
    dtype: str = ""
    codes: tuple[int, int] = (0, 0)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {**asdict(self), "path": str(self.path)}


def inspect_volume(path: str | Path, *, header_only: bool = False) -> VolumeReport:
    """Look at a volume: its header, then its voxels.

    Args:
        path: A NIfTI file.
        header_only: Whether to leave the voxels unread.

    Returns:
        What it is; a file that cannot be read has a problem, and raises nothing.
    """
    file = Path(path)
    try:
        image = open_image(file)
    except DataError as error:
        return VolumeReport(file, problems=[_without_name(error, file)])
    report = _describe(file, image)
    if header_only or report.problems:
        return report
    try:
        report.warnings.extend(judge_voxels(_read_voxels(file, image)))
    except DataError as error:
        report.problems.append(_without_name(error, file))
    return report


def read_volume(path: str | Path) -> tuple[NDArray[Any], Affine, Any]:
    """Read a 3D volume.

    Args:
        path: A NIfTI file. A fourth axis of length 1 is dropped.

    Returns:
        Voxels with the header's scaling applied, ``(X, Y, Z)``; the affine, in mm; the header. A
        file that is no NIfTI, is damaged, or holds no 3D volume of real numbers on a grid that can
        be inverted, is refused with a `DataError`.
    """
    file = Path(path)
    image = open_image(file)
    _refuse(file, judge_header(file, image))
    values = _read_voxels(file, image)
    return values, np.asarray(image.affine, dtype=np.float64), image.header


def read_grid(path: str | Path) -> NamedGrid:
    """Read the grid of a volume from its header.

    Args:
        path: A NIfTI file.

    Returns:
        The file, shape and affine; a header that is not that of a usable volume is refused.
    """
    file = Path(path)
    image = open_image(file)
    _refuse(file, judge_header(file, image))
    return str(file), spatial_shape(image), np.asarray(image.affine, dtype=np.float64)


def check_pair(
    image: str | Path, label: str | Path, values: Collection[int] | None = None
) -> list[int]:
    """Refuse a label that does not belong to its image, or holds values that nobody declared.

    Args:
        image: File of the image; only its header is read.
        label: File of the label.
        values: The values that the data set knows; `None`: any whole number from 0.

    Returns:
        The values that the label holds.
    """
    return check_label(read_grid(image), label, values)


def check_label(
    grid: NamedGrid, label: str | Path, values: Collection[int] | None = None
) -> list[int]:
    """Refuse a label that does not lie on a grid, or holds values that nobody declared.

    Args:
        grid: Name, shape and affine of its image.
        label: File of the label.
        values: The values that the data set knows; `None`: any whole number from 0.

    Returns:
        The values that the label holds.

    Raises:
        DataError: If a file cannot be read, or the label holds other values.
    """
    require_same_grid(grid, read_grid(label))
    found = read_label_values(label)
    unknown = sorted(set(found) - set(found if values is None else values))
    if unknown:
        raise DataError(
            f"{label}: holds the label value {unknown[0]}, and the data set knows only"
            f" {sorted(values or ())}; correct the file or its dataset.json"
        )
    return found


def read_label_values(path: str | Path) -> list[int]:
    """Read which values a label map holds; values are rounded, never cut off.

    Args:
        path: A NIfTI file.

    Returns:
        The values, ascending.

    Raises:
        DataError: If a value is not a whole number from 0.
    """
    values = np.unique(read_volume(path)[0])
    rounded = np.rint(values)
    worst = float(np.abs(values - rounded).max())
    if not worst <= LABEL_TOLERANCE or rounded[0] < 0:
        raise DataError(
            f"{path}: is not a label map; its values lie from {values[0]:g} to {values[-1]:g}, up"
            f" to {worst:g} off a whole number"
        )
    return [int(value) for value in np.unique(rounded)]


def require_same_grid(image: NamedGrid, label: NamedGrid) -> None:
    """Refuse two grids whose voxels do not lie at the same places.

    Args:
        image: Name, shape and affine.
        label: Name, shape and affine.

    Raises:
        GeometryError: If the shapes differ, or a corner lies elsewhere.
    """
    (name, shape, affine), (other, other_shape, other_affine) = image, label
    if shape != other_shape:
        raise GeometryError(
            f"{other}: has shape {other_shape} and {name} {shape}; they must share a grid"
        )
    corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in shape))])
    gaps = np.linalg.norm(corners @ (np.asarray(affine) - np.asarray(other_affine)).T, axis=1)
    if not gaps.max() <= GRID_TOLERANCE * np.linalg.norm(affine[:3, :3], axis=0).min():
        raise GeometryError(
            f"{other}: lies up to {gaps.max():.3g} mm from {name}; they must share a grid"
        )


def judge_voxels(values: NDArray[Any]) -> list[str]:
    """List what is unusual about the voxels of a volume.

    Args:
        values: The voxels.

    Returns:
        One line a warning.
    """
    low, high, warnings = values.min(), values.max(), []
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = np.isfinite(values)
        lost = int(finite.size - finite.sum())
        if lost == finite.size:
            return ["holds no finite voxel"]
        warnings = [f"holds {lost} voxels that are NaN or infinite"]
        low, high = values[finite].min(), values[finite].max()
    return [*warnings, f"is constant: every voxel is {low:g}"] if low == high else warnings


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise DataError(f"{path}: {problems[0]}")


def _describe(path: Path, image: Any) -> VolumeReport:
    affine = np.asarray(image.affine, dtype=np.float64)
    is_placed = bool(np.isfinite(affine).all())
    problems = judge_header(path, image)
    return VolumeReport(
        path,
        spatial_shape(image),
        tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist()) if is_placed else (),
        "".join(code or "?" for code in nib.aff2axcodes(affine)) if is_placed else "",
        str(image.header.get_data_dtype()),
        codes_of(image),
        problems,
        [] if problems else judge_grid(image),
    )


def _read_voxels(path: Path, image: Any) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.asanyarray(_checked(image))
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory (shape {image.shape})") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: is damaged or cut off ({one_line(error)})") from error
    return values.reshape(values.shape[:3])


def _checked(image: Any) -> Any:
    """Give the voxels' proxy; of a gzip stream it is read to its end, where its checksum is."""
    proxy, name = image.dataobj, str(image.file_map["image"].filename)
    if not name.lower().endswith(".gz"):
        return proxy
    size = int(np.prod(proxy.shape)) * proxy.dtype.itemsize
    with gzip.open(name) as stream:
        content = stream.read(proxy.offset + size)
        while stream.read(CHUNK):
            pass
    spec = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    return ArrayProxy(BytesIO(content), spec, mmap=False)


def _without_name(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
