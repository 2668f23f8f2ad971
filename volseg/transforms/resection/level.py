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
        mask = torch.zeros(self.shape, dtype=torch.bool, device=self.indices.device)
        mask.view(-1)[self.indices[self.value <= level]] = True
        box = tight_box(mask)
        if box is None:
            return (0, 0, 0), mask
        return box[0], mask[box[1]]


def tight_box(mask: Tensor) -> tuple[Index, tuple[slice, slice, slice]] | None:
    """Find the box that holds all marked voxels.

    Args:
        mask: ``(D, H, W)``, bool.

    Returns:
        Its first voxel, and slices that cut it out; `None` if nothing is marked.
    """
    flat = mask.any(dim=0)
    lines = (mask.flatten(1).any(dim=1), flat.any(dim=1), flat.any(dim=0))
    hits = [line.nonzero().flatten().tolist() for line in lines]
    if not hits[0]:
        return None
    first, second, third = (slice(each[0], each[-1] + 1) for each in hits)
    return (first.start, second.start, third.start), (first, second, third)


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
    outside, count = _label(functional.pad(~mask, (1,) * 6, value=True))
    if count > 1:
        inner = torch.from_numpy(outside != 1)[1:-1, 1:-1, 1:-1].to(mask.device)
        corner, candidates = ready.below(math.inf)
        shift = np.subtract(start, corner)
        window = tuple(slice(a, a + n) for a, n in zip(shift, mask.shape, strict=True))
        mask = mask | (inner & candidates[window])
    return start, mask


def _label(mask: Tensor) -> tuple[NDArray[np.int32], int]:
    """Number the components, and count them; the first one holds the first voxel marked.

    There is no such function in torch: the mask is brought to the CPU.
    """
    labels, count = ndimage.label(mask.cpu().numpy())
    return labels, count


def _largest(mask: Tensor) -> Tensor:
    labels, count = _label(mask)
    if count == 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return torch.from_numpy(labels == sizes.argmax()).to(mask.device)
