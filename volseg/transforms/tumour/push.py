"""Mass effect: what grows pushes tissue outward, and ventricles and sulci give way.

Content moves away from each focus, by the drawn number of mm at its surface and less and less
beyond, so that what lies around is squeezed between focus and skull. The skull and what lies
outside the brain's hull stay. The field is worked out on every third mm.
"""

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy
from volseg.transforms.resection.cavity import Solid
from volseg.transforms.resection.shift import border_window, count_samples, thin
from volseg.transforms.resection.solid import as_float, equivalent_radius, measure
from volseg.transforms.resection.thinning import refine, strides
from volseg.transforms.tumour.tumour import Tumour

PITCH = 3.0
"""The field is worked out on about this grid, in mm."""

REACH = 28.0
"""Nothing moves so far from the surface of a focus, in mm."""

DECAY = 1.5
"""The displacement falls with this power of the distance from the centre."""

SURFACE = 10.0
"""The brain's surface is held by the skull: displacements grow over this depth, in mm."""


def push_field(box: Anatomy, tumour: Tumour) -> Tensor:
    """Work out where each voxel of the box was before the tumour grew.

    Args:
        box: The maps of the box.
        tumour: What was drawn.

    Returns:
        What to add to a voxel's index to find where its content came from, ``(3, d, h, w)``; 0 at
        the border of the box and outside the brain's hull.
    """
    shape, device = box.tissue.shape, box.device
    steps = strides(box, PITCH)
    edges = [float(edge) * step for edge, step in zip(box.spacing, steps, strict=True)]
    counts = [count_samples(size, step) for size, step in zip(shape, steps, strict=True)]
    lines = [
        torch.arange(count, device=device) * step for count, step in zip(counts, steps, strict=True)
    ]
    voxels = torch.stack(torch.meshgrid(*lines, indexing="ij")).reshape(3, -1).float()
    moved = torch.zeros_like(voxels)
    largest = max(equivalent_radius(solid.volume_ml) for solid in tumour.solids)
    for solid in tumour.solids:
        share = equivalent_radius(solid.volume_ml) / largest
        moved -= _outward(box, solid, voxels, share * tumour.mass_effect)
    depth = thin(box.depth, steps) * DEPTH_STEP
    held = (depth / SURFACE).clamp_(0, 1) * border_window(counts, edges).to(device)
    inverse = as_float(np.linalg.inv(box.affine[:3, :3]), device)
    field = (inverse @ moved).reshape(3, *counts) * held
    result = refine(field, shape, steps) * (box.depth > 0)
    for axis in range(1, 4):
        for end in (0, -1):
            result.select(axis, end).zero_()
    return result.contiguous()


def _outward(box: Anatomy, solid: Solid, voxels: Tensor, most: float) -> Tensor:
    """Displacement away from one focus in RAS mm, ``(3, N)``."""
    linear, origin = box.affine[:3, :3], box.affine[:3, 3]
    shift = as_float(origin - np.asarray(solid.centre), voxels.device)
    offsets = as_float(linear, voxels.device) @ voxels + shift[:, None]
    radius, level = equivalent_radius(solid.volume_ml), measure(solid, offsets)[1]
    away = offsets / offsets.square().sum(dim=0).sqrt().clamp_(min=1e-3)
    beyond = ((level - 1) * radius / REACH).clamp_(0, 1)
    faded = level.clamp(min=1) ** -DECAY * (1 - beyond) ** 2
    size: Tensor = most * torch.where(level < 1, level, faded)
    return away * size
