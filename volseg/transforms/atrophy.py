"""Heads with wide fluid around the brain, which is no cavity.

A network that only ever sees young brains takes the wide frontal fluid of an old one for something
that was taken out. Here the brain of a label map withdraws from the skull over a region, as a whole
and smoothly, and the furrows there widen into the cortex; what it leaves becomes fluid. The maps of
the head move with the labels, so that a resection of such a head still knows its anatomy.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import RandomizableTransform
from torch import Tensor
from torch.nn import functional

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Tissue
from volseg.transforms.label_kinds import Kind, read_labels
from volseg.transforms.resection.level import tight_box
from volseg.transforms.resection.noise import band_noise
from volseg.types import Size, Spacing

FADING = 4.0
"""Movement fades over so many times its own size towards the depth, so that nothing folds."""

DIRECTIONS = ((0.6, (0.0, 0.95, 0.2)), (0.25, (0.0, 0.0, 1.0)), (0.15, (0.0, -0.8, 0.6)))
"""Share, and where the region lies, RAS: frontal, upper, and occipital."""

GAPS = (3.0, 28.0)
"""Least and largest width of the fluid that opens, in mm."""

WAVELENGTH = 35.0
"""The width of the fluid changes over so many mm."""

FURROW_WAVELENGTH = 15.0
"""Furrows widen here and not there over so many mm."""

BELOW = (-0.35, 0.1)
"""Nothing moves below the first height over the centre, as the sine of an angle, and everything may
above the second: the base of the brain rests;"""

FRONT = 0.6
"""but to the front, both lie lower by so much."""


@dataclass(frozen=True)
class Atrophy:
    """How far a brain has withdrawn.

    Args:
        direction: Where from its centre the region lies, RAS unit vector; both sides of the head
            alike if it ``is_even``.
        gap: Width of the fluid that opens where it is widest, in mm.
        spread: Angle over which the region fades, in degrees.
        furrows: So far the furrows widen into the cortex, in mm.
        share: Share of the region's cortex along the furrows that is lost.
        seed: Seed of the unevenness.
        is_even: Whether left and right withdraw alike.
    """

    direction: tuple[float, float, float]
    gap: float
    spread: float
    furrows: float
    share: float
    seed: int
    is_even: bool = True


def sample_atrophy(random: np.random.RandomState) -> Atrophy:
    """Draw how far a brain withdraws.

    Args:
        random: Source of all draws.

    Returns:
        What was drawn.
    """
    ends = np.cumsum([share for share, _ in DIRECTIONS])
    chosen = int(np.searchsorted(ends[:-1], random.uniform(), side="right"))
    direction = np.asarray(DIRECTIONS[chosen][1]) + random.normal(0, 0.25, 3)
    direction[0] += random.uniform(-0.6, 0.6)
    first, second, third = (direction / np.linalg.norm(direction)).tolist()
    return Atrophy(
        direction=(first, second, third),
        gap=float(random.uniform(*GAPS)),
        spread=float(random.uniform(20, 60)),
        furrows=float(random.uniform(0, 3)),
        share=float(random.uniform(0, 0.7)),
        seed=int(random.randint(2**31 - 1)),
        is_even=bool(random.uniform() < 0.7),
    )


def widen(
    labels: Tensor, anatomy: Anatomy, atrophy: Atrophy, scheme: str = "auto"
) -> tuple[Tensor, Anatomy]:
    """Let the brain of a label map withdraw.

    Args:
        labels: Whole numbers, ``(D, H, W)``.
        anatomy: Its maps, on the CPU.
        atrophy: What was drawn.
        scheme: What the numbers mean, as in `read_labels`.

    Returns:
        Labels and maps; what was given if there is no label of fluid, or no brain.
    """
    counts = torch.bincount(labels.flatten().int()).tolist()
    present = [number for number, count in enumerate(counts) if count]
    kinds = {n: look.kind for n, look in read_labels(present, scheme).items()}
    fluids = [number for number, kind in kinds.items() if kind is Kind.FLUID]
    fluid = max(fluids, key=counts.__getitem__, default=None)
    box = tight_box(anatomy.depth)
    if fluid is None or box is None:
        return labels, anatomy
    start, window = box
    part = anatomy.crop(start, tuple(each.stop for each in window))
    weight, outward = _lay_out(part, atrophy)
    stack = torch.cat([labels[window][None].int(), part.stack().int()])
    moved = _read(stack, _displacement(part, weight, outward, atrophy))
    hull = part.depth > 0
    moved = torch.where(hull, moved, stack)
    gap = hull & (moved[4] == 0)
    lost = gap | _widen_furrows(moved, kinds, weight, atrophy, part)
    for index, value in enumerate((fluid, int(Tissue.FLUID))):
        moved[index][lost] = value
    moved[2:4, gap] = 0
    changed, maps = labels.clone(), anatomy.stack()
    changed[window] = moved[0].to(labels.dtype)
    maps[(slice(None), *window)] = moved[1:].to(torch.uint8)
    return changed, Anatomy.unstack(maps, anatomy.affine)


def _lay_out(part: Anatomy, atrophy: Atrophy) -> tuple[Tensor, Tensor]:
    """How far each voxel belongs to the region, 0 to 1, and the way out from the centre, RAS."""
    offsets = _offsets(part)
    outward = offsets / offsets.square().sum(dim=0).sqrt_().clamp_(min=1.0)
    first, second, third = atrophy.direction
    across = outward[0].abs() * abs(first) if atrophy.is_even else outward[0] * first
    cosine = across.add_(outward[1], alpha=second).add_(outward[2], alpha=third)
    weight = cosine.sub_(1).div_(np.deg2rad(atrophy.spread) ** 2).exp_()
    height = outward[2] + FRONT * outward[1].clamp(min=0)
    height = ((height - BELOW[0]) / (BELOW[1] - BELOW[0])).clamp_(0, 1)
    noise = _noise(part, WAVELENGTH, atrophy.seed)
    return weight * height * (1 + 0.3 * noise).clamp_(0.2, 1.3) / 1.3, outward


def _offsets(part: Anatomy) -> Tensor:
    """From the centre of the hull to each voxel, RAS mm, ``(3, d, h, w)``."""
    hull, lines = part.depth > 0, []
    for axis, size in enumerate(hull.shape):
        counts = hull.sum(dim=tuple(each for each in range(3) if each != axis)).float()
        places = torch.arange(float(size))
        lines.append(places - (counts * places).sum() / counts.sum())
    linear = torch.from_numpy(part.affine[:3, :3]).float()
    grid = torch.meshgrid(*lines, indexing="ij")
    return torch.stack([sum(row[k] * grid[k] for k in range(3)) for row in linear])


def _noise(part: Anatomy, wavelength: float, seed: int) -> Tensor:
    size: Size = (part.depth.shape[0], part.depth.shape[1], part.depth.shape[2])
    first, second, third = part.spacing.tolist()
    spacing: Spacing = (first, second, third)
    return band_noise(size, spacing, wavelength, torch.Generator().manual_seed(seed))


def _displacement(part: Anatomy, weight: Tensor, outward: Tensor, atrophy: Atrophy) -> Tensor:
    """What is added to a voxel's index to find where it came from, ``(3, d, h, w)``."""
    depth = part.depth * DEPTH_STEP
    length = atrophy.gap * weight * torch.exp(-depth / (FADING * max(atrophy.gap, 1.0)))
    inverse = torch.from_numpy(np.linalg.inv(part.affine[:3, :3])).float()
    field: Tensor = torch.tensordot(inverse, length * outward, dims=([1], [0]))
    return field


def _read(stack: Tensor, field: Tensor) -> Tensor:
    """Take each voxel from the nearest to where it came from; the border is continued."""
    indices = torch.zeros_like(field[0], dtype=torch.long)
    for axis, size in enumerate(field.shape[1:]):
        view = [-1 if each == axis else 1 for each in range(3)]
        place = torch.arange(size).view(view) + field[axis].round().long()
        indices = indices * size + place.clamp_(0, size - 1)
    moved: Tensor = stack.flatten(1)[:, indices.flatten()].view(stack.shape)
    return moved


def _widen_furrows(
    moved: Tensor, kinds: Mapping[int, Kind], weight: Tensor, atrophy: Atrophy, part: Anatomy
) -> Tensor:
    """Mark the cortex along the furrows that is lost, as many voxels deep as make up the width."""
    layers = round(atrophy.furrows / float(part.spacing.mean()))
    if layers == 0:
        return torch.zeros_like(part.depth, dtype=torch.bool)
    table = torch.zeros((2, max(kinds) + 1), dtype=torch.bool)
    for number, kind in kinds.items():
        table[:, number] = torch.tensor([kind is Kind.FLUID, kind is Kind.GREY])
    fluid, grey = (row[moved[0].long()] for row in table)
    grey &= moved[1] == int(Tissue.CORTEX)
    noise = _noise(part, FURROW_WAVELENGTH, atrophy.seed + 1)
    level = float(torch.special.ndtri(torch.tensor(1 - min(max(atrophy.share, 1e-3), 0.999))))
    grey &= (noise > level) & (weight > 0.2)
    grown = fluid
    for _ in range(layers):
        near = functional.max_pool3d(grown[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
        grown = grown | (near & grey)
    lost: Tensor = grown & ~fluid
    return lost


class RandAtrophyd(RandomizableTransform):
    """Lets the brain of a case with a label map withdraw, with its maps.

    A case without a label map is left alone: its image shows the brain as it is.

    Args:
        prob: Probability of it.
        scheme: What the labels' numbers mean, as in `read_labels`.

    Raises:
        DataError: If the probability is none.
    """

    def __init__(self, prob: float = 0.25, scheme: str = "auto") -> None:
        if not 0 <= prob <= 1:
            raise DataError(f"atrophy_share is {prob}; use a probability from 0 to 1")
        super().__init__(prob)
        self.scheme = scheme

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Widen the fluid of one case.

        Args:
            data: ``labels``, ``(1, D, H, W)``; ``anatomy``, ``(4, D, H, W)``; and ``affine``, from
                voxel indices to RAS mm.

        Returns:
            The case with other labels and maps, or as it was.
        """
        result = dict(data)
        self.randomize(None)
        if not self._do_transform or "labels" not in result or "anatomy" not in result:
            return result
        anatomy = Anatomy.unstack(result["anatomy"], np.asarray(result["affine"]))
        labels, anatomy = widen(result["labels"][0], anatomy, sample_atrophy(self.R), self.scheme)
        result["labels"], result["anatomy"] = labels[None], anatomy.stack()
        return result
