"""Reading an image, whatever its format: a file or a DICOM series becomes voxels and an affine."""

from pathlib import Path

from volseg.data.dicom.headers import ENDINGS as DICOM_ENDINGS
from volseg.data.dicom.headers import is_dicom
from volseg.data.dicom.series import find_series
from volseg.data.dicom.volume import read_series, read_stack
from volseg.data.headers import judge_axes, judge_grid, open_image
from volseg.data.itk_files import read_itk_file, read_itk_grid
from volseg.data.source import Reading, Source
from volseg.data.volumes import NamedGrid, judge_voxels, read_grid, read_volume
from volseg.errors import DataError

__all__ = [
    "FORMATS",
    "Reading",
    "Source",
    "format_of",
    "read_source",
    "read_source_grid",
    "source_of",
]

FORMATS = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".hdr": "nifti",
    ".img": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}
"""What a file of each ending holds; DICOM, which often has none, is known by its content."""


SHOWN = 4
"""Series that a message names."""


def format_of(path: Path) -> str | None:
    """Tell the format of a file from its name; nothing is read.

    Args:
        path: The file.

    Returns:
        Its format; `None` if the ending does not tell, as that of DICOM.
    """
    ending = _ending(path)
    return FORMATS[ending] if ending is not None else None


def source_of(path: Path, name: str | None = None) -> Source:
    """Say which files make an image.

    Args:
        path: A file, or a folder that holds one DICOM series and no other.
        name: What to call it; `None`: the name of file or folder, without ending.

    Returns:
        The source. That a file is there and readable shows only when it is read.

    Raises:
        DataError: If it is none that volseg reads, or a folder of several series.
    """
    if path.is_dir():
        return _source_of_folder(path, name)
    ending = _ending(path)
    if ending is not None:
        own = path.name[: -len(ending)]
        return Source(own if name is None else name, (path,), FORMATS[ending])
    if not path.is_file():
        raise DataError(f"{path}: does not exist")
    if not is_dicom(path):
        raise DataError(f"{path}: is no image file; give {', '.join(FORMATS)} or DICOM")
    own = path.stem if path.suffix.lower() in DICOM_ENDINGS else path.name
    return Source(own if name is None else name, (path,), "dicom")


def read_source(source: Source) -> Reading:
    """Read an image.

    Args:
        source: Which files make it.

    Returns:
        Voxels, affine and what is unusual about them.

    Raises:
        DataError: If a file is missing, damaged, or holds no 3D volume of real numbers on a grid
            that can be inverted; it names the file.
    """
    if source.format == "dicom":
        return _read_dicom(source)
    (path,) = source.files
    if source.format == "nifti":
        values, affine, _ = read_volume(path)
        warnings = judge_grid(open_image(path))
    elif source.format in ("nrrd", "metaimage"):
        values, affine, warnings = read_itk_file(path, source.format)
        warnings = [*warnings, *judge_axes(affine)]
    else:
        raise DataError(f"{path}: has the unknown format {source.format!r}")
    return Reading(source, values, affine, source.files, (*warnings, *judge_voxels(values)))


def read_source_grid(source: Source) -> NamedGrid:
    """Read from its headers where an image lies; voxels stay unread.

    Args:
        source: Which files make it.

    Returns:
        Its first file, its shape, and its affine from voxel indices to RAS mm. What
        `read_source` would refuse for its headers, this refuses.
    """
    path = source.files[0]
    if source.format == "dicom":
        stack = read_stack(source.files)
        return str(path), (*stack.planes[0].size, len(stack.planes)), stack.affine
    if source.format == "nifti":
        return read_grid(path)
    return str(path), *read_itk_grid(path, source.format)


def _source_of_folder(folder: Path, name: str | None) -> Source:
    found = find_series(folder)
    if not found:
        raise DataError(f"{folder}: holds no DICOM series; give a file or a folder of one series")
    if len(found) > 1:
        names = ", ".join(series.name for series in found[:SHOWN])
        raise DataError(
            f"{folder}: holds {len(found)} DICOM series ({names}{', ...' * (len(found) > SHOWN)});"
            " give the folder of one, or the sources that find_series lists"
        )
    own = folder.resolve().name
    return Source(own if name is None else name, found[0].files, "dicom")


def _read_dicom(source: Source) -> Reading:
    values, stack, warnings = read_series(source.files)
    files = tuple(plane.file for plane in stack.planes)
    return Reading(source, values, stack.affine, files, (*warnings, *judge_voxels(values)))


def _ending(path: Path) -> str | None:
    return next((ending for ending in FORMATS if path.name.lower().endswith(ending)), None)
