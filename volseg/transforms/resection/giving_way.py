"""Image, maps and mask give way together: all are read through one field of displacements.

Linear reading averages neighbours, and with them the noise; a region of less noise would tell a
network where a brain has shifted. What was lost is therefore known voxel by voxel, and can be
added again.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.cavity import Shift
from volseg.transforms.resection.shift import displacement
from volseg.transforms.resection.statistics import TissueStatistics


@dataclass(frozen=True)
class Shifted:
    """A box after the brain has given way.

    Args:
        image: ``(C, d, h, w)``.
        anatomy: Its maps; only the tissue is moved.
        mask: The cavity, ``(d, h, w)``, bool.
        gap: What was brain and is none now, between brain and skull, ``(d, h, w)``, bool; `None`
            if nothing has moved. What had been carved out there still is cavity, and no gap.
        field: What was added to a voxel's index to find where it came from, ``(3, d, h, w)``;
            `None` if nothing has moved.
    """

    image: Tensor
    anatomy: Anatomy
    mask: Tensor
    gap: Tensor | None = None
    field: Tensor | None = None


def give_way(image: Tensor, anatomy: Anatomy, mask: Tensor, shift: Shift) -> Shifted:
    """Move image, maps and mask; what lies outside the brain's hull stays.

    Args:
        image: ``(C, d, h, w)``.
        anatomy: The maps of the box.
        mask: The cavity in the box, ``(d, h, w)``, bool.
        shift: How the brain gives way.

    Returns:
        The moved box, or what was given if there is no shift or it would close the cavity.
    """
    if max(shift.collapse, shift.sag) <= 0:
        return Shifted(image, anatomy, mask)
    field = displacement(anatomy, mask, shift)
    hull = anatomy.depth > 0
    whole = torch.cat([image, mask[None].float(), hull[None].float()])
    moved = read_at(whole, field, "bilinear")
    left, sunk = hull & (moved[-2] > 0.5), hull & (moved[-1] < 0.5)
    if not bool(left.any()):
        return Shifted(image, anatomy, mask)
    tissue = read_at(anatomy.tissue[None].float(), field, "nearest")[0].to(torch.uint8)
    return Shifted(
        torch.where(hull, moved[:-2], image),
        replace(anatomy, tissue=torch.where(hull, tissue, anatomy.tissue)),
        left | (sunk & mask),
        sunk & ~mask,
        field * hull,
    )


def lost_noise(shifted: Shifted, statistics: TissueStatistics) -> Tensor:
    """Tell how much of its noise each voxel has lost by linear reading.

    Between two neighbours that correlate by ``r``, a share ``f`` of the way keeps
    ``1 - 2 f (1 - f) (1 - r)`` of the variance, along each axis. The slow part loses nothing.

    Args:
        shifted: A box that has moved.
        statistics: Of the channel.

    Returns:
        Standard deviation of what is missing, relative to the noise, ``(d, h, w)``.
    """
    if shifted.field is None:
        return torch.zeros_like(shifted.mask, dtype=torch.float32)
    kept = torch.ones_like(shifted.mask, dtype=torch.float32)
    for way, correlation in zip(shifted.field, statistics.fine_lag1, strict=True):
        share = way - way.floor()
        kept *= 1 - 2 * (1 - correlation) * share * (1 - share)
    return ((1 - statistics.slow) * (1 - kept)).sqrt()


def read_at(volumes: Tensor, field: Tensor, mode: str) -> Tensor:
    """Read volumes at each voxel plus its displacement; the border is continued.

    Args:
        volumes: ``(C, d, h, w)``.
        field: In voxels, ``(3, d, h, w)``.
        mode: ``bilinear`` or ``nearest``.

    Returns:
        What lies there, ``(C, d, h, w)``.
    """
    grid = []
    for axis, size in reversed(list(enumerate(volumes.shape[1:]))):
        shape = [-1 if each == axis else 1 for each in range(3)]
        line = torch.arange(size, dtype=torch.float32, device=field.device)
        place = line.reshape(shape) + field[axis]
        grid.append(2 * place / max(size - 1, 1) - 1)
    return functional.grid_sample(
        volumes[None],
        torch.stack(grid, dim=-1)[None],
        mode=mode,
        padding_mode="border",
        align_corners=True,
    )[0]
