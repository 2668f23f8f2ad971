"""What tissues cost: structures that surgeons spare, and outlines that they follow."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.cavity import Solid

PRICES = {
    Tissue.FLUID: -0.05,
    Tissue.VENTRICLE: 0.7,
    Tissue.WHITE: 0.1,
    Tissue.DEEP: 1.2,
    Tissue.LIMBIC: 0.3,
    Tissue.CALLOSUM: 1.0,
    Tissue.BRAINSTEM: 1.5,
    Tissue.CEREBELLUM_WHITE: 0.1,
}
"""What a voxel and its neighbours add to the field, in radii; other tissues are free."""

PRICE_PITCH = 2.0
"""Prices and distances to outlines are worked out on about this grid, in mm."""


def _strides(box: Anatomy) -> list[int]:
    return [max(1, round(PRICE_PITCH / float(edge))) for edge in box.spacing]


def _resize(volume: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Read a volume of every n-th voxel between those, linearly."""
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        if stride > 1:
            volume = _interpolate(volume, axis, size, stride)
    return volume


def _interpolate(volume: Tensor, axis: int, size: int, stride: int) -> Tensor:
    places = torch.arange(size) / stride
    lower = places.floor().long()
    upper = (lower + 1).clamp(max=volume.shape[axis] - 1)
    weight = (places - lower).reshape([-1 if each == axis else 1 for each in range(3)])
    return torch.lerp(volume.index_select(axis, lower), volume.index_select(axis, upper), weight)


def prices(box: Anatomy, solid: Solid) -> Tensor:
    """Work out what each voxel's neighbourhood adds to the field.

    Args:
        box: The maps of the box.
        solid: The solid; the tissue that it follows is free.

    Returns:
        The prices, ``(d, h, w)``.
    """
    strides = _strides(box)
    table = torch.zeros(len(Tissue))
    for tissue, price in PRICES.items():
        table[tissue] = 0.0 if tissue == solid.tissue else price
    sampled = table[box.tissue[:: strides[0], :: strides[1], :: strides[2]].int()]
    padded = functional.pad(sampled[None, None], (1,) * 6, mode="replicate")
    return _resize(functional.avg_pool3d(padded, 3, 1)[0, 0], box.tissue.shape, strides)


def outline(box: Anatomy, solid: Solid, side: int) -> Tensor | None:
    """Measure the distance to the tissue that a solid follows.

    Args:
        box: The maps of the box.
        solid: The solid.
        side: `Side` that is operated; 0 for both.

    Returns:
        Signed distance in mm, negative inside, ``(d, h, w)``; `None` if there is nothing to follow.
    """
    if not solid.tissue:
        return None
    steps = _strides(box)
    inside = (box.tissue == solid.tissue) & ((box.side == side) | (side == 0) | (box.side == 0))
    inside = inside[:: steps[0], :: steps[1], :: steps[2]]
    if not inside.any() or inside.all():
        return None
    edges = box.spacing * steps
    outer = ndimage.distance_transform_edt(~inside.numpy(), sampling=edges)
    inner = ndimage.distance_transform_edt(inside.numpy(), sampling=edges)
    half = float(edges.mean()) / 2
    distance = torch.from_numpy((outer - inner).astype(np.float32))
    distance -= half * distance.sign()
    return _resize(distance, box.tissue.shape, steps)
