"""NIfTI files on the grid of a reading, and the check that they are.

Beside a NIfTI image, what a header says of space is taken over bit for bit. Beside any other image,
the sform holds the affine, and so does the qform where it can: a quaternion holds no shear.
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from volseg.data.geometry import SPATIAL_FIELDS, with_space_of
from volseg.data.headers import UNREADABLE, one_line, read_raw_header
from volseg.data.reading import Reading
from volseg.errors import GeometryError

SCANNER = 1
"""The code of an sform or qform that leads to the scanner's coordinates."""

TURN_TOLERANCE = 1e-3
"""How far a qform may lie off the affine at the volume's far end, in voxels; it is 32-bit."""


def image_on_grid(reading: Reading, values: NDArray[Any]) -> Any:
    """Make an image of nibabel that lies where a reading lies.

    Args:
        reading: The image that was read.
        values: The voxels in their stored type, ``(X, Y, Z)`` or ``(X, Y, Z, K)``.

    Returns:
        An image of nibabel, unscaled.

    Raises:
        GeometryError: If the shapes differ.
    """
    if values.shape[:3] != reading.values.shape:
        raise GeometryError(
            f"{reading.source.name}: is {reading.values.shape} voxels and what shall lie beside it"
            f" {values.shape[:3]}"
        )
    if reading.source.format == "nifti":
        return with_space_of(nib.load(reading.files[0]), values)
    made = nib.Nifti1Image(values, None)
    header = made.header
    header.set_data_dtype(values.dtype)
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header.set_sform(reading.affine, code=SCANNER)
    if not _set_qform(header, reading.affine, values.shape[:3]):
        header["qform_code"] = 0
        header["pixdim"][:4] = [1, *np.linalg.norm(reading.affine[:3, :3], axis=0)]
    return made


def require_on_grid(path: Path, reading: Reading, shape: tuple[int, ...]) -> Any:
    """Read the header of a written file back and compare it with the reading.

    Args:
        path: The NIfTI file.
        reading: The image that was read.
        shape: The shape that the file must have.

    Returns:
        The file, opened.

    Raises:
        GeometryError: If it cannot be read, or shape, affine, codes or units differ.
    """
    try:
        written = nib.load(path)
    except UNREADABLE as error:
        raise GeometryError(f"cannot be read back ({one_line(error)})") from error
    if tuple(written.shape) != tuple(shape):
        raise GeometryError(f"has shape {written.shape} when read back, not {shape}")
    if reading.source.format == "nifti":
        _compare_fields(written, nib.load(reading.files[0]))
    else:
        _compare_forms(written, reading)
    return written


def _set_qform(header: Any, affine: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Store the affine as a turn and spacings; tell whether it could be."""
    header.set_qform(affine, code=SCANNER, strip_shears=True)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    gaps = np.abs(header.get_qform()[:3, :3] - affine[:3, :3]) @ np.array(shape)
    return bool(gaps.max() <= TURN_TOLERANCE * edges.min() + _rounding(affine, shape))


def _compare_fields(written: Any, image: Any) -> None:
    ours, theirs = read_raw_header(written), read_raw_header(image)
    for name in SPATIAL_FIELDS:
        # beyond the third axis pixdim says nothing of space
        mine, other = (h[name][:4] if name == "pixdim" else h[name] for h in (ours, theirs))
        if not np.array_equal(mine, other, equal_nan=True):
            raise GeometryError(f"has {name} {mine.tolist()} and its image {other.tolist()}")
    if not np.array_equal(written.affine, image.affine):
        raise GeometryError("has another affine than its image")


def _compare_forms(written: Any, reading: Reading) -> None:
    header, affine = read_raw_header(written), reading.affine
    stored = np.stack([header[name] for name in ("srow_x", "srow_y", "srow_z")])
    if int(header["sform_code"]) != SCANNER or not np.array_equal(stored, _float32(affine)[:3]):
        raise GeometryError(f"has the sform {stored.tolist()} and its image {affine.tolist()}")
    if int(header["qform_code"]) == 0:
        return
    shape = reading.values.shape
    far = np.array([*shape, 1])
    gap = np.linalg.norm((written.header.get_qform() - affine) @ far)
    edge = np.linalg.norm(affine[:3, :3], axis=0).min()
    if not gap <= 2 * (TURN_TOLERANCE * edge + _rounding(affine, shape)):
        raise GeometryError(f"has a qform that lies {gap:.3g} mm off its image")


def _float32(affine: NDArray[np.float64]) -> NDArray[np.float32]:
    return affine.astype(np.float32)


def _rounding(affine: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Bound what 32 bits lose on the way to the farthest voxel, in mm."""
    reach = np.abs(affine[:3, :3]) @ np.array(shape) + np.abs(affine[:3, 3])
    return float(16 * np.finfo(np.float32).eps * reach.max())
