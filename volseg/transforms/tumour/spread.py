"""Oedema: it spreads through white matter, faster along one way than another.

The time at which it arrives is the solution of the eikonal equation with a cost of its own along
each axis (Godunov's scheme, as in Sethian 1996, https://doi.org/10.1073/pnas.93.4.1591; here all
voxels are updated at once until the front has gone as far as it may). Cortex, fluid, ventricles and
so the falx are not entered; the other side is reached through the callosum only, and late.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.filters import as_spacing, convolve
from volseg.transforms.resection.noise import band_noise
from volseg.transforms.resection.thinning import strides
from volseg.types import Size

PITCH = (2.9, 4.0)
"""Times are worked out on a grid between these, in mm, the coarser the further oedema spreads."""

STEPS = 8
"""The furthest way is about so many of its voxels long."""

FAR = 1e4
"""What is never reached."""

WAVELENGTH = 18.0
"""Fibres run the same way over about this many mm."""

ANISOTROPY = 0.6
"""Logarithm of the cost across the fibres at one standard deviation of the noise."""

CALLOSUM_COST = 1.6
"""The callosum's fibres are dense."""

PASSABLE = (Tissue.WHITE, Tissue.CEREBELLUM_WHITE, Tissue.CALLOSUM)
"""What oedema enters."""

GREY = (Tissue.CORTEX, Tissue.CEREBELLUM_CORTEX, Tissue.DEEP, Tissue.LIMBIC)
"""Where white matter ends, a voxel of these is partly white, and brightens or darkens with it."""

EDGE = 0.2
"""It fades over the last part of its way, as a share of it."""


def spread_oedema(
    box: Anatomy, core: Tensor, extent: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Let oedema spread from a tumour.

    Args:
        box: The maps of the box.
        core: The tumour, ``(d, h, w)``, bool.
        extent: How far it spreads where it spreads fastest, in mm.
        generator: Where the noise comes from, on the CPU.

    Returns:
        Weight from 0 to 1, softened at the borders of white matter, and the voxels that are its
        own, bool, ``(d, h, w)`` each; none is nearer than 0 or further than ``extent`` from the
        tumour, nor within it.
    """
    steps = strides(box, min(max(extent / STEPS, PITCH[0]), PITCH[1]))
    passable = is_passable(box)
    share = functional.avg_pool3d(passable[None, None].float(), steps, ceil_mode=True)[0, 0]
    seeds = functional.max_pool3d(core[None, None].float(), steps, ceil_mode=True)[0, 0] > 0
    costs = _costs(box, seeds, steps, generator)
    times = arrival(seeds, share >= 0.5, costs, extent)
    size = [count * step for count, step in zip(times.shape, steps, strict=True)]
    late = functional.interpolate(
        times.clamp(max=2 * extent)[None, None], size=size, mode="trilinear"
    )
    time = late[0, 0, : core.shape[0], : core.shape[1], : core.shape[2]]
    weight = ((extent - time) / (EDGE * extent)).clamp_(0, 1)
    near = functional.max_pool3d(passable[None, None].float(), 3, 1, 1)[0, 0] > 0
    soft = (passable | (near & _is_any(box, GREY))).float()
    for axis in range(3):
        soft = convolve(soft, (0.25, 0.5, 0.25), axis)
    own = (weight > 0.5) & passable & ~core
    return weight * soft, own


def is_passable(box: Anatomy) -> Tensor:
    """Mark what oedema enters.

    Args:
        box: The maps.

    Returns:
        Boolean mask, ``(d, h, w)``.
    """
    return _is_any(box, PASSABLE)


def _is_any(box: Anatomy, tissues: Sequence[Tissue]) -> Tensor:
    mask = box.tissue == tissues[0]
    for tissue in tissues[1:]:
        mask |= box.tissue == tissue
    return mask


def arrival(seeds: Tensor, passable: Tensor, costs: Tensor, extent: float) -> Tensor:
    """Find when a front arrives that starts from seeds.

    Args:
        seeds: Where it starts, ``(d, h, w)``, bool.
        passable: Where it may go, ``(d, h, w)``, bool.
        costs: Time from one voxel to the next along each axis, ``(3, d, h, w)``.
        extent: Later times do not matter.

    Returns:
        The time, ``(d, h, w)``; `FAR` where it does not arrive.
    """
    times = torch.where(seeds, 0.0, FAR)
    slowness = 1 / costs.square()
    least = float(costs.min())
    for _ in range(int(1.6 * extent / least) + 2):
        new = torch.where(passable, torch.minimum(times, _update(times, costs, slowness)), times)
        is_settled = bool((new == times).all())
        times = new
        if is_settled:
            break
    return times


def _update(times: Tensor, costs: Tensor, slowness: Tensor) -> Tensor:
    """Solve the equation in each voxel from its neighbours."""
    near = torch.stack([_earlier(times, axis) for axis in range(3)])
    best = (near + costs).amin(dim=0)
    for some in [*combinations(range(3), 2), (0, 1, 2)]:
        first, weight = near[list(some)], slowness[list(some)]
        one, two = weight.sum(dim=0), (weight * first).sum(dim=0)
        three = (weight * first.square()).sum(dim=0) - 1
        under = two.square() - one * three
        time = (two + under.clamp(min=0).sqrt()) / one
        is_valid = (under >= 0) & (time >= first.amax(dim=0))
        best = torch.where(is_valid, torch.minimum(best, time), best)
    return best


def _earlier(times: Tensor, axis: int) -> Tensor:
    """The earlier one of both neighbours along an axis."""
    size = times.shape[axis]
    edge = torch.full_like(times.narrow(axis, 0, 1), FAR)
    before = torch.cat([edge, times.narrow(axis, 0, size - 1)], dim=axis)
    behind = torch.cat([times.narrow(axis, 1, size - 1), edge], dim=axis)
    return torch.minimum(before, behind)


def _costs(box: Anatomy, seeds: Tensor, steps: list[int], generator: torch.Generator) -> Tensor:
    """Time in mm from one coarse voxel to the next along each axis, ``(3, d, h, w)``."""
    edges = box.spacing * np.asarray(steps)
    size: Size = (seeds.shape[0], seeds.shape[1], seeds.shape[2])
    noise = torch.stack(
        [band_noise(size, as_spacing(edges), WAVELENGTH, generator, 2) for _ in range(3)]
    ).to(box.device)
    lengths = torch.tensor(edges, dtype=torch.float32, device=box.device)[:, None, None, None]
    costs = lengths * torch.exp(ANISOTROPY * noise.clamp_(0, 2))
    thinned = box.every(steps)
    callosum = thinned.tissue == Tissue.CALLOSUM
    return costs * (1 + (CALLOSUM_COST - 1) * callosum)
