"""Carve a cavity out of an anatomy: a pure function of what was drawn.

Of the voxels that can be resected, those with the smallest values of the solid's field are taken,
as many as make up its volume, so that the volume is met whatever the brain's outline cuts off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Lobe, Tissue
from volseg.transforms.resection.candidates import THINNED, gather
from volseg.transforms.resection.cavity import RESECTOR, Cavity, Solid
from volseg.transforms.resection.compat import carve_compat
from volseg.transforms.resection.level import Candidates, find_component, tight_box
from volseg.transforms.resection.price import PRICE_PITCH
from volseg.transforms.resection.solid import Index, enclose, equivalent_radius, level_holding
from volseg.transforms.resection.thinning import strides

Bounds = tuple[Index, Index]
"""First voxel, and first voxel beyond, along each axis."""

CPU = torch.device("cpu")

GROWTHS = 4
"""How often a box that turned out too small is enlarged."""

USUAL_WALL = 1.8
"""Prices lift the wall of most cavities to less than this value of the field."""

LARGEST_LEVEL = 10.0
"""No cavity is looked for further away, in semi-axes."""

SURVEY_PITCH = 4.0
"""Where a cavity will be is found on about this grid first, in mm;"""

SURVEY_SLACK = 0.25
"""what is above its wall by less than this may belong to it on the finer grid;"""

SURVEY_MARGIN = 1.15
"""levels found on it are enlarged by this factor;"""

SURVEY_PADS = (1, 4)
"""it is looked for within so many of its voxels about what was found;"""

SURVEY_VOXELS = 30
"""and it is not worth the while for cavities of fewer voxels than this."""


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
    size = [b - a for a, b in zip(start, stop, strict=True)]
    result = torch.zeros(size, dtype=torch.bool, device=mask.device)
    place = tuple(
        slice(c - a, c - a + n) for a, c, n in zip(start, corner, mask.shape, strict=True)
    )
    result[place] = mask
    return result


def _carve_solid(anatomy: Anatomy, cavity: Cavity, solid: Solid) -> tuple[Index, Tensor] | None:
    """Give the cavity's tight box and mask, or `None` if there is none."""
    if solid.law == RESECTOR:
        cut = carve_compat(anatomy.to(CPU), cavity.side, solid)
        return None if cut is None else _tighten(cut[0], cut[1].to(anatomy.device))
    if solid.corridor > 0 and solid.entry is None:
        solid = replace(solid, entry=_nearest_surface(anatomy, solid))
    is_infratentorial = cavity.mode == "infratentorial" or _is_low_lesion(anatomy, solid)
    side = cavity.side or _read_at(anatomy, anatomy.side, solid)
    job = _Job(solid, side, is_infratentorial)
    level, bounds = _survey(anatomy, job, level_holding(solid, USUAL_WALL))
    found = None
    for within in bounds:
        found = _find(_settle(anatomy, job, level, within), job.count(anatomy))
        if found is None or within is None or not _touches(found, within, anatomy):
            break
    return found


@dataclass(frozen=True)
class _Job:
    """A solid that is to be carved."""

    solid: Solid
    side: int
    is_infratentorial: bool

    def count(self, anatomy: Anatomy) -> int:
        return round(self.solid.volume_ml / anatomy.voxel_ml)

    def gather(self, box: Anatomy, level: float) -> Candidates | None:
        return gather(box, self.solid, level, self.side, is_infratentorial=self.is_infratentorial)


@dataclass(frozen=True)
class _Settled:
    """The field in a box beyond which no voxel could have been taken."""

    start: Index
    ready: Candidates
    level: float


def _settle(
    anatomy: Anatomy, job: _Job, level: float, bounds: Bounds | None = None
) -> _Settled | None:
    """Evaluate the field in a box that is large enough."""
    settled = None
    for _ in range(GROWTHS):
        box = enclose(job.solid, anatomy.affine, _index(anatomy.tissue.shape), level)
        if box is None:
            return None
        start, stop = _align(box if bounds is None else _overlap(box, bounds), anatomy)
        ready = job.gather(anatomy.crop(start, stop), level)
        needed = _level_needed(ready, job.solid, job.count(anatomy))
        settled = None if ready is None else _Settled(start, ready, needed)
        if needed <= level:
            break
        level, bounds = min(max(1.05 * needed, 1.3 * level), 2 * level), None
    return settled


def _survey(anatomy: Anatomy, job: _Job, level: float) -> tuple[float, tuple[Bounds | None, ...]]:
    """Find on a thinned copy how far the field reaches, and bounds that may hold the cavity.

    Bounds that turn out too narrow are followed by wider ones, and in the end by none.
    """
    steps = strides(anatomy, SURVEY_PITCH)
    thinned = anatomy.every(steps)
    if max(steps) == 1 or job.count(thinned) < SURVEY_VOXELS:
        return level, (None,)
    settled = _settle(thinned, job, level)
    if settled is None:
        return level, (None,)
    wall = settled.ready.level(job.count(thinned))
    corner, mask = settled.ready.below(wall + SURVEY_SLACK)
    low = np.add(settled.start, corner)
    high = low + mask.shape
    bounds = ((_index((low - more) * steps), _index((high + more) * steps)) for more in SURVEY_PADS)
    return SURVEY_MARGIN * settled.level, (*bounds, None)


def _align(box: Bounds, anatomy: Anatomy) -> Bounds:
    """Let a box begin where prices are sampled, so that they do not depend on the box."""
    steps = strides(anatomy, PRICE_PITCH)
    start = [each // step * step for each, step in zip(box[0], steps, strict=True)]
    return _index(start), box[1]


def _overlap(box: Bounds, bounds: Bounds) -> Bounds:
    """The part of a box within bounds, or the box if that is nothing."""
    start, stop = np.maximum(box[0], bounds[0]), np.minimum(box[1], bounds[1])
    return box if (stop <= start).any() else (_index(start), _index(stop))


def _find(settled: _Settled | None, count: int) -> tuple[Index, Tensor] | None:
    """Give the tight box of the cavity and its mask in it."""
    if settled is None:
        return None
    corner, mask = find_component(settled.ready, max(count, 1))
    return _tighten(_index(np.add(settled.start, corner)), mask)


def _touches(found: tuple[Index, Tensor], bounds: Bounds, anatomy: Anatomy) -> bool:
    """Tell whether a cavity may have been cut off by its bounds."""
    start, stop = np.array(found[0]), np.add(found[0], found[1].shape)
    shape = np.array(anatomy.tissue.shape)
    is_cut = (start <= bounds[0]) & (start > 0) | (stop >= bounds[1]) & (stop < shape)
    return bool(is_cut.any())


def _level_needed(ready: Candidates | None, solid: Solid, count: int) -> float:
    """The level beyond which no voxel could have been taken."""
    if ready is None or len(ready.value) < count:
        return LARGEST_LEVEL
    return min(level_holding(solid, ready.level(count, THINNED)), LARGEST_LEVEL)


def _is_low_lesion(anatomy: Anatomy, solid: Solid) -> bool:
    """Tell whether a lesion that is followed lies below the tentorium."""
    is_low = _read_at(anatomy, anatomy.lobe, solid) == int(Lobe.INFRATENTORIAL)
    return solid.tissue == int(Tissue.LESION) and is_low


def _read_at(anatomy: Anatomy, volume: Tensor, solid: Solid) -> int:
    """Read one of the maps at the centre of a solid."""
    linear, origin = anatomy.affine[:3, :3], anatomy.affine[:3, 3]
    place = np.linalg.solve(linear, np.asarray(solid.centre) - origin)
    place = np.clip(np.round(place).astype(int), 0, np.array(volume.shape) - 1)
    return int(volume[_index(place)])


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
    places = shell.cpu().numpy() @ crop.affine[:3, :3].T + crop.affine[:3, 3]
    nearest = places[np.linalg.norm(places - np.asarray(solid.centre), axis=1).argmin()]
    return float(nearest[0]), float(nearest[1]), float(nearest[2])


def _tighten(start: Index, mask: Tensor) -> tuple[Index, Tensor] | None:
    """Cut the box to the mask."""
    box = tight_box(mask)
    if box is None:
        return None
    low, window = box
    return _index(np.add(start, low)), mask[window]
