"""Ways to spoil a volume so that a network can learn to restore it.

They are those of Models Genesis (Zhou et al. 2021, https://doi.org/10.1016/j.media.2020.101840):
intensities are bent along a Bezier curve, voxels are shuffled within small windows, and boxes, or
all but some boxes, are painted over with noise. We depart from it in that the windows tile the
volume, from a random corner on, instead of being drawn ten thousand times.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.random import RandomState
from torch import Tensor

from volseg.types import Size

Box = tuple[Size, Size]
"""First voxel and voxels along each axis."""

BENDING, SHUFFLING, PAINTING, OUTSIDE = 0.9, 0.5, 0.9, 0.8
"""Probabilities of the public code; the last is that of painting outside the boxes."""

MAXIMUM_BOXES = 5
SAMPLES = 256
"""Points at which the curve is computed; between them it is a straight line."""


@dataclass(frozen=True)
class Corruption:
    """What is random about a corruption.

    Args:
        curve: The two inner control points of the Bezier curve, ``(x1, y1, x2, y2)`` in 0 to 1;
            `None`: intensities stay.
        is_falling: Whether dark becomes bright.
        window: Voxels of a window of shuffling along each axis; `None`: no shuffling.
        corner: Where the first window begins, at most one window before the volume.
        boxes: What is painted; none: nothing.
        is_outside: Whether all but the boxes is painted.
        seed: Seed of the order of voxels and of the noise.
    """

    curve: tuple[float, float, float, float] | None = None
    is_falling: bool = False
    window: Size | None = None
    corner: Size = (0, 0, 0)
    boxes: tuple[Box, ...] = ()
    is_outside: bool = False
    seed: int = 0


def draw_corruption(random: RandomState, size: Size) -> Corruption:
    """Draw a corruption of a volume.

    Args:
        random: The source of randomness.
        size: Voxels of the volume along each axis.

    Returns:
        The draw.
    """
    x1, y1, x2, y2 = random.random_sample(4)
    is_bent, is_falling, is_shuffled, is_painted = random.random_sample(4) < (
        BENDING, 0.5, SHUFFLING, PAINTING
    )  # fmt: skip
    window = _triple(random.randint(1, max(2, edge // 10) + 1) for edge in size)
    corner = _triple(-int(random.randint(edge)) for edge in window)
    is_outside = bool(random.random_sample() < OUTSIDE)
    # all but boxes of about half an edge, or boxes of a sixth to a third
    shares = (3 / 7, 4 / 7) if is_outside else (1 / 6, 1 / 3)
    boxes = tuple(_draw_box(random, size, shares) for _ in range(random.randint(MAXIMUM_BOXES) + 1))
    return Corruption(
        (x1, y1, x2, y2) if is_bent else None,
        bool(is_falling),
        window if is_shuffled else None,
        corner,
        boxes if is_painted else (),
        is_outside,
        int(random.randint(2**31)),
    )


def corrupt(image: Tensor, corruption: Corruption) -> Tensor:
    """Spoil a volume: a function of its arguments alone.

    Args:
        image: Volume, ``(C, D, H, W)``; each channel keeps its range of intensities.
        corruption: What to do.

    Returns:
        The spoilt volume, ``(C, D, H, W)``.
    """
    low = image.amin(dim=(1, 2, 3), keepdim=True)
    span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=torch.finfo(image.dtype).eps)
    result = (image - low) / span
    generator = torch.Generator().manual_seed(corruption.seed)
    if corruption.window is not None:
        result = shuffle_windows(result, corruption.window, corruption.corner, generator)
    if corruption.curve is not None:
        result = bend(result, corruption.curve, is_falling=corruption.is_falling)
    if corruption.boxes:
        noise = torch.rand(result.shape, generator=generator)
        is_in_box = torch.zeros(result.shape[1:], dtype=torch.bool)
        for start, edges in corruption.boxes:
            is_in_box[tuple(slice(s, s + e) for s, e in zip(start, edges, strict=True))] = True
        result = torch.where(is_in_box != corruption.is_outside, noise, result)
    return result * span + low


def bend(
    image: Tensor, curve: tuple[float, float, float, float], *, is_falling: bool = False
) -> Tensor:
    """Map intensities along a cubic Bezier curve from corner to corner of the unit square.

    Args:
        image: Intensities from 0 to 1.
        curve: The inner control points, ``(x1, y1, x2, y2)`` in 0 to 1.
        is_falling: Whether the curve runs from (0, 1) to (1, 0).

    Returns:
        New intensities, from 0 to 1.

    Examples:
        >>> bend(torch.tensor([0.0, 0.25, 1.0]), (1 / 3, 1 / 3, 2 / 3, 2 / 3), is_falling=True)
        tensor([1.0000, 0.7500, 0.0000])
    """
    x1, y1, x2, y2 = curve
    t = np.linspace(0, 1, SAMPLES)
    weights = 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    x = weights[0] * x1 + weights[1] * x2 + weights[2]
    y = weights[0] * y1 + weights[1] * y2 + weights[2]
    bent = np.interp(image.numpy(), x, 1 - y if is_falling else y)
    return torch.from_numpy(bent).to(image.dtype)


def shuffle_windows(
    image: Tensor, window: Size, corner: Size, generator: torch.Generator
) -> Tensor:
    """Shuffle the voxels of each window of a tiling; cut windows at the border stay.

    Args:
        image: Volume, ``(C, D, H, W)``; its channels are shuffled alike.
        window: Voxels of a window along each axis.
        corner: Where the first window begins, 0 or less.
        generator: The source of the order.

    Returns:
        The shuffled volume.
    """
    firsts = [first % edge for first, edge in zip(corner, window, strict=True)]
    counts = [
        (length - first) // edge
        for length, first, edge in zip(image.shape[1:], firsts, window, strict=True)
    ]
    if min(counts) < 1:
        return image
    place = (
        slice(None),
        *(slice(f, f + n * e) for f, n, e in zip(firsts, counts, window, strict=True)),
    )
    edges = dict(zip("ijk", window, strict=True))
    tiles = rearrange(image[place], "c (d i) (h j) (w k) -> c (d h w) (i j k)", **edges)
    order = torch.rand(tiles.shape[1:], generator=generator).argsort(dim=1)
    mixed = tiles.gather(2, order.expand(len(tiles), -1, -1))
    sizes = dict(zip("dhw", counts, strict=True))
    result = image.clone()
    result[place] = rearrange(mixed, "c (d h w) (i j k) -> c (d i) (h j) (w k)", **edges, **sizes)
    return result


def _draw_box(random: RandomState, size: Size, shares: tuple[float, float]) -> Box:
    edges = _triple(max(1, round(random.uniform(*shares) * length)) for length in size)
    pairs = zip(size, edges, strict=True)
    return _triple(random.randint(length - edge + 1) for length, edge in pairs), edges


def _triple(values: Iterable[int]) -> Size:
    depth, height, width = (int(value) for value in values)
    return depth, height, width
