"""Voxels in the order in which files hold them: the first axis runs fastest.

Copying a volume of the other order plainly misses the cache at every voxel; block by block it takes
a tenth of the time, and all that follows (writing, reading back, comparing) runs along memory.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

EDGE = 64
"""Voxels along the first two axes of a block: a line of the cache each way."""


def in_file_order(values: NDArray[Any], dtype: np.dtype[Any] | type[Any]) -> NDArray[Any]:
    """Bring a volume into the order of files.

    Args:
        values: The volume, ``(X, Y, Z)``.
        dtype: The type of the result, which must hold the values.

    Returns:
        The volume itself if it is as wanted, or a copy.
    """
    if values.dtype == dtype and values.flags.f_contiguous:
        return values
    ordered = np.empty(values.shape, dtype, order="F")
    for block in blocks_of(values.shape):
        ordered[block] = values[block]
    return ordered


def blocks_of(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut a volume into blocks along its first two axes.

    Args:
        shape: Voxels along each axis.

    Yields:
        Where each block lies.
    """
    for first, second in product(range(0, shape[0], EDGE), range(0, shape[1], EDGE)):
        yield slice(first, first + EDGE), slice(second, second + EDGE)


def slices_of(values: NDArray[Any]) -> NDArray[Any]:
    """Turn a volume so that its first axis runs over slices that lie together in memory.

    Args:
        values: The volume.

    Returns:
        A view of it.
    """
    return np.moveaxis(values, int(np.argmax(np.abs(values.strides))), 0)
