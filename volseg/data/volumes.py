"""Reading a NIfTI volume, or saying in one line why it cannot be used.

The header is judged before a single voxel is read, so that a file that declares 64 TiB is refused
before anything is allocated. A fourth axis is time, not channels, and is refused.
"""

import zlib
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from volseg.errors import DataError, GeometryError

ENDINGS = (".nii.gz", ".nii")
"""How the files of NIfTI volumes end."""

GRID_TOLERANCE = 0.1
"""How far corners of the same grid may lie apart, in voxels: programs round affines differently."""

LABEL_TOLERANCE = 1e-3
"""How far a stored label may lie from a whole number; scaled integers read back as 0.99999997."""

GZIP_FACTOR = 1032
"""No gzip stream unpacks to more than this many times its size (its densest code)."""

THICK = 8.0
"""From this ratio of largest to smallest voxel edge on, a volume deserves a warning."""

UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)
"""What nibabel raises for files that are not what they seem."""

Affine = NDArray[np.float64]

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
        image = _open(file)
    except DataError as error:
        return VolumeReport(file, problems=[_without_name(error, file)])
    report = _inspect_header(file, image)
    if header_only or report.problems:
        return report
    try:
        report.warnings.extend(_judge_voxels(_read_voxels(file, image)))
    except DataError as error:
        report.problems.append(_without_name(error, file))
    return report


def read_volume(path: str | Path) -> tuple[NDArray[Any], Affine, Any]:
    """Read a 3D volume.

    Args:
        path: A NIfTI file. A fourth axis of length 1 is dropped.

    Returns:
        Voxels with the header's scaling applied, ``(X, Y, Z)``; the affine, in mm; the header.

    Raises:
        DataError: If it is no NIfTI file, is damaged, or not a 3D volume of real numbers on a grid
            that can be inverted.
    """
    file = Path(path)
    image = _open(file)
    problems = _inspect_header(file, image).problems
    if problems:
        raise DataError(f"{file}: {problems[0]}")
    values = _read_voxels(file, image)
    return values, np.asarray(image.affine, dtype=np.float64), image.header


def read_grid(path: str | Path) -> NamedGrid:
    """Read the grid of a volume from its header.

    Args:
        path: A NIfTI file.

    Returns:
        The file, shape and affine.

    Raises:
        DataError: If the header is not that of a usable volume.
    """
    file = Path(path)
    image = _open(file)
    report = _inspect_header(file, image)
    if report.problems:
        raise DataError(f"{file}: {report.problems[0]}")
    return str(file), report.shape, np.asarray(image.affine, dtype=np.float64)


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

    Raises:
        DataError: If a file cannot be read, or the label holds other values.
    """
    require_same_grid(read_grid(image), read_grid(label))
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
    return np.unique(rounded).astype(int).tolist()


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
            f"{other}: has shape {other_shape} and its image {name} {shape}; they must share a grid"
        )
    corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in shape))])
    gaps = np.linalg.norm(corners @ (np.asarray(affine) - np.asarray(other_affine)).T, axis=1)
    if not gaps.max() <= GRID_TOLERANCE * np.linalg.norm(affine[:3, :3], axis=0).min():
        raise GeometryError(
            f"{other}: lies up to {gaps.max():.3g} mm from its image {name}; they must share a grid"
        )


def _open(path: Path) -> Any:
    """Open a file without reading its voxels."""
    if not path.is_file():
        raise DataError(f"{path}: does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty")
    try:
        image = nib.load(path, mmap=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: is not a readable NIfTI file ({_one_line(error)})") from error
    if not isinstance(image, nib.Nifti1Pair):  # the parent of every NIfTI class
        raise DataError(
            f"{path}: is a {type(image).__name__.removesuffix('Image')} file, not NIfTI, and does"
            " not say where left and right are; convert it to NIfTI"
        )
    return image


def _inspect_header(path: Path, image: Any) -> VolumeReport:
    shape = tuple(int(length) for length in image.shape)
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    header, affine = image.header, np.asarray(image.affine, dtype=float)
    codes = (int(header["sform_code"]), int(header["qform_code"]))
    dtype = header.get_data_dtype()
    problems = [*_judge_shape(shape), *_judge_type(dtype), *_judge_affine(affine, image)]
    problems += [] if problems else _judge_length(path, image)
    is_placed = bool(np.isfinite(affine).all())
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist()) if is_placed else ()
    codes_known = "".join(code or "?" for code in nib.aff2axcodes(affine)) if is_placed else ""
    report = VolumeReport(path, shape, spacing, codes_known, str(dtype), codes, problems)
    if not problems:
        report.warnings.extend(_judge_grid(image, spacing, codes))
    return report


def _judge_shape(shape: tuple[int, ...]) -> list[str]:
    if len(shape) > 3:
        return [f"has a 4th axis (shape {shape}), which is time; give one 3D volume"]
    if len(shape) < 3:
        return [f"has {len(shape)} axes (shape {shape}); give a 3D volume"]
    return [f"has no voxels (shape {shape})"] if min(shape) < 1 else []


def _judge_type(dtype: np.dtype[Any]) -> list[str]:
    if dtype.kind in "iuf":
        return []
    name = {"V": "colour (RGB)", "c": "complex"}.get(dtype.kind, "unknown")
    return [f"holds {name} voxels of type {dtype}; give real numbers"]


def _judge_affine(affine: Affine, image: Any) -> list[str]:
    if not np.isfinite(affine).all():
        return ["has an affine that is not finite"]
    stored = read_raw_header(image)["pixdim"][1:4]  # nibabel mends a 0 in silence
    if int(image.header["sform_code"]) == 0 and not (np.isfinite(stored) & (stored != 0)).all():
        return [f"has a voxel edge of 0 mm (edges {_numbers(stored)}); correct its header"]
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    volume = abs(np.linalg.det(affine[:3, :3]))
    if min(edges) == 0:
        return [f"has a voxel edge of 0 mm (edges {_numbers(edges)}); correct its header"]
    if volume < 1e-6 * np.prod(edges):
        return ["has a singular affine: two of its axes run in parallel; correct its header"]
    return []


def read_raw_header(image: Any) -> Any:
    """Read the header of an opened NIfTI image as it is stored, with nothing mended.

    Args:
        image: An image of nibabel, opened from a file.

    Returns:
        The header.
    """
    holder = image.file_map.get("header", image.file_map["image"])
    with holder.get_prepare_fileobj("rb") as stream:
        return type(image.header).from_fileobj(stream, check=False)


def _judge_length(path: Path, image: Any) -> list[str]:
    """Compare what the header declares with what the file can hold, before allocating it."""
    needed = (
        int(np.prod([int(n) for n in image.shape], dtype=object)) * image.dataobj.dtype.itemsize
    )
    data_file = Path(image.file_map["image"].filename or path)
    if not data_file.is_file():
        return [f"lacks its data file {data_file.name}"]
    factor = GZIP_FACTOR if data_file.suffix in (".gz", ".bz2", ".zst") else 1
    if needed <= factor * data_file.stat().st_size:
        return []
    return [
        f"declares {_bytes(needed)} of voxels (shape {tuple(image.shape)}), which a file of"
        f" {_bytes(data_file.stat().st_size)} cannot hold; it is damaged"
    ]


def _judge_grid(image: Any, spacing: tuple[float, ...], codes: tuple[int, int]) -> list[str]:
    warnings = []
    if codes == (0, 0):
        warnings.append(
            "states no orientation (sform and qform code 0); left and right are a guess"
        )
    if min(codes) > 0:
        sform, qform = image.header.get_sform(), image.header.get_qform()
        if np.abs(sform - qform).max() > GRID_TOLERANCE * min(spacing):
            warnings.append("has an sform and a qform that differ; the sform is used")
    if max(spacing) >= THICK * min(spacing):
        warnings.append(f"has very unequal voxel edges ({_numbers(spacing)} mm)")
    axes = np.asarray(image.affine)[:3, :3] / np.asarray(spacing)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-2:
        warnings.append("has a sheared affine: its axes are not at right angles")
    return warnings


def _read_voxels(path: Path, image: Any) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.asanyarray(image.dataobj)
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory (shape {image.shape})") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: is damaged or cut off ({_one_line(error)})") from error
    return values.reshape(values.shape[:3])


def _judge_voxels(values: NDArray[Any]) -> list[str]:
    finite = np.isfinite(values)
    lost = int(finite.size - finite.sum())
    if lost == finite.size:
        return ["holds no finite voxel"]
    warnings = [f"holds {lost} voxels that are NaN or infinite"] if lost else []
    low, high = values[finite].min(), values[finite].max()
    return [*warnings, f"is constant: every voxel is {low:g}"] if low == high else warnings


def _without_name(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _numbers(values: Collection[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _bytes(count: int) -> str:
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"
