"""Smooth noise: in a box, on the sphere and in space.

White noise on a coarse lattice is read through cubic B-splines. The weights are divided by their
Euclidean norm, so that every voxel has variance one wherever it lies between the lattice's nodes.
The lattice is drawn on the CPU and brought to the device: the same seed gives the same noise on
every device, up to rounding.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from volseg.types import Size, Spacing

CPU = torch.device("cpu")

TABLE_SIZE = 64
"""Samples along each edge of the square onto which the sphere is unfolded."""

CELLS = 32
"""Nodes along each edge of the periodic lattice that fills space."""


def band_noise(
    size: Size,
    spacing: Spacing,
    wavelength: float,
    generator: torch.Generator,
    octaves: int = 1,
    device: torch.device = CPU,
) -> Tensor:
    """Draw smooth isotropic noise in a box.

    Args:
        size: Voxels along each axis.
        spacing: Voxel edge along each axis, in mm.
        wavelength: Shortest wavelength of the first octave, in mm; each further octave has half
            of it and half the amplitude.
        generator: Source of the noise, on the CPU.
        octaves: Number of octaves.
        device: Where the noise is wanted.

    Returns:
        Noise of mean 0 and variance 1, ``(D, H, W)``, float32.
    """
    total = torch.zeros(size, device=device)
    power = 0.0
    for octave in range(octaves):
        amplitude = 0.5**octave
        pitch = wavelength * 0.5 ** (octave + 1)
        total += amplitude * _octave(size, spacing, pitch, generator, device)
        power += amplitude**2
    return total / math.sqrt(power)


def _octave(
    size: Size, spacing: Spacing, pitch: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Noise on a lattice with a node every ``pitch`` mm, its phase drawn."""
    phases = torch.rand(3, generator=generator).tolist()
    weights = [
        _spline_weights(count, edge / max(pitch, edge), phase)
        for count, edge, phase in zip(size, spacing, phases, strict=True)
    ]
    nodes = torch.randn([each.shape[1] for each in weights], generator=generator).to(device)
    for weight in weights:
        nodes = torch.tensordot(nodes, weight.to(device), dims=([0], [1]))
    return nodes


def _spline_weights(count: int, step: float, phase: float) -> Tensor:
    """Weights of the nodes in each sample, ``(count, nodes)``; each row has norm one."""
    places = torch.arange(count, dtype=torch.float32) * step + phase + 1
    nodes = torch.arange(int(places[-1]) + 3, dtype=torch.float32)
    weights = _spline(places[:, None] - nodes[None, :])
    return functional.normalize(weights, dim=1)


def _spline(distance: Tensor) -> Tensor:
    """The cubic B-spline."""
    distance = distance.abs()
    outer = (2 - distance).clamp_(min=0) ** 3
    inner = (1 - distance).clamp_(min=0) ** 3
    return (outer - 4 * inner) / 6


def direction_noise(directions: Tensor, seed: int, octaves: int = 4) -> Tensor:
    """Read smooth noise on the sphere.

    The noise is spatial noise on the unit sphere; its first octave has one bump in about a
    quarter of the sphere, each further octave half the width and half the amplitude. It is
    tabulated on the octahedral map (Praun and Hoppe 2003, https://doi.org/10.1145/882262.882274),
    which needs no trigonometry, and read bilinearly.

    Args:
        directions: Vectors of any length but 0, ``(3, N)``.
        seed: Seed of the noise.
        octaves: Number of octaves.

    Returns:
        Noise of about mean 0 and variance 1 over the seeds, at most 3 in size, ``(N,)``.
    """
    table = _sphere_table(seed, octaves).to(directions.device)
    square = _unfold(directions)
    places = square.t()[None, None]
    return functional.grid_sample(table[None, None], places, align_corners=True)[0, 0, 0]


@lru_cache(maxsize=4)
def _sphere_table(seed: int, octaves: int) -> Tensor:
    """Noise at the directions of the octahedral map's samples, ``(TABLE_SIZE, TABLE_SIZE)``."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    count = 25
    volume = band_noise((count,) * 3, (2 / (count - 1),) * 3, 2.0, generator, octaves)
    places = _fold().t().reshape(1, 1, TABLE_SIZE, TABLE_SIZE, 3)
    values = functional.grid_sample(volume[None, None], places, align_corners=True)
    return values[0, 0, 0].clamp_(-3, 3)


@lru_cache(maxsize=1)
def _fold() -> Tensor:
    """Unit vectors of the octahedral map's samples, ``(3, TABLE_SIZE**2)``."""
    axis = torch.linspace(-1, 1, TABLE_SIZE)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    height = 1 - first.abs() - second.abs()
    below = (-height).clamp(min=0)
    first = first - torch.copysign(below, first)
    second = second - torch.copysign(below, second)
    return functional.normalize(torch.stack([first, second, height]).reshape(3, -1), dim=0)


def _unfold(directions: Tensor) -> Tensor:
    """Places on the square of the octahedral map, ``(2, N)``, each from -1 to 1."""
    flat = directions / directions.abs().sum(dim=0).clamp_(min=1e-6)
    below = flat[2].neg().clamp_(min=0)
    return flat[:2] + torch.copysign(below, flat[:2])


def space_noise(points: Tensor, wavelength: float, seed: int) -> Tensor:
    """Read smooth noise that fills space, whatever grid the points lie on.

    Args:
        points: Positions in mm, ``(3, N)``.
        wavelength: Shortest wavelength, in mm; the noise repeats itself after sixteen of them.
        seed: Seed of the noise.

    Returns:
        Noise of mean 0 and about variance 1 over the seeds, ``(N,)``.
    """
    volume = _space_table(seed).to(points.device)
    period = CELLS * wavelength / 2
    places = torch.remainder(points / period, 1) * 2 - 1
    grid = places.t()[None, None, None]
    return functional.grid_sample(volume[None, None], grid, align_corners=True)[0, 0, 0, 0]


@lru_cache(maxsize=4)
def _space_table(seed: int) -> Tensor:
    """One period of noise with two samples a node, the first plane repeated at the end."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    nodes = torch.randn((CELLS,) * 3, generator=generator)
    offsets = torch.arange(2 * CELLS + 1) / 2
    distance = offsets[:, None] - torch.arange(CELLS)[None, :]
    wrapped = torch.remainder(distance + CELLS / 2, CELLS) - CELLS / 2
    weights = functional.normalize(_spline(wrapped), dim=1)
    for _ in range(3):
        nodes = torch.tensordot(nodes, weights, dims=([0], [1]))
    return nodes
