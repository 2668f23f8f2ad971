"""Back to the native grid: from probabilities on the network's grid to a mask beside the image.

Probabilities are interpolated and the most probable class is taken on the image's own grid, slab
by slab, so that no label is ever interpolated and memory stays bounded. A mask takes over what the
image's header says about space, bit for bit, and counts as written only when it was read back.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from volseg.data.export import REACH, WHOLE, Box, align, read_labels
from volseg.data.headers import read_raw_header
from volseg.data.volumes import read_volume
from volseg.errors import DataError, GeometryError

SPATIAL_FIELDS = (
    "pixdim",
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
    "xyzt_units",
)
"""What of a NIfTI header says where voxels lie."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie.

    Args:
        shape: Voxels along each axis, ``(X, Y, Z)``.
        affine: From voxel indices to mm, ``(4, 4)``.
    """

    shape: tuple[int, ...]
    affine: Any

    def matrix(self) -> NDArray[np.float64]:
        """Give the affine as an array, refused if it cannot be inverted."""
        matrix = np.asarray(self.affine, dtype=np.float64)
        if matrix.shape == (4, 4) and np.isfinite(matrix).all():
            edges = np.linalg.norm(matrix[:3, :3], axis=0)
            if abs(np.linalg.det(matrix[:3, :3])) > 1e-6 * np.prod(edges) > 0:
                return matrix
        raise GeometryError(f"affine {matrix.tolist()} cannot be inverted")


def to_native_grid(
    probabilities: Tensor, affine: Any, native: Grid, slab: int = 16
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Bring class probabilities to a grid and take the most probable class there.

    Between voxel centres probabilities are interpolated linearly; up to one voxel beyond the
    outermost centres the nearest value holds. Everything farther out is background.

    Args:
        probabilities: Probability (or logit) of each class, ``(K, X, Y, Z)``; class 0 is the
            background.
        affine: From the indices of these voxels to mm, ``(4, 4)``.
        native: The grid of the image's file.
        slab: Slices of the first axis that are computed at once.

    Returns:
        Class of each voxel of the grid, 8-bit unless there are more than 256.

    Raises:
        GeometryError: If a grid is not three-dimensional or cannot be inverted.
    """
    if probabilities.ndim != 4 or len(native.shape) != 3:
        raise GeometryError(
            f"probabilities are {tuple(probabilities.shape)} and the grid {tuple(native.shape)};"
            " use (K, X, Y, Z) and (X, Y, Z)"
        )
    to_source = to_indices(Grid(tuple(probabilities.shape[1:]), affine), native)
    labels = np.zeros(native.shape, np.uint8 if len(probabilities) <= 256 else np.uint16)
    plain = probabilities.detach().as_subclass(Tensor)
    alignment = align(to_source, plain.shape[1:], native.shape)
    for first in range(0, native.shape[0], slab):
        last = min(first + slab, native.shape[0])
        box = (slice(first, last), slice(0, native.shape[1]), slice(0, native.shape[2]))
        if alignment is None:
            values, inside = read_between(plain, to_source, box)
            labels[box] = torch.where(inside, values.argmax(0).cpu(), 0).numpy()
        else:
            labels[box] = read_labels(plain, alignment, box)
    return labels


def to_indices(source: Grid, native: Grid) -> NDArray[np.float64]:
    """Map the voxel indices of one grid to those of another.

    Args:
        source: The grid to read.
        native: The grid to read it on.

    Returns:
        From the indices of ``native`` to those of ``source``, ``(4, 4)``. An affine that cannot be
        inverted is refused.
    """
    return np.asarray(np.linalg.solve(source.matrix(), native.matrix()), dtype=np.float64)


def read_between(volume: Tensor, to_source: NDArray[Any], box: Box) -> tuple[Tensor, Tensor]:
    """Interpolate all channels in a box of a grid that is oblique to them.

    Args:
        volume: Numbers, ``(C, X, Y, Z)``.
        to_source: From the box's voxel indices to those of the volume, ``(4, 4)``.
        box: A range of voxels along each axis of the grid.

    Returns:
        The numbers, ``(C, *box)``, and which voxels of the box lie on the volume.
    """
    axes = [torch.arange(part.start, part.stop, dtype=torch.float64) for part in box]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    matrix = torch.from_numpy(to_source)
    places = points @ matrix[:3, :3].T + matrix[:3, 3]
    size = torch.tensor(volume.shape[1:], dtype=torch.float64)
    inside = ((places >= -REACH - WHOLE) & (places <= size - 1 + REACH + WHOLE)).all(-1)
    # Coordinates -1 and 1 are the outer faces of the first and last voxel: u = (2 i + 1) / n - 1
    grid = ((2 * places + 1) / size - 1).flip(-1).float().to(volume.device)
    values = functional.grid_sample(
        volume[None].float(),
        grid[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )[0]
    return values, inside


def write_mask(
    path: Path,
    labels: NDArray[Any],
    source_path: Path,
    names: Mapping[int, str] | Collection[str] | None = None,
) -> None:
    """Write a label map with the header of its image; it is there whole or not at all.

    Args:
        path: The file, ``*.nii`` or ``*.nii.gz``.
        labels: Class of each voxel, on the image's grid.
        source_path: The image.
        names: Name of each class; they go into the description as far as its 79 letters reach.

    Raises:
        GeometryError: If the labels are not on the image's grid.
        DataError: If a label is negative or above 65535.
    """
    image = nib.load(source_path)
    shape = tuple(image.shape[:3])
    if tuple(labels.shape) != shape:
        raise GeometryError(f"mask is {labels.shape} voxels and its image {source_path} {shape}")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"labels lie from {low} to {high}; a mask holds 0 to 65535")
    mask = with_space_of(image, labels.astype(np.uint8 if high <= 255 else np.uint16))
    mask.header["descrip"] = _describe(names)
    save_whole(mask, path)


def save_whole(image: Any, path: Path) -> None:
    """Save an image of nibabel so that the file is there whole or not at all.

    Args:
        image: The image.
        path: The file, ``*.nii`` or ``*.nii.gz``.

    Raises:
        OSError: If the disk refuses; what was there before stays.
    """
    ending = ".nii.gz" if path.name.endswith(".gz") else ".nii"
    partial = path.with_name(f".{path.name.removesuffix(ending)}.{os.getpid()}.partial{ending}")
    try:
        nib.save(image, partial)
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def verify_mask(path: Path, source: Path) -> None:
    """Read a written mask back and compare it with its image.

    Args:
        path: The mask.
        source: The image.

    Raises:
        GeometryError: If shape, affine, codes or units differ, or values are no whole numbers.
    """
    mask, image = nib.load(path), nib.load(source)
    if tuple(mask.shape) != tuple(image.shape[:3]):
        raise GeometryError(f"{path}: has shape {mask.shape} and its image {image.shape}")
    ours, theirs = read_raw_header(mask), read_raw_header(image)
    for name in SPATIAL_FIELDS:
        if not _is_equal(name, ours[name], theirs[name]):
            raise GeometryError(
                f"{path}: its {name} is {ours[name].tolist()} and that of its image {source}"
                f" {theirs[name].tolist()}"
            )
    if not np.array_equal(mask.affine, image.affine):
        raise GeometryError(f"{path}: its affine differs from that of its image {source}")
    values = read_volume(path)[0]
    if values.dtype not in (np.uint8, np.uint16):
        raise GeometryError(f"{path}: holds {values.dtype}, not whole numbers from 0")


def with_space_of(image: Any, values: NDArray[Any]) -> Any:
    """Make an image whose header says of space what another's says, bit for bit.

    Args:
        image: An image of nibabel, opened from a file.
        values: The voxels, in the type in which they are to be stored.

    Returns:
        An image of nibabel, unscaled.
    """
    kind = nib.Nifti2Image if isinstance(image.header, nib.Nifti2Header) else nib.Nifti1Image
    made = kind(values, None, dtype=values.dtype)  # else int64 is refused
    stored = read_raw_header(image)
    for name in SPATIAL_FIELDS:
        made.header[name] = stored[name]
    made.header["pixdim"][4:] = 1
    made.header.set_data_dtype(values.dtype)
    made.header.set_slope_inter(1, 0)
    return made


def _is_equal(name: str, ours: Any, theirs: Any) -> bool:
    if name == "pixdim":  # beyond the third axis there is nothing to compare
        ours, theirs = ours[:4], theirs[:4]
    return bool(np.array_equal(ours, theirs, equal_nan=True))


def _describe(names: Mapping[int, str] | Collection[str] | None) -> bytes:
    if names is None:
        return b"volseg"
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
    return f"volseg: {', '.join(f'{value} {name}' for value, name in pairs)}".encode(
        "ascii", "replace"
    )[:79]
