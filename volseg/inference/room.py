"""Whether an image can be brought to the network's grid at all, judged by its header.

A header that claims voxels of a metre turns a small file into a grid of terabytes. The system may
grant that much and end the process, and with it the batch, once it is used.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import nibabel as nib
import numpy as np
from monai.transforms import Compose, Spacing, Spacingd
from numpy.typing import NDArray

from volseg.errors import DataError
from volseg.inference.memory import Ceiling, available

PREPARED_BYTES = 12
"""Bytes a voxel of the image's and of the network's grid while an image is brought to the network:
the volume in single precision, a copy, and the places that are read."""

Size3 = tuple[int, ...]


def network_shape(
    shape: Sequence[int], affine: NDArray[np.float64], spacing: Sequence[float] | None
) -> Size3:
    """Give the shape of an image on the network's grid.

    Args:
        shape: Voxels along each axis of the image.
        affine: From its voxel indices to RAS mm, ``(4, 4)``.
        spacing: Voxel edge of the network's grid along each axis, in mm; `None`: the image's own.

    Returns:
        Voxels along R, A and S, to the nearest voxel.
    """
    order = np.argsort(nib.orientations.io_orientation(affine)[:, 0])
    edges = np.linalg.norm(affine[:3, :3], axis=0)[order]
    sizes = [shape[axis] for axis in order]
    if spacing is None:
        return tuple(sizes)
    pairs = zip(sizes, edges, spacing, strict=True)
    return tuple(max(1, round((size - 1) * edge / wanted) + 1) for size, edge, wanted in pairs)


def spacing_of(preprocessing: Any) -> tuple[float, ...] | None:
    """Find the spacing to which a preprocessing brings images.

    Args:
        preprocessing: A `Compose`.

    Returns:
        Voxel edges in mm; `None` if it has no step that says so.
    """
    steps = preprocessing.transforms if isinstance(preprocessing, Compose) else ()
    for step in steps:
        inner = step.spacing_transform if isinstance(step, Spacingd) else step
        if isinstance(inner, Spacing):
            edges = tuple(float(edge) for edge in inner.pixdim)
            return edges if len(edges) == 3 and min(edges) > 0 else None
    return None


def require_room(shape: Sequence[int], size: Sequence[int], channels: int, most: Ceiling) -> None:
    """Refuse an image that cannot be brought to the network's grid in the memory that there is.

    Args:
        shape: Voxels along each axis of the image.
        size: The same on the network's grid.
        channels: How many images of that shape make the case.
        most: How much memory may be used.

    Raises:
        DataError: If it needs more than the ceiling, or more than the machine has to give.
    """
    needed = PREPARED_BYTES * channels * (prod(shape) + prod(size))
    limit, whose = (most.host, "the ceiling") if most.host else (available(), "the free memory")
    if needed > limit:
        grid = " x ".join(f"{length:.3g}" for length in size)
        raise DataError(
            f"has {grid} voxels on the network's grid, which takes about {needed / 2**30:.3g} GiB,"
            f" and {whose} is {limit / 2**30:.3g} GiB; correct its header, or allow more memory"
        )
