"""Paint a cavity by resector's law: white noise of fluid, a clot in it, and fluid around it.

See `volseg.transforms.resection.compat`. The fluid is independent noise in every voxel, of the mean
and the spread of the ventricles; a clot is the same noise about a level that is bright in the
image. By its lesion of white matter, all but the grey matter of the operated side turns to fluid,
over the cavity's solid of three times its size and blurred over 10 mm. resector keeps one field of
noise for a head; here every draw has its own.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.carve import Bounds, Carved
from volseg.transforms.resection.cavity import Cavity, CompatContent, Solid
from volseg.transforms.resection.compat import (
    compat_core,
    compat_mask,
    compat_resectable,
    compat_solid,
    enclose_compat,
)
from volseg.transforms.resection.filters import as_spacing, blur, convolve, gaussian
from volseg.transforms.resection.level import tight_box
from volseg.transforms.resection.solid import Index
from volseg.transforms.resection.statistics import MINIMUM_VOXELS, Level, erode, measure_statistics
from volseg.transforms.resection.streams import TEXTURE, open_stream
from volseg.transforms.resection.thinning import refine, strides
from volseg.types import Spacing

LESION_SCALE = 3.0
"""The lesion's solid is so many times as large as the cavity's."""

LESION_BLUR = 10.0
"""Standard deviation of its blur, in mm."""

LESION_PAD = 20.0
"""It reaches so far beyond its solid, in mm."""

LESION_PITCH = 4.0
"""What is blurred so much is laid out on about this grid, in mm."""

SPARING_BLUR = 1.0
"""Standard deviation of the blur of what is spared, in mm."""

CLOT_BLUR = 0.5
"""Standard deviation of the blur of the clot, in mm."""

BINS = 32
"""The ventricles' intensities are counted in so many bins."""

SAMPLES = 50_000
"""A percentile of so many voxels is as good as one of millions."""

SPILL = 6.0
"""What resector would cut reaches so far beyond the operated side at most, in mm."""

COMPAT = 3
"""Stream of the texture; 0 to 2 are those of `volseg.transforms.resection.resect`."""


def paint_compat(
    image: Tensor, anatomy: Anatomy, cavity: Cavity, carved: Carved
) -> tuple[Bounds, dict[str, Tensor]]:
    """Paint into an image.

    Args:
        image: ``(C, D, H, W)``; it is changed.
        anatomy: The maps of the head, on the image's device.
        cavity: What was drawn, with its ``compat``.
        carved: The cavity's mask.

    Returns:
        The box that was painted, and in it the layers ``clot`` and ``gliosis``, those there are.
    """
    content = cavity.compat or CompatContent((0.0, 0.0, 0.0))
    maps = anatomy.to(torch.device("cpu"))
    start, stop = _find_box(maps, cavity, carved)
    box, spacing = maps.crop(start, stop), as_spacing(anatomy.spacing)
    mask = _paste(carved.mask.cpu(), carved.start, start, box)
    clot = None
    if content.clot is not None:
        clot = _paste(_find_clot(maps, content.clot, carved), carved.start, start, box)
    lesion = _find_lesion(box, cavity) if content.has_lesion else None
    weights = [_soften(mask, content.sigmas, spacing)]
    weights += [] if clot is None else [_soften(clot, (CLOT_BLUR,) * 3, spacing)]
    (z, y, x), (deep, high, wide) = start, stop
    for index, channel in enumerate(image):
        median, spread = _measure_fluid(channel, anatomy)
        levels = [median, _percentile(channel, content.percentile)]
        noise = spread * _draw_noise(box, content.smoothing, cavity.seed, index).to(image.device)
        crop = channel[z:deep, y:high, x:wide]
        painted = crop.float()
        if lesion is not None:
            painted = torch.lerp(painted, median + noise, lesion.to(image.device))
        for level, weight in zip(levels, weights, strict=False):
            painted = torch.lerp(painted, level + noise, weight.to(image.device))
        crop.copy_(painted)
    layers = {} if clot is None else {"clot": clot.to(image.device)}
    if lesion is not None:
        layers["gliosis"] = ((lesion > 0.1) & ~mask).to(image.device)
    return (start, stop), layers


def _find_box(anatomy: Anatomy, cavity: Cavity, carved: Carved) -> Bounds:
    """The box of the cavity, or of the lesion, as far as anything is painted."""
    boxes = [(carved.start, carved.stop)]
    if cavity.compat is not None and cavity.compat.has_lesion:
        boxes.append(_find_lesion_box(anatomy, cavity))
    return (
        _index(np.min([start for start, _ in boxes], axis=0)),
        _index(np.max([stop for _, stop in boxes], axis=0)),
    )


def _find_lesion_box(anatomy: Anatomy, cavity: Cavity) -> Bounds:
    """What both the lesion's solid and the operated side reach."""
    shape = _index(anatomy.tissue.shape)
    solid = cavity.solids[0]
    larger = replace(solid, radii=_scale(solid.radii))
    near = enclose_compat(larger, anatomy.affine, shape) or ((0, 0, 0), shape)
    of_side = tight_box(anatomy.side == cavity.side if cavity.side else anatomy.side > 0)
    window = of_side[1] if of_side is not None else tuple(slice(0, n) for n in shape)
    pad, spill = (np.ceil(each / anatomy.spacing).astype(int) for each in (LESION_PAD, SPILL))
    low = np.maximum(near[0] - pad, [each.start for each in window] - spill)
    high = np.minimum(near[1] + pad, [each.stop for each in window] + spill)
    return _index(np.maximum(low, 0)), _index(np.minimum(high, shape))


def _find_clot(anatomy: Anatomy, solid: Solid, carved: Carved) -> Tensor:
    """The part of the clot's solid within the cavity's core, on the box of the cavity."""
    tight = anatomy.crop(carved.start, carved.stop)
    return compat_mask(solid, tight.affine, compat_core(carved.mask.cpu(), tight))


def _find_lesion(box: Anatomy, cavity: Cavity) -> Tensor:
    """Share of each voxel that turns to fluid, ``(d, h, w)``.

    The solid is blurred whole, and only then cut, as the cases that resector made show. As it
    marks what is cut or else grey, but not both, cortex that its smoothing leaves out
    of what can be cut turns to fluid too.
    """
    cut = compat_resectable(box, cavity.side)
    grey = (box.tissue == Tissue.CORTEX) | (box.tissue == Tissue.LIMBIC)
    if cavity.side:
        grey &= box.side == cavity.side
    steps = strides(box, LESION_PITCH)
    coarse = box.every(steps)
    solid = replace(cavity.solids[0], radii=_scale(cavity.solids[0].radii))
    solid_mask = compat_solid(solid, coarse.affine, _index(coarse.tissue.shape))
    far = _soften(solid_mask, (LESION_BLUR,) * 3, as_spacing(coarse.spacing))
    spared = _soften(cut ^ grey, (SPARING_BLUR,) * 3, as_spacing(box.spacing))
    return refine(far[None], cut.shape, steps)[0] * spared


def _measure_fluid(channel: Tensor, anatomy: Anatomy) -> Level:
    """Mean and spread of the ventricles: the fullest bin, and the spread of what lies below it."""
    box = tight_box(anatomy.tissue == Tissue.VENTRICLE)
    if box is None:
        scale = measure_statistics(channel, anatomy)
        return scale.fluid[0], scale.noise
    mask, values = anatomy.tissue[box[1]] == Tissue.VENTRICLE, channel[box[1]].float()
    core = erode(mask)
    inside = values[core if int(core.sum()) >= MINIMUM_VOXELS else mask]
    low, high = float(inside.min()), float(inside.max())
    if high <= low:
        return low, 0.0
    fullest = int(torch.histc(inside, BINS, low, high).argmax())
    mean = low + (fullest + 0.5) * (high - low) / BINS
    below = inside[inside < mean]
    return mean, float(below.std(correction=0)) if len(below) else 0.0


def _percentile(channel: Tensor, percentile: float) -> float:
    values = channel.flatten()
    some = values[:: max(1, len(values) // SAMPLES)].float()
    rank = min(max(round(percentile / 100 * len(some)), 1), len(some))
    return float(some.kthvalue(rank).values)


def _draw_noise(box: Anatomy, smoothing: float, seed: int, channel: int) -> Tensor:
    """White noise of variance 1; what a blur takes of it is that on voxels of 1 mm."""
    generator = open_stream(seed, TEXTURE, COMPAT, channel)
    noise = torch.randn(tuple(box.tissue.shape), generator=generator)
    if smoothing <= 0:
        return noise
    for axis, edge in enumerate(box.spacing):
        kernel = gaussian(smoothing / float(edge))
        noise = convolve(noise, [each / _norm(kernel) for each in kernel], axis)
    return noise * _norm(gaussian(smoothing)) ** 3


def _norm(kernel: list[float]) -> float:
    return float(np.linalg.norm(kernel))


def _soften(mask: Tensor, sigmas: tuple[float, ...], spacing: Spacing) -> Tensor:
    return blur(mask.float(), [each / edge for each, edge in zip(sigmas, spacing, strict=True)])


def _paste(mask: Tensor, corner: Index, start: Index, box: Anatomy) -> Tensor:
    """Bring a mask to a larger box."""
    whole = torch.zeros(tuple(box.tissue.shape), dtype=torch.bool)
    low = np.subtract(corner, start)
    whole[tuple(slice(a, a + n) for a, n in zip(low, mask.shape, strict=True))] = mask
    return whole


def _scale(radii: tuple[float, float, float]) -> tuple[float, float, float]:
    first, second, third = radii
    return LESION_SCALE * first, LESION_SCALE * second, LESION_SCALE * third


def _index(values: np.ndarray | torch.Size) -> Index:
    return int(values[0]), int(values[1]), int(values[2])
