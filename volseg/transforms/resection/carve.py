"""Carve a cavity out of an anatomy: a pure function of what was drawn.

Of the voxels that can be resected, those with the smallest values of the solid's field are taken,
as many as make up its volume, so that the volume is met whatever the brain's outline cuts off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Lobe, Tissue
from volseg.transforms.resection.cavity import RESECTOR, Cavity, Solid
from volseg.transforms.resection.compat import carve_compat
from volseg.transforms.resection.level import Candidates, find_component, unravel
from volseg.transforms.resection.noise import space_noise
from volseg.transforms.resection.price import outline, prices
from volseg.transforms.resection.solid import (
    Index,
    enclose,
    equivalent_radius,
    evaluate,
    is_near,
    level_holding,
    measure,
    roughen,
)

GROWTHS = 4
"""How often a box that turned out too small is enlarged."""

LARGEST_LEVEL = 10.0
"""No cavity is looked for further away, in semi-axes."""

THINNED = 8
"""Where a level need not be exact, it is found from every so many voxels."""

LOBE_WAVELENGTH = 22.0
"""Borders of lobes are moved about over this many mm,"""

LOBE_UNEVENNESS = 2.0
"""and by about this many mm along each axis."""


@dataclass(frozen=True)
class Carved:
    """A cavity in its box.

    Args:
        start: First voxel of the box along each axis.
        stop: First voxel beyond the box along each axis.
        mask: The cavity, ``(d, h, w)``, bool.
        parts: One mask for each solid, ``(d, h, w)``, bool.
    """

    start: Index
    stop: Index
    mask: Tensor
    parts: tuple[Tensor, ...]


def resectable(anatomy: Anatomy, side: int, *, is_infratentorial: bool = False) -> Tensor:
    """Mark what can be taken out.

    Args:
        anatomy: The maps of the head or of a box of it.
        side: `Side` that is operated; 0 for both.
        is_infratentorial: The cerebellum is operated, not the cerebrum.

    Returns:
        Boolean mask, ``(D, H, W)``.
    """
    tissue = anatomy.tissue
    mask = (anatomy.depth > 0) & (tissue >= Tissue.FLUID)
    mask &= (tissue != Tissue.VENTRICLE) & (tissue != Tissue.BRAINSTEM)
    if is_infratentorial:
        mask &= anatomy.lobe == Lobe.INFRATENTORIAL
    else:
        mask &= anatomy.lobe != Lobe.INFRATENTORIAL
        mask &= (tissue != Tissue.CEREBELLUM_CORTEX) & (tissue != Tissue.CEREBELLUM_WHITE)
    if side:
        mask &= (anatomy.side == side) | (anatomy.side == 0)
    return mask


def carve(anatomy: Anatomy, cavity: Cavity, *, margin: float = 0.0) -> Carved | None:
    """Carve the solids of a cavity.

    Args:
        anatomy: The maps of the head.
        cavity: What was drawn.
        margin: The box reaches so far beyond the cavity, in mm, as far as the volume does.

    Returns:
        The cavity before the brain shifts; `None` for a negative, or if nothing can be taken out.
    """
    found = [_carve_solid(anatomy, cavity, solid) for solid in cavity.solids]
    pieces = [each for each in found if each is not None]
    if not pieces:
        return None
    pad = np.ceil(margin / anatomy.spacing).astype(int)
    low = np.min([start for start, _ in pieces], axis=0) - pad
    high = np.max([np.add(start, mask.shape) for start, mask in pieces], axis=0) + pad
    start, stop = _index(np.maximum(low, 0)), _index(np.minimum(high, anatomy.tissue.shape))
    parts = tuple(_paste(start, stop, *piece) for piece in pieces)
    return Carved(start, stop, torch.stack(parts).any(dim=0), parts)


def _index(values: Sequence[int] | np.ndarray) -> Index:
    return int(values[0]), int(values[1]), int(values[2])


def _paste(start: Index, stop: Index, corner: Index, mask: Tensor) -> Tensor:
    result = torch.zeros([b - a for a, b in zip(start, stop, strict=True)], dtype=torch.bool)
    place = tuple(
        slice(c - a, c - a + n) for a, c, n in zip(start, corner, mask.shape, strict=True)
    )
    result[place] = mask
    return result


def _carve_solid(anatomy: Anatomy, cavity: Cavity, solid: Solid) -> tuple[Index, Tensor] | None:
    """Give the cavity's tight box and mask, or `None` if there is none."""
    if solid.law == RESECTOR:
        found = carve_compat(anatomy, cavity.side, solid)
        return None if found is None else _tighten(*found)
    count = round(solid.volume_ml / anatomy.voxel_ml)
    if solid.corridor > 0 and solid.entry is None:
        solid = replace(solid, entry=_nearest_surface(anatomy, solid))
    level, start, ready = level_holding(solid, 1.0), (0, 0, 0), None
    for _ in range(GROWTHS):
        box = enclose(solid, anatomy.affine, _index(anatomy.tissue.shape), level)
        if box is None:
            return None
        start, ready = box[0], _prepare(anatomy.crop(*box), cavity, solid, level)
        needed = _level_needed(ready, solid, count)
        if needed <= level:
            break
        level = min(max(1.05 * needed, 1.3 * level), 2 * level)
    if ready is None:
        return None
    corner, mask = find_component(ready, max(count, 1))
    return _tighten(_index(np.add(start, corner)), mask)


def _prepare(box: Anatomy, cavity: Cavity, solid: Solid, level: float) -> Candidates | None:
    """Evaluate the field, tissue included, at the voxels within the ellipsoid of a level."""
    side = cavity.side or _side_at(box, solid)
    where = resectable(box, side, is_infratentorial=cavity.mode == "infratentorial")
    where &= is_near(solid, box.affine, _index(where.shape), level)
    indices = where.reshape(-1).nonzero().flatten()
    if len(indices) == 0:
        return None
    offsets = _offsets(box, solid, indices)
    places, levels = measure(solid, offsets)
    apart = outline(box, solid, side)
    distance = None if apart is None else apart.reshape(-1)[indices]
    value = evaluate(solid, offsets, places, levels, distance)
    value = value + prices(box, solid).reshape(-1)[indices]
    if solid.lobe:
        value.masked_fill_(~_is_in_lobe(box, solid, indices, offsets), math.inf)
    ready = Candidates(_index(where.shape), indices, value)
    wall = ready.level(round(solid.volume_ml / box.voxel_ml), THINNED)
    value = roughen(solid, offsets, value, wall)
    is_open = value.isfinite().nonzero().flatten()
    if len(is_open) == 0:
        return None
    return replace(ready, indices=indices[is_open], value=value[is_open])


def _offsets(box: Anatomy, solid: Solid, indices: Tensor) -> Tensor:
    """Positions of voxels in RAS mm from the solid's centre, ``(3, N)``."""
    linear = torch.as_tensor(box.affine[:3, :3], dtype=torch.float32)
    shift = torch.as_tensor(box.affine[:3, 3] - np.asarray(solid.centre), dtype=torch.float32)
    voxels = unravel(indices, _index(box.tissue.shape))
    return torch.addmm(shift[:, None], linear, voxels.float())


def _is_in_lobe(box: Anatomy, solid: Solid, indices: Tensor, offsets: Tensor) -> Tensor:
    """Tell whether voxels lie in the solid's lobe, ``(N,)``; its borders to others are uneven."""
    seeds = range(solid.seed + 3, solid.seed + 6)
    uneven = torch.stack([space_noise(offsets, LOBE_WAVELENGTH, seed) for seed in seeds])
    inverse = np.linalg.inv(box.affine[:3, :3])
    shift = inverse @ (np.asarray(solid.centre) - box.affine[:3, 3])
    moved = torch.addmm(
        torch.as_tensor(shift, dtype=torch.float32)[:, None],
        torch.as_tensor(inverse, dtype=torch.float32),
        offsets + LOBE_UNEVENNESS * uneven,
    )
    first, second, third = (
        each.round_().clamp_(0, size - 1).long()
        for each, size in zip(moved, box.lobe.shape, strict=True)
    )
    found = box.lobe[first, second, third]
    own = box.lobe.reshape(-1)[indices]
    return torch.where(found > 0, found, own) == solid.lobe


def _level_needed(ready: Candidates | None, solid: Solid, count: int) -> float:
    """The level beyond which no voxel could have been taken."""
    if ready is None or len(ready.value) < count:
        return LARGEST_LEVEL
    return min(level_holding(solid, ready.level(count, THINNED)), LARGEST_LEVEL)


def _side_at(box: Anatomy, solid: Solid) -> int:
    place = np.linalg.solve(box.affine[:3, :3], np.asarray(solid.centre) - box.affine[:3, 3])
    place = np.clip(np.round(place).astype(int), 0, np.array(box.side.shape) - 1)
    return int(box.side[_index(place)])


def _nearest_surface(anatomy: Anatomy, solid: Solid) -> tuple[float, float, float]:
    """The voxel of the hull's surface that is nearest to the centre."""
    reach = equivalent_radius(solid.volume_ml) + 60
    ball = replace(solid, radii=(reach,) * 3, corridor=0.0)
    box = enclose(ball, anatomy.affine, _index(anatomy.tissue.shape), 1.0)
    if box is None:
        return solid.centre
    crop = anatomy.crop(*box)
    limit = max(2.0, float(anatomy.spacing.max())) / DEPTH_STEP
    shell = ((crop.depth > 0) & (crop.depth <= limit)).nonzero().double()
    if len(shell) == 0:
        return solid.centre
    places = shell.numpy() @ crop.affine[:3, :3].T + crop.affine[:3, 3]
    nearest = places[np.linalg.norm(places - np.asarray(solid.centre), axis=1).argmin()]
    return float(nearest[0]), float(nearest[1]), float(nearest[2])


def _tighten(start: Index, mask: Tensor) -> tuple[Index, Tensor] | None:
    """Cut the box to the mask."""
    low, high = [], []
    for axis in range(3):
        others = [each for each in range(3) if each != axis]
        hits = mask.any(dim=others[1]).any(dim=others[0]).nonzero().flatten()
        if len(hits) == 0:
            return None
        low.append(int(hits[0]))
        high.append(int(hits[-1]) + 1)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return _index(np.add(start, low)), mask[window]
