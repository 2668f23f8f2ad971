"""What lies where in a tumour: a rim that takes up contrast agent, dead and quiet tissue."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.filters import as_spacing
from volseg.transforms.resection.level import tight_box
from volseg.transforms.resection.noise import band_noise
from volseg.transforms.tumour.tumour import Tumour
from volseg.types import Size

RIM_WAVELENGTH = 12.0
"""The rim thickens and thins over this many mm,"""

RIM_UNEVENNESS = 0.45
"""and its logarithm varies so much."""

DEAD_WAVELENGTH = 14.0
"""Dead and living parts within the rim are about so large, in mm."""

QUIET_WAVELENGTH = 30.0
"""Parts that take up no contrast agent are about so large, in mm."""


@dataclass(frozen=True)
class Interior:
    """The parts of a tumour; no voxel belongs to two.

    Args:
        necrosis: Dead tissue, ``(d, h, w)``, bool.
        enhancing: What takes up contrast agent, ``(d, h, w)``, bool.
        quiet: The rest of the tumour, ``(d, h, w)``, bool.
    """

    necrosis: Tensor
    enhancing: Tensor
    quiet: Tensor


def divide_core(box: Anatomy, core: Tensor, tumour: Tumour, generator: torch.Generator) -> Interior:
    """Divide a tumour into its parts.

    Args:
        box: The maps of the box.
        core: The tumour, ``(d, h, w)``, bool, not empty.
        tumour: What was drawn.
        generator: Where the noise comes from, on the CPU.

    Returns:
        The parts; together they are the tumour.
    """
    found = tight_box(core)
    window = found[1] if found else (slice(None),) * 3
    inside, spacing = core[window], as_spacing(box.spacing)
    size: Size = (inside.shape[0], inside.shape[1], inside.shape[2])
    rim, dead, calm = (
        band_noise(size, spacing, length, generator, 2, core.device)
        for length in (RIM_WAVELENGTH, DEAD_WAVELENGTH, QUIET_WAVELENGTH)
    )
    depth = _depth(inside, spacing)
    within = inside & (depth > tumour.rim * torch.exp(RIM_UNEVENNESS * rim.clamp_(-2, 2)))
    scale = max(float(depth.max()), 1.0)
    necrosis = _most(within, dead + 2 * depth / scale, tumour.necrosis * _count(within))
    living = inside & ~necrosis
    quiet = _most(living, calm + 0.3 * dead, tumour.quiet * _count(inside))
    parts = []
    for part in (necrosis, living & ~quiet, quiet):
        whole = torch.zeros_like(core)
        whole[window] = part
        parts.append(whole)
    if tumour.enhancement <= 0:
        parts[1:] = torch.zeros_like(core), parts[1] | parts[2]
    return Interior(*parts)


def _depth(mask: Tensor, spacing: tuple[float, float, float]) -> Tensor:
    """Distance to the surface of a mask, in mm: half a voxel nearer than the next voxel outside."""
    padded = np.pad(mask.cpu().numpy(), 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
    depth -= min(spacing) / 2
    return torch.from_numpy(depth.astype(np.float32)).to(mask.device)


def _count(mask: Tensor) -> int:
    return int(mask.sum())


def _most(mask: Tensor, score: Tensor, wanted: float) -> Tensor:
    """Mark so many voxels of a mask, those of the highest scores."""
    count = min(round(wanted), _count(mask))
    if count < 1:
        return torch.zeros_like(mask)
    values = score[mask]
    edge = float(values.kthvalue(len(values) - count + 1).values)
    return mask & (score >= edge)
