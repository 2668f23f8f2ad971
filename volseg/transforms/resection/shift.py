"""How the brain gives way: walls fall into the cavity, and the surface sinks away from the skull.

The walls of brain follow the gradient of the blurred cavity; where a cavity lies against the skull
nothing does. The surface follows gravity where it faces up. The field is worked out on every other
voxel. It fades out towards the border of the box, so that the box fits into the volume as before.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy
from volseg.transforms.resection.cavity import Shift
from volseg.transforms.resection.solid import as_float
from volseg.transforms.resection.thinning import refine, strides

WALL_BLUR = 5.0
"""Standard deviation of the blur whose gradient the walls follow, in mm."""

NORMAL_BLUR = 6.0
"""Standard deviation of the blur of the depth whose gradient is the surface's normal, in mm."""

LEAST_HULL = 0.05
"""Where less of the blur lies within the hull, the cavity falls off all the same."""

SAG_DEPTH = 18.0
"""The fall of the surface fades with depth over this many mm."""

PITCH = 2.0
"""The field is worked out on about this grid, in mm."""

FADE = 6.0
"""The field fades out over this many mm before the border of the box."""


def displacement(anatomy_box: Anatomy, mask: Tensor, shift: Shift) -> Tensor:
    """Work out where each voxel of the box was before the brain gave way.

    Args:
        anatomy_box: The maps of the box.
        mask: The cavity in the box, ``(d, h, w)``, bool.
        shift: What was drawn.

    Returns:
        What to add to a voxel's index to find where its content came from, ``(3, d, h, w)``; 0 at
        the border of the box.
    """
    edges: list[float] = anatomy_box.spacing.tolist()
    steps = strides(anatomy_box, PITCH)
    coarse = [edge * step for edge, step in zip(edges, steps, strict=True)]
    device = mask.device
    counts = [count_samples(n, s) for n, s in zip(mask.shape, steps, strict=True)]
    moved = torch.zeros((3, *counts), device=device)
    linear = anatomy_box.affine[:3, :3]
    slopes = as_float(np.linalg.inv(linear * steps).T, device)
    if shift.collapse > 0:
        hull = (thin(anatomy_box.depth, steps) > 0).float()
        soft = _soften(thin(mask, steps), hull, coarse)
        gradient = hull * torch.tensordot(slopes, _gradient(soft), dims=1)
        steepest = float(gradient.square().sum(dim=0).amax().sqrt())
        moved -= shift.collapse / max(steepest, 1e-6) * gradient
    if shift.sag > 0:
        moved -= shift.sag * _fall(thin(anatomy_box.depth, steps), shift, slopes, coarse)
    moved *= border_window(moved.shape[1:], coarse).to(device)
    inverse = as_float(np.linalg.inv(linear), device)
    voxels = torch.tensordot(inverse, moved, dims=1)
    result = refine(voxels, mask.shape, steps).contiguous()
    for axis in range(1, 4):
        for end in (0, -1):
            result.select(axis, end).zero_()
    return result


def count_samples(size: int, step: int) -> int:
    """Count the samples of an axis, the last of them at its end or beyond.

    Args:
        size: Voxels of the axis.
        step: Voxels from one sample to the next.

    Returns:
        Their number.
    """
    return (size - 1 + step - 1) // step + 1


def thin(volume: Tensor, steps: Sequence[int]) -> Tensor:
    """Read every n-th voxel; the border is continued to the sample at the end or beyond.

    Args:
        volume: ``(D, H, W)``.
        steps: Voxels from one sample to the next along each axis.

    Returns:
        The samples, ``(d, h, w)``, float32.
    """
    for axis, step in enumerate(steps):
        size = volume.shape[axis]
        places = torch.arange(count_samples(size, step), device=volume.device) * step
        places.clamp_(max=size - 1)
        volume = volume.index_select(axis, places)
    return volume.float()


def _blur(volume: Tensor, deviations: Sequence[float]) -> Tensor:
    """Blur by a Gaussian; the border is continued."""
    result = volume[None, None]
    for axis, deviation in enumerate(deviations):
        radius = max(1, round(2.5 * deviation))
        kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / deviation) ** 2)
        shape, pads = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = len(kernel)
        pads[4 - 2 * axis] = pads[5 - 2 * axis] = radius
        padded = functional.pad(result, pads, mode="replicate")
        weights = (kernel / kernel.sum()).reshape(shape).to(volume.device)
        result = functional.conv3d(padded, weights)
    return result[0, 0]


def _soften(mask: Tensor, hull: Tensor, edges: Sequence[float]) -> Tensor:
    """Blur a cavity over what lies within the hull: it does not fall off towards the skull."""
    deviations = [WALL_BLUR / edge for edge in edges]
    return _blur(mask * hull, deviations) / _blur(hull, deviations).clamp_(min=LEAST_HULL)


def _gradient(volume: Tensor) -> Tensor:
    """Central differences along the axes of the grid, ``(3, d, h, w)``."""
    parts = []
    for axis in range(3):
        size = volume.shape[axis]
        upper = torch.arange(1, size + 1, device=volume.device).clamp_(max=size - 1)
        lower = torch.arange(-1, size - 1, device=volume.device).clamp_(min=0)
        higher = volume.index_select(axis, upper)
        parts.append((higher - volume.index_select(axis, lower)) / 2)
    return torch.stack(parts)


def _fall(depth: Tensor, shift: Shift, slopes: Tensor, edges: Sequence[float]) -> Tensor:
    """Share of the sag along gravity, ``(3, d, h, w)``: 1 where the surface faces up."""
    depth = depth * DEPTH_STEP
    soft = _blur(depth, [NORMAL_BLUR / edge for edge in edges])
    inward = torch.tensordot(slopes, _gradient(soft), dims=1)
    inward = inward / inward.square().sum(dim=0).sqrt().clamp_(min=1e-3)
    down = torch.tensor(shift.gravity, dtype=torch.float32).to(depth.device)
    upward = torch.tensordot(down, inward, dims=1).clamp_(min=0)
    weight = upward * torch.exp(-depth / SAG_DEPTH)
    fall: Tensor = down[:, None, None, None] * weight
    return fall


def border_window(shape: Sequence[int], edges: Sequence[float]) -> Tensor:
    """Weigh the voxels of a box so that nothing moves at its border.

    Args:
        shape: Voxels along each axis.
        edges: Voxel edge along each axis, in mm.

    Returns:
        1 inside and 0 at the border, ``(d, h, w)``.
    """
    lines = []
    for size, edge in zip(shape, edges, strict=True):
        places = torch.arange(size, dtype=torch.float32)
        border = torch.minimum(places, size - 1 - places) * edge
        ramp = (border / FADE).clamp_(0, 1)
        lines.append(ramp * ramp * (3 - 2 * ramp))
    return lines[0][:, None, None] * lines[1][None, :, None] * lines[2][None, None, :]
