"""Reading NRRD and MetaImage volumes, or saying in one line why they cannot be used.

ITK counts millimetres towards left, posterior and superior (LPS), volseg towards right, anterior
and superior (RAS): the first two rows of the affine change their signs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from numpy.typing import NDArray

from volseg.data.headers import Affine, judge_affine, judge_shape, one_line
from volseg.errors import DataError

COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)

GRID_KEYS = (
    *("TransformMatrix", "Rotation", "Orientation"),
    *("Offset", "Position", "Origin"),
    *("ElementSpacing", "ElementSize"),
)
"""The keys of a MetaImage that place its voxels, with their synonyms."""

KNOWN_SPACES = ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior")
"""The spaces of NRRD that say where left, back and top are."""

LONGEST_HEADER = 1000
"""Lines of a MetaImage's header that are looked at."""

READERS = {"nrrd": "NrrdImageIO", "metaimage": "MetaImageIO"}
"""The reader of ITK for each format; another would take a renamed file for what it is not."""

LONGEST_REASON = 160
"""Letters of a message of ITK that are shown; what went wrong stands at its end."""


def read_itk_file(path: Path, kind: str) -> tuple[NDArray[Any], Affine, list[str]]:
    """Read a 3D volume of real numbers.

    Args:
        path: The file. A fourth axis of length 1 is dropped.
        kind: ``nrrd`` or ``metaimage``.

    Returns:
        Voxels, ``(X, Y, Z)``; affine, from voxel indices to RAS mm; what is unusual. A file that
        is damaged or holds something else is refused with a `DataError`.
    """
    reader, shape, affine = _open_volume(path, kind)
    values = _read_voxels(path, reader).T.reshape(shape)
    return values, affine, _judge_space(reader) if kind == "nrrd" else []


def read_itk_grid(path: Path, kind: str) -> tuple[tuple[int, ...], Affine]:
    """Read the grid of a volume from its header.

    Args:
        path: The file.
        kind: ``nrrd`` or ``metaimage``.

    Returns:
        Shape and affine; a header that is not that of a usable volume is refused.
    """
    return _open_volume(path, kind)[1:]


def itk_affine(image: Any) -> Affine:
    """Give the affine of the first three axes.

    Args:
        image: An image of SimpleITK, or the reader of one.

    Returns:
        From voxel indices to RAS mm, ``(4, 4)``; of fewer than three axes, one that is never used.
    """
    number, affine = image.GetDimension(), np.eye(4)
    if number >= 3:
        directions = np.reshape(image.GetDirection(), (number, number))[:3, :3]
        affine[:3, :3] = directions * np.asarray(image.GetSpacing()[:3])
        affine[:3, 3] = image.GetOrigin()[:3]
    return np.diag([-1.0, -1, 1, 1]) @ affine


def _open_volume(path: Path, kind: str) -> tuple[Any, tuple[int, ...], Affine]:
    """Open a file and refuse what its header does not place in space."""
    reader = _open(path, kind)
    shape = tuple(int(length) for length in reader.GetSize())
    shape = shape[:3] if len(shape) == 4 and shape[3] == 1 else shape
    affine = itk_affine(reader)
    problems = [*judge_shape(shape), *_judge_pixels(reader), *judge_affine(affine)]
    problems = problems or (_judge_numbers(path) if kind == "metaimage" else [])
    if problems:
        raise DataError(f"{path}: {problems[0]}")
    return reader, shape, affine


def _open(path: Path, kind: str) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty")
    reader: Any = sitk.ImageFileReader()  # type: ignore[no-untyped-call] # half typed
    reader.SetFileName(str(path))
    reader.SetImageIO(READERS[kind])
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        name = {"nrrd": "NRRD", "metaimage": "MetaImage"}[kind]
        raise DataError(f"{path}: is not a readable {name} file ({_reason(error)})") from error
    return reader


def _judge_pixels(reader: Any) -> list[str]:
    if reader.GetNumberOfComponents() > 1 and reader.GetPixelID() not in COMPLEX:
        count = reader.GetNumberOfComponents()
        return [f"holds {count} numbers a voxel (colour or vectors); give real numbers"]
    if reader.GetPixelID() in COMPLEX:
        return ["holds complex voxels; give real numbers"]
    return []


def _judge_space(reader: Any) -> list[str]:
    space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
    if space in KNOWN_SPACES:
        return []
    stated = f"the space {space}" if space else "no space"
    return [f"states {stated}; left and right are a guess"]


def _judge_numbers(path: Path) -> list[str]:
    """Find the numbers of a MetaImage's grid that are none; ITK takes them for 0 in silence."""
    for key, value in _lines_of(path):
        if key in GRID_KEYS and not _are_finite(value):
            return [f"has the {key} {value!r}, which are no finite numbers; correct its header"]
    return []


def _lines_of(path: Path) -> list[tuple[str, str]]:
    """List keys and values of a MetaImage's header, which ends at the name of its data."""
    lines = []
    with path.open("rb") as stream:
        for _ in range(LONGEST_HEADER):
            key, _, value = stream.readline(1 << 16).decode("latin-1").partition("=")
            lines.append((key.strip(), value.strip()))
            if key.strip() == "ElementDataFile":
                break
    return lines


def _are_finite(text: str) -> bool:
    try:
        return all(np.isfinite(float(word)) for word in text.split())
    except ValueError:
        return False


def _read_voxels(path: Path, reader: Any) -> NDArray[Any]:
    try:
        values: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            size = reader.GetSize()
            raise DataError(f"{path}: does not fit into memory (shape {size})") from error
        raise DataError(f"{path}: is damaged or cut off ({_reason(error)})") from error
    return values


def _reason(error: RuntimeError) -> str:
    text = one_line(error).rsplit("ERROR: ", 1)[-1].removesuffix(" Reason: Success")
    return text if len(text) <= LONGEST_REASON else f"...{text[-LONGEST_REASON:]}"
