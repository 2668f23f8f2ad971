"""Painting: the fields and a channel's palette become intensities.

The texture of the fluid is Gaussian noise, filtered so that neighbours correlate along each axis as
they do in the channel's own ventricles: white noise in a cavity is a shortcut for a network.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.resection.contrast import Palette
from volseg.transforms.resection.fields import Fields
from volseg.transforms.resection.filters import convolve, gaussian
from volseg.transforms.resection.noise import band_noise
from volseg.transforms.resection.statistics import TissueStatistics
from volseg.types import Size, Spacing

AIR_NOISE = 0.4
"""Noise in air relative to that in fluid: magnitude images have less of it where there is no
signal."""


SLOW_WAVELENGTH = 16.0
"""The slow part of a texture comes and goes over so many voxels: three apart, it then correlates by
0.9, as `volseg.transforms.resection.statistics` takes it to."""

FEWEST_VOXELS = 30
"""The spread within fewer voxels is not measured."""

LEAST_SPREAD = 0.25
"""Slow noise that varies less than this within a cavity is brought out four times at most."""

FLAP_LEVELS = {
    "subgaleal": "collection",
    "extradural": "collection",
    "cut_bone": "cut_bone",
    "plate": "plate",
}
"""The part of the palette that each part of a flap is painted with, in the order of painting."""


def paint(tissue: Tensor, fields: Fields, palette: Palette, texture: Tensor) -> Tensor:
    """Paint one channel.

    Args:
        tissue: Intensities of the box after the brain has shifted, ``(D, H, W)``.
        fields: Where each part lies.
        palette: How bright each part is.
        texture: Noise of the fluid, ``(D, H, W)``.

    Returns:
        Intensities of the box, ``(D, H, W)``.
    """
    levels = palette.levels
    wall = tissue
    for part, weight in (("enhancement", fields.enhancement), ("rim", fields.rim)):
        if weight is not None and part in levels:
            wall = torch.lerp(wall, torch.full_like(wall, levels[part]), 0.9 * weight)
    content = _fill(fields, palette, texture)
    return torch.lerp(wall, content, fields.cavity)


def _fill(fields: Fields, palette: Palette, texture: Tensor) -> Tensor:
    levels = palette.levels
    content = texture + levels["fluid"]
    if isinstance(fields.protein, Tensor):
        content = content + fields.protein * (levels["protein"] - levels["fluid"])
    for part, weight in (("septa", fields.septa), ("clot", fields.clot)):
        if weight is not None:
            content = torch.lerp(content, texture + levels[part], weight)
    if fields.air is not None:
        content = torch.lerp(content, AIR_NOISE * texture + levels["air"], fields.air)
    return content


def paint_flap(
    tissue: Tensor, weights: Mapping[str, Tensor], palette: Palette, texture: Tensor
) -> Tensor:
    """Paint a craniotomy into one channel.

    Args:
        tissue: Intensities of the flap's box, ``(D, H, W)``.
        weights: Those of a `FlapFields`.
        palette: How bright each part is.
        texture: Noise of the fluid, ``(D, H, W)``.

    Returns:
        Intensities of the box, ``(D, H, W)``.
    """
    for part, level in FLAP_LEVELS.items():
        if part in weights:
            content = palette.levels[level] + texture * (level == "collection")
            tissue = tissue + weights[part] * (content - tissue)
    return tissue


def make_texture(
    size: Size,
    spacing: Spacing,
    statistics: TissueStatistics,
    generator: torch.Generator,
    within: Tensor | None = None,
) -> Tensor:
    """Draw noise with the spread and the neighbour correlation of a channel's fluid.

    Of what varies slowly, a cavity holds a piece, in which it varies less: it is brought to its
    spread within the cavity, as it was measured within the ventricles.

    Args:
        size: Voxels along each axis.
        spacing: Voxel edge along each axis, in mm.
        statistics: Of the channel.
        generator: Where the noise comes from.
        within: Fluid of the cavity, ``(D, H, W)``, bool; `None`: the whole box.

    Returns:
        Noise of mean 0, ``(D, H, W)``, float32.
    """
    slow = statistics.slow
    texture = torch.randn(size, generator=generator)
    for axis, correlation in enumerate(statistics.fine_lag1):
        kernel = kernel_of_correlation(round(correlation, 2))
        if len(kernel) > 1 and size[axis] > 1:
            scale = float(np.linalg.norm(kernel))
            texture = convolve(texture, [each / scale for each in kernel], axis)
    if slow > 0:
        edge = math.prod(spacing) ** (1 / 3)
        wide = band_noise(size, spacing, SLOW_WAVELENGTH * edge, generator)
        texture = (1 - slow) ** 0.5 * texture + slow**0.5 * _spread(wide, within)
    return statistics.noise * texture


def _spread(noise: Tensor, within: Tensor | None) -> Tensor:
    """Bring noise to mean 0 and variance 1 within a mask."""
    inside = noise.flatten() if within is None else noise[within]
    if len(inside) < FEWEST_VOXELS:
        return noise
    return (noise - inside.mean()) / inside.std().clamp_(min=LEAST_SPREAD)


@lru_cache(maxsize=256)
def kernel_of_correlation(correlation: float) -> tuple[float, ...]:
    """Find the Gaussian kernel whose filtered white noise correlates so between neighbours.

    Args:
        correlation: Between neighbours, at most 0.98; at most 0 leaves the noise white.

    Returns:
        Odd number of weights.
    """
    if correlation <= 0:
        return (1.0,)
    narrow, wide = 0.05, 5.0
    for _ in range(30):
        middle = (narrow + wide) / 2
        if _correlation_of(gaussian(middle)) < correlation:
            narrow = middle
        else:
            wide = middle
    return tuple(gaussian(wide))


def _correlation_of(kernel: list[float]) -> float:
    weights = np.asarray(kernel)
    return float((weights[1:] * weights[:-1]).sum() / np.square(weights).sum())
