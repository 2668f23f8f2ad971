"""What tissues cost: structures that surgeons spare, and outlines that they follow."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.cavity import Solid
from volseg.transforms.resection.thinning import refine, strides

PRICES = {
    Tissue.VENTRICLE: 0.7,
    Tissue.WHITE: 0.1,
    Tissue.DEEP: 1.2,
    Tissue.LIMBIC: 0.3,
    Tissue.CALLOSUM: 1.0,
    Tissue.BRAINSTEM: 1.5,
    Tissue.CEREBELLUM_WHITE: 0.1,
}
"""What a voxel and its neighbours add to the field, in radii; other tissues are free."""

POOL_PRICE = 0.4
"""What a place adds whose neighbourhood is all fluid: sulci are taken, cisterns are not."""

POOL_SHARE = 0.6
"""Where less than this is fluid, it is free."""

PRICE_PITCH = 2.0
"""Prices and distances to outlines are worked out on about this grid, in mm."""


def prices(box: Anatomy, solid: Solid) -> Tensor:
    """Work out what each voxel's neighbourhood adds to the field.

    Args:
        box: The maps of the box.
        solid: The solid; the tissue that it follows is free.

    Returns:
        The prices, ``(d, h, w)``.
    """
    steps = strides(box, PRICE_PITCH)
    costs = [PRICES.get(tissue, 0.0) * (tissue != solid.tissue) for tissue in Tissue]
    table = torch.tensor(costs).to(box.device)
    sparse = box.tissue[:: steps[0], :: steps[1], :: steps[2]].int()
    near = table.index_select(0, sparse.reshape(-1)).view(sparse.shape)
    near, fluid = _average(torch.stack([near, (sparse == int(Tissue.FLUID)).float()])).unbind(0)
    if not solid.lobe:
        near = near + (fluid - POOL_SHARE).clamp_(min=0) * (POOL_PRICE / (1 - POOL_SHARE))
    return refine(near[None], box.tissue.shape, steps)[0].contiguous()


def _average(volumes: Tensor) -> Tensor:
    """Average over each voxel and its 26 neighbours; the border is continued."""
    total = functional.pad(volumes[None], (1,) * 6, mode="replicate")[0]
    for axis in (1, 2, 3):
        count = total.shape[axis] - 2
        first, second, third = (total.narrow(axis, start, count) for start in range(3))
        total = (first + second).add_(third)
    return total / 27


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
    steps = strides(box, PRICE_PITCH)
    inside = (box.tissue == solid.tissue) & ((box.side == side) | (side == 0) | (box.side == 0))
    inside = inside[:: steps[0], :: steps[1], :: steps[2]]
    if not inside.any() or inside.all():
        return None
    edges, known = box.spacing * steps, inside.cpu().numpy()
    outer = ndimage.distance_transform_edt(~known, sampling=edges)
    inner = ndimage.distance_transform_edt(known, sampling=edges)
    half = float(edges.mean()) / 2
    distance = torch.from_numpy((outer - inner).astype(np.float32)).to(box.device)
    distance -= half * distance.sign()
    return refine(distance[None], box.tissue.shape, steps)[0].contiguous()
