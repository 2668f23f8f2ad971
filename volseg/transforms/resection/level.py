"""The level of a field at which the cavity has its volume."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from volseg.transforms.resection.solid import Index

ATTEMPTS = 6
"""How often the level is moved to make up for specks and holes."""


@dataclass(frozen=True)
class Candidates:
    """The field at the voxels of a box that can be taken out.

    Args:
        shape: Voxels of the box along each axis.
        indices: Places of the voxels in memory, ``(N,)``.
        value: The field there, ``(N,)``.
    """

    shape: Index
    indices: Tensor
    value: Tensor

    def level(self, count: int, stride: int = 1) -> float:
        """Find the value up to which a number of voxels lies.

        Args:
            count: Their number; at least 1 and at most all of them are counted.
            stride: Look at every so many voxels only; the value is then approximate.

        Returns:
            The value.
        """
        values = self.value[::stride]
        count = min(max(round(count / stride), 1), len(values))
        return float(values.kthvalue(count).values)

    def below(self, level: float) -> tuple[Index, Tensor]:
        """Mark the voxels up to a level.

        Args:
            level: Value of the field; some voxel must reach it.

        Returns:
            First voxel of their tight box, and the mask in it, ``(d, h, w)``.
        """
        voxels = unravel(self.indices[self.value <= level], self.shape)
        low, high = voxels.amin(dim=1), voxels.amax(dim=1) + 1
        mask = torch.zeros((high - low).tolist(), dtype=torch.bool)
        mask[tuple(voxels - low[:, None])] = True
        return (int(low[0]), int(low[1]), int(low[2])), mask


def unravel(indices: Tensor, shape: Index) -> Tensor:
    """Turn places in memory into voxels.

    Args:
        indices: The places, ``(N,)``.
        shape: Voxels of the box along each axis.

    Returns:
        Indices along each axis, ``(3, N)``.
    """
    _, high, wide = shape
    rows = indices.div(wide, rounding_mode="floor")
    slices = rows.div(high, rounding_mode="floor")
    return torch.stack([slices, rows - slices * high, indices - rows * wide])


def find_component(ready: Candidates, count: int) -> tuple[Index, Tensor]:
    """Take the smallest values so that their largest component has a number of voxels.

    Args:
        ready: The field.
        count: The number of voxels.

    Returns:
        First voxel of the component's box, and the mask in it, ``(d, h, w)``.
    """
    wanted, everything = min(count, len(ready.value)), len(ready.value)
    best, error = None, math.inf
    for _ in range(ATTEMPTS):
        corner, mask = _mend(ready, ready.level(wanted))
        missing = count - int(mask.sum())
        if best is None or abs(missing) < error:
            best, error = (corner, mask), abs(missing)
        if abs(missing) <= 0.002 * count or (wanted == everything and missing > 0):
            break
        wanted = min(max(wanted + missing, 1), everything)
    return best if best is not None else ready.below(math.inf)


def _mend(ready: Candidates, level: float) -> tuple[Index, Tensor]:
    """Keep the largest component below a level, and fill the holes that could be taken too."""
    start, mask = ready.below(level)
    mask = _largest(mask)
    outside = _label(functional.pad(~mask, (1,) * 6, value=True).numpy()) == 1
    holes = torch.from_numpy(~outside[1:-1, 1:-1, 1:-1]) & ~mask
    if holes.any():
        corner, candidates = ready.below(math.inf)
        shift = np.subtract(start, corner)
        window = tuple(slice(a, a + n) for a, n in zip(shift, mask.shape, strict=True))
        mask = mask | (holes & candidates[window])
    return start, mask


def _label(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the components; the first one found holds the first voxel that is marked."""
    labels: NDArray[np.int32] = ndimage.label(mask)[0]
    return labels


def _largest(mask: Tensor) -> Tensor:
    labels = _label(mask.numpy())
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return torch.from_numpy(labels == sizes.argmax())
