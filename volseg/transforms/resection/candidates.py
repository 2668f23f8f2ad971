"""The voxels of a box that can be taken out, and the field of a solid there."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy, Lobe, Tissue
from volseg.transforms.resection.cavity import Solid
from volseg.transforms.resection.level import Candidates
from volseg.transforms.resection.noise import space_noise
from volseg.transforms.resection.price import outline, prices
from volseg.transforms.resection.solid import (
    Index,
    as_float,
    evaluate,
    is_near,
    level_within,
    measure,
    roughen,
)

THINNED = 8
"""Where a level need not be exact, it is found from every so many voxels."""

LOBE_WAVELENGTH = 22.0
"""Borders of lobes are moved about over this many mm,"""

LOBE_UNEVENNESS = 2.0
"""and by about this many mm along each axis."""

KEPT = frozenset({Tissue.VENTRICLE, Tissue.BRAINSTEM})
CEREBELLUM = frozenset({Tissue.CEREBELLUM_CORTEX, Tissue.CEREBELLUM_WHITE})

Maps = tuple[Tensor, Tensor, Tensor, Tensor]
"""Tissue, side, lobe and depth of some voxels."""


def resectable(anatomy: Anatomy, side: int, *, is_infratentorial: bool = False) -> Tensor:
    """Mark what can be taken out.

    Args:
        anatomy: The maps of the head or of a box of it.
        side: `Side` that is operated; 0 for both.
        is_infratentorial: The cerebellum is operated, not the cerebrum.

    Returns:
        Boolean mask, ``(D, H, W)``.
    """
    maps = (anatomy.tissue, anatomy.side, anatomy.lobe, anatomy.depth)
    return _is_resectable(maps, side, is_infratentorial=is_infratentorial)


def gather(
    box: Anatomy, solid: Solid, level: float, side: int, *, is_infratentorial: bool
) -> Candidates | None:
    """Evaluate the field, tissue included, at the voxels within the ellipsoid of a level.

    Args:
        box: The maps of the box.
        solid: The solid.
        level: Of the ellipsoid.
        side: `Side` that is operated; 0 for both.
        is_infratentorial: The cerebellum is operated, not the cerebrum.

    Returns:
        The voxels that can be taken out and the field there; `None` if there are none.
    """
    shape = _index(box.tissue.shape)
    voxels = is_near(solid, box.affine, shape, level, box.device).nonzero().t().contiguous()
    indices = voxels[0].mul(shape[1]).add_(voxels[1]).mul_(shape[2]).add_(voxels[2])
    tissue, own_side, lobe, depth = (
        each.reshape(-1).index_select(0, indices)
        for each in (box.tissue, box.side, box.lobe, box.depth)
    )
    maps = tissue, own_side, lobe, depth
    taken = _is_resectable(maps, side, is_infratentorial=is_infratentorial)
    ready = _Voxels(box, indices, voxels).select(taken)
    value = _evaluate(ready, solid, side)
    is_low = value <= level_within(solid, level)
    ready, value = ready.select(is_low), value[is_low]
    if len(value) == 0:
        return None
    value = value + prices(box, solid).reshape(-1).index_select(0, ready.indices)
    found = Candidates(shape, ready.indices, value)
    wall = found.level(round(solid.volume_ml / box.voxel_ml), THINNED)
    return replace(found, value=roughen(solid, ready.offsets(solid), value, wall))


@dataclass(frozen=True)
class _Voxels:
    """Some voxels of a box: their places in memory, ``(N,)``, and along each axis, ``(3, N)``."""

    box: Anatomy
    indices: Tensor
    voxels: Tensor

    def select(self, mask: Tensor) -> "_Voxels":
        kept = mask.nonzero().flatten()
        return _Voxels(
            self.box, self.indices.index_select(0, kept), self.voxels.index_select(1, kept)
        )

    def offsets(self, solid: Solid) -> Tensor:
        """Positions in RAS mm from the solid's centre, ``(3, N)``."""
        affine, device = self.box.affine, self.voxels.device
        linear = as_float(affine[:3, :3], device)
        shift = as_float(affine[:3, 3] - np.asarray(solid.centre), device)
        return torch.addmm(shift[:, None], linear, self.voxels.float())


def _is_resectable(maps: Maps, side: int, *, is_infratentorial: bool) -> Tensor:
    tissue, own_side, lobe, depth = maps
    kept = KEPT if is_infratentorial else KEPT | CEREBELLUM
    allowed = [each >= Tissue.FLUID and each not in kept for each in Tissue]
    table = torch.tensor(allowed).to(tissue.device)
    mask = table.index_select(0, tissue.reshape(-1).int()).view(tissue.shape)
    mask &= depth > 0
    mask &= (lobe == int(Lobe.INFRATENTORIAL)) == is_infratentorial
    if side:
        mask &= (own_side == side) | (own_side == 0)
    return mask


def _evaluate(found: _Voxels, solid: Solid, side: int) -> Tensor:
    """The field without the price of the tissue and without the fine noise, ``(N,)``."""
    offsets = found.offsets(solid)
    places, levels = measure(solid, offsets)
    apart = outline(found.box, solid, side)
    distance = None if apart is None else apart.reshape(-1).index_select(0, found.indices)
    value = evaluate(solid, offsets, places, levels, distance)
    if solid.lobe:
        value.masked_fill_(~_is_in_lobe(found.box, solid, found.indices, offsets), math.inf)
    return value


def _index(values: torch.Size) -> Index:
    return values[0], values[1], values[2]


def _is_in_lobe(box: Anatomy, solid: Solid, indices: Tensor, offsets: Tensor) -> Tensor:
    """Tell whether voxels lie in the solid's lobe, ``(N,)``; its borders to others are uneven."""
    seeds = range(solid.seed + 3, solid.seed + 6)
    uneven = torch.stack([space_noise(offsets, LOBE_WAVELENGTH, seed) for seed in seeds])
    inverse = np.linalg.inv(box.affine[:3, :3])
    shift = inverse @ (np.asarray(solid.centre) - box.affine[:3, 3])
    moved = torch.addmm(
        as_float(shift, offsets.device)[:, None],
        as_float(inverse, offsets.device),
        offsets + LOBE_UNEVENNESS * uneven,
    )
    first, second, third = (
        each.round_().clamp_(0, size - 1).long()
        for each, size in zip(moved, box.lobe.shape, strict=True)
    )
    found = box.lobe[first, second, third]
    own = box.lobe.reshape(-1)[indices]
    return torch.where(found > 0, found, own) == solid.lobe
