"""Where each part of a resection lies: one set of fields in the box, shared by all channels.

Every field is a weight from 0 to 1, ``(D, H, W)``. What obeys gravity (layers of protein, the level
of the air) follows the direction in which the patient lay, whatever the axes of the grid.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.cavity import Cavity, Content
from volseg.transforms.resection.filters import as_spacing, blur, convolve
from volseg.transforms.resection.noise import band_noise
from volseg.transforms.resection.streams import FIELDS, GLIOSIS, open_stream
from volseg.types import Size

FAR = 2.3
"""Gliosis is left out where it has faded by this many of its lengths."""

WIDER = 2.0
"""Where a wall is softest, its blur is so many times the drawn one."""

COARSE = 2.5
"""Distances that fade over many mm are measured on a grid of about this spacing, in mm."""

BEYOND = 1000.0
"""Walls are within the hull: what lies outside is as good as so many mm away."""

PATCH_WAVELENGTH = 14.0
"""Rims come and go over this many mm along the wall."""

CLOT_WAVELENGTH = 11.0
"""Clots and the chambers between septa are about so large, in mm."""


@dataclass(frozen=True)
class Fields:
    """The weights of all parts.

    Args:
        cavity: Share of the voxel that is cavity, softened as partial volume.
        protein: Of the protein in the fluid, 0 to 1 times the contrast table's way.
        clot: Share of the content that is clot.
        septa: Share that is septa.
        air: Share that is air.
        rim: Share of the wall that is haemosiderin.
        enhancement: Share of the wall that takes up contrast agent.
    """

    cavity: Tensor
    protein: Tensor | float = 0.0
    clot: Tensor | None = None
    septa: Tensor | None = None
    air: Tensor | None = None
    rim: Tensor | None = None
    enhancement: Tensor | None = None


def near_reach(content: Content) -> float:
    """Tell how far from the cavity its fields reach, gliosis aside.

    Args:
        content: What was drawn.

    Returns:
        The distance in mm.
    """
    return max(3 * WIDER * content.blur, content.rim + 2, content.enhancement + 2)


def reach(content: Content) -> float:
    """Tell how far from the cavity a content changes anything.

    Args:
        content: What was drawn.

    Returns:
        The distance in mm.
    """
    faded = FAR * content.gliosis if content.gliosis_strength > 0 else 0.0
    return max(near_reach(content), faded)


def make_fields(anatomy: Anatomy, mask: Tensor, cavity: Cavity) -> Fields:
    """Lay out the parts of a resection.

    Args:
        anatomy: The maps of the box, as they are after the brain has shifted.
        mask: The cavity in the box, ``(D, H, W)``, bool.
        cavity: What was drawn.

    Returns:
        The fields of the box.
    """
    content, spacing = cavity.content, anatomy.spacing
    box = _Box(mask, spacing, open_stream(cavity.seed, FIELDS))
    height = _height(mask, anatomy.affine, cavity.shift.gravity)
    air = _air(box, height, content)
    distance = None
    if max(content.rim, content.enhancement) > 0:
        distance = _outside(mask, spacing) + BEYOND * (anatomy.depth == 0)
    return Fields(
        cavity=_edge(box, content.blur),
        protein=_protein(box, height, content),
        clot=_clot(box, height, content),
        septa=_septa(box, content),
        air=air,
        rim=_wall(box, distance, content.rim, 0.55),
        enhancement=_wall(box, distance, content.enhancement, 0.7),
    )


def make_gliosis(anatomy: Anatomy, mask: Tensor, cavity: Cavity) -> Tensor | None:
    """Lay out gliosis or oedema: it fades with the distance from the wall, in white matter only.

    Distances are measured on a grid of about `COARSE` mm and read from it linearly.

    Args:
        anatomy: The maps of the box, as they are after the brain has shifted.
        mask: The cavity in the box, ``(D, H, W)``, bool.
        cavity: What was drawn.

    Returns:
        Gain from 0 to 1, ``(D, H, W)``, or `None` if there is none.
    """
    content = cavity.content
    if content.gliosis <= 0 or content.gliosis_strength <= 0:
        return None
    steps = [max(1, round(COARSE / each)) for each in anatomy.spacing]
    pooled = functional.max_pool3d(mask[None].float(), steps, ceil_mode=True)[0] > 0
    box = _Box(pooled, anatomy.spacing * steps, open_stream(cavity.seed, GLIOSIS))
    distance = _outside(pooled, box.spacing) * torch.exp(0.6 * box.noise(18).clamp_(min=0))
    least = float(np.exp(-FAR))
    faded = (torch.exp(-distance / content.gliosis) - least).clamp_(min=0) / (1 - least)
    size = [count * step for count, step in zip(pooled.shape, steps, strict=True)]
    gain = functional.interpolate(faded[None, None], size=size, mode="trilinear")[0, 0]
    gain = gain[: mask.shape[0], : mask.shape[1], : mask.shape[2]]
    white = (anatomy.tissue == Tissue.WHITE) | (anatomy.tissue == Tissue.CEREBELLUM_WHITE)
    soft = white.float()
    for axis in range(3):
        soft = convolve(soft, (0.25, 0.5, 0.25), axis)
    return content.gliosis_strength * gain * soft


@dataclass(frozen=True)
class _Box:
    """The cavity in its box, and a source of noise."""

    mask: Tensor
    spacing: NDArray[np.float64]
    generator: torch.Generator

    def noise(self, wavelength: float, octaves: int = 1) -> Tensor:
        size: Size = (self.mask.shape[0], self.mask.shape[1], self.mask.shape[2])
        spacing, device = as_spacing(self.spacing), self.mask.device
        return band_noise(size, spacing, wavelength, self.generator, octaves, device)


def _edge(box: _Box, deviation: float) -> Tensor:
    """Soften the wall, here sharply, there over a wider band."""
    whole = box.mask.float()
    sharp = blur(whole, [deviation / each for each in box.spacing])
    wide = blur(whole, [WIDER * deviation / each for each in box.spacing])
    return torch.lerp(sharp, wide, torch.sigmoid(2 * box.noise(PATCH_WAVELENGTH)))


def _height(mask: Tensor, affine: NDArray[np.float64], gravity: tuple[float, ...]) -> Tensor:
    """Height against gravity, from 0 at the cavity's lowest voxel to 1 at its highest."""
    slope = -(affine[:3, :3].T @ np.asarray(gravity, dtype=np.float64))
    lines = [
        torch.arange(n, device=mask.device) * float(s)
        for n, s in zip(mask.shape, slope, strict=True)
    ]
    height = lines[0][:, None, None] + lines[1][None, :, None] + lines[2][None, None, :]
    inside = height[mask]
    lowest, highest = float(inside.min()), float(inside.max())
    return ((height - lowest) / max(highest - lowest, 1e-6)).float()


def _protein(box: _Box, height: Tensor, content: Content) -> Tensor | float:
    if content.protein <= 0:
        return 0.0
    level = 0.25 + 0.5 * float(torch.rand((), generator=box.generator))
    width = 0.02 + 0.2 * float(torch.rand((), generator=box.generator))
    sunken = torch.sigmoid((level - height) / width)
    layered = 1 - content.layering + content.layering * sunken
    return content.protein * layered * (1 + 0.12 * box.noise(30).clamp_(-1, 1))


def _air(box: _Box, height: Tensor, content: Content) -> Tensor | None:
    if content.air <= 0:
        return None
    edge = 0.5 * float(box.spacing.min()) / max(_extent(box, height), 1e-3)
    return ((height - (1 - content.air)) / (2 * edge) + 0.5).clamp_(0, 1)


def _extent(box: _Box, height: Tensor) -> float:
    """The cavity's height in mm, from how fast the relative height changes."""
    slope = [
        float((height.narrow(axis, 1, 1) - height.narrow(axis, 0, 1)).flatten()[0])
        for axis in range(3)
        if height.shape[axis] > 1
    ]
    steps = [s / e for s, e in zip(slope, box.spacing, strict=False)]
    return 1 / max(float(np.linalg.norm(steps)), 1e-6)


def _clot(box: _Box, height: Tensor, content: Content) -> Tensor | None:
    """Clumps that lie low and cling together; exactly the drawn fraction scores above the edge."""
    if content.clot <= 0:
        return None
    score = box.noise(CLOT_WAVELENGTH, 2) - 1.5 * height
    return torch.sigmoid((score - _upper_quantile(score[box.mask], content.clot)) / 0.15)


def _septa(box: _Box, content: Content) -> Tensor | None:
    """Thin sheets where a smooth noise changes its sign."""
    if content.septa <= 0:
        return None
    score = -box.noise(CLOT_WAVELENGTH + 3).abs()
    edge = _upper_quantile(score[box.mask], content.septa)
    return torch.sigmoid((score - edge) / (0.4 * abs(edge) + 1e-3))


def _upper_quantile(values: Tensor, fraction: float) -> float:
    count = min(max(round((1 - fraction) * len(values)), 1), len(values))
    return float(values.kthvalue(count).values)


def _outside(mask: Tensor, spacing: NDArray[np.float64]) -> Tensor:
    """Distance to the cavity in mm; 0 within."""
    distance = ndimage.distance_transform_edt(~mask.cpu().numpy(), sampling=spacing)
    return torch.from_numpy(distance.astype(np.float32)).to(mask.device)


def _wall(box: _Box, distance: Tensor | None, thickness: float, coverage: float) -> Tensor | None:
    """A shell about the cavity that comes and goes."""
    if distance is None or thickness <= 0:
        return None
    edge = float(box.spacing.max()) / 2
    shell = ((thickness + edge - distance) / (2 * edge)).clamp_(0, 1)
    patches = box.noise(PATCH_WAVELENGTH, 2)
    return shell * torch.sigmoid((patches - _upper_quantile(patches[box.mask], coverage)) / 0.25)
