"""What a NIfTI header says, judged before a single voxel is read.

A header that declares 64 TiB is refused before anything is allocated. A fourth axis is time, not
channels, and is refused.
"""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from volseg.errors import DataError

GRID_TOLERANCE = 0.1
"""How far corners of the same grid may lie apart, in voxels: programs round affines differently."""

GZIP_FACTOR = 1032
"""No gzip stream unpacks to more than this many times its size (its densest code)."""

THICK = 8.0
"""From this ratio of largest to smallest voxel edge on, a volume deserves a warning."""

FINEST, COARSEST = 0.01, 100.0
"""Voxel edges in mm beyond which a header is probably in metres or micrometres."""

UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)
"""What nibabel raises for files that are not what they seem."""

Affine = NDArray[np.float64]


def open_image(path: Path) -> Any:
    """Open a NIfTI file without reading its voxels.

    Args:
        path: The file.

    Returns:
        An image of nibabel.

    Raises:
        DataError: If it is no NIfTI file.
    """
    if not path.is_file():
        raise DataError(f"{path}: does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty")
    try:
        image = nib.load(path, mmap=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: is not a readable NIfTI file ({one_line(error)})") from error
    if not isinstance(image, nib.Nifti1Pair):  # the parent of every NIfTI class
        raise DataError(
            f"{path}: is a {type(image).__name__.removesuffix('Image')} file, not NIfTI, and does"
            " not say where left and right are; convert it to NIfTI"
        )
    return image


def judge_header(path: Path, image: Any) -> list[str]:
    """List why a volume cannot be used, as far as the header tells.

    Args:
        path: The file.
        image: The opened image.

    Returns:
        One line a problem.
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    problems = [
        *judge_shape(spatial_shape(image)),
        *_judge_type(image.header.get_data_dtype()),
        *(judge_affine(affine) or _judge_stored_edges(image)),
    ]
    return problems or _judge_length(path, image)


def spatial_shape(image: Any) -> tuple[int, ...]:
    """Give the shape of an image; a fourth axis of length 1 is dropped.

    Args:
        image: The opened image.

    Returns:
        Voxels along each axis.
    """
    shape = tuple(int(length) for length in image.shape)
    return shape[:3] if len(shape) == 4 and shape[3] == 1 else shape


def judge_grid(image: Any) -> list[str]:
    """List what is unusual about the grid of a volume that can be used.

    Args:
        image: The opened image.

    Returns:
        One line a warning.
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    codes = codes_of(image)
    warnings = []
    if codes == (0, 0):
        warnings.append(
            "states no orientation (sform and qform code 0); left and right are a guess"
        )
    if min(codes) > 0:
        sform, qform = image.header.get_sform(), image.header.get_qform()
        if np.abs(sform - qform).max() > GRID_TOLERANCE * min(spacing):
            warnings.append("has an sform and a qform that differ; the sform is used")
    return [*warnings, *judge_axes(affine)]


def judge_axes(affine: Affine) -> list[str]:
    """List what is unusual about the axes of a grid that can be used.

    Args:
        affine: From voxel indices to mm, ``(4, 4)``.

    Returns:
        One line a warning.
    """
    warnings = []
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if min(spacing) < FINEST or max(spacing) > COARSEST:
        ends = f"{min(spacing):.3g} to {max(spacing):.3g} mm"
        warnings.append(f"has voxel edges of {ends}, as no scanner has; are they in mm?")
    if max(spacing) >= THICK * min(spacing):
        warnings.append(f"has very unequal voxel edges ({_numbers(spacing)} mm)")
    axes = affine[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-2:
        warnings.append("has a sheared affine: its axes are not at right angles")
    return warnings


def codes_of(image: Any) -> tuple[int, int]:
    """Give the codes of sform and qform.

    Args:
        image: The opened image.

    Returns:
        The two codes; 0: not set.
    """
    return int(image.header["sform_code"]), int(image.header["qform_code"])


def one_line(error: BaseException) -> str:
    """Give the text of an error without line breaks, or its type if it has none.

    Args:
        error: The error.

    Returns:
        The text.
    """
    return " ".join(str(error).split()) or type(error).__name__


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


def judge_shape(shape: tuple[int, ...]) -> list[str]:
    """List why a shape is not that of a volume.

    Args:
        shape: Voxels along each axis.

    Returns:
        One line a problem.
    """
    if len(shape) > 3:
        return [f"has a 4th axis (shape {shape}), which is time; give one 3D volume"]
    if len(shape) < 3:
        return [f"has {len(shape)} axes (shape {shape}); give a 3D volume"]
    return [f"has no voxels (shape {shape})"] if min(shape) < 1 else []


def judge_affine(affine: Affine) -> list[str]:
    """List why an affine does not place every voxel.

    Args:
        affine: From voxel indices to mm, ``(4, 4)``.

    Returns:
        One line a problem.
    """
    if not np.isfinite(affine).all():
        return ["has an affine that is not finite"]
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    volume = abs(np.linalg.det(affine[:3, :3]))
    if min(edges) == 0:
        return [f"has a voxel edge of 0 mm (edges {_numbers(edges)}); correct its header"]
    if volume < 1e-6 * np.prod(edges):
        return ["has a singular affine: two of its axes run in parallel; correct its header"]
    return []


def _judge_type(dtype: np.dtype[Any]) -> list[str]:
    if dtype.kind in "iuf":
        return []
    name = {"V": "colour (RGB)", "c": "complex"}.get(dtype.kind, "unknown")
    return [f"holds {name} voxels of type {dtype}; give real numbers"]


def _judge_stored_edges(image: Any) -> list[str]:
    stored = read_raw_header(image)["pixdim"][1:4]  # nibabel mends a 0 in silence
    if int(image.header["sform_code"]) == 0 and not (np.isfinite(stored) & (stored != 0)).all():
        return [f"has a voxel edge of 0 mm (edges {_numbers(stored)}); correct its header"]
    return []


def _judge_length(path: Path, image: Any) -> list[str]:
    """Compare what the header declares with what the file can hold, before allocating it."""
    needed = (
        int(np.prod([int(n) for n in image.shape], dtype=object)) * image.dataobj.dtype.itemsize
    )
    data_file = Path(image.file_map["image"].filename or path)
    if not data_file.is_file():
        return [f"lacks its data file {data_file.name}"]
    factor = GZIP_FACTOR if data_file.suffix.lower() in (".gz", ".bz2", ".zst") else 1
    if needed <= factor * data_file.stat().st_size:
        return []
    held = data_file.stat().st_size
    declared = f"declares {_bytes(needed)} of voxels (shape {tuple(image.shape)})"
    return [f"{declared}, which a file of {_bytes(held)} cannot hold; it is damaged"]


def _numbers(values: Collection[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _bytes(count: int) -> str:
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"
