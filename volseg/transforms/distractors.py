"""Lesions that are not cavities: small bright spots, and tumours with oedema.

A network that only ever sees healthy brains and cavities calls every lesion a cavity. These lesions
are laid over the white matter of a synthetic head, so that it must tell them apart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from volseg.errors import GeometryError
from volseg.transforms.contrast_priors import CONTRASTS
from volseg.transforms.label_kinds import Kind
from volseg.transforms.resection.noise import band_noise
from volseg.types import Size, Spacing

SOFTNESS = 0.8
"""Half the width of a lesion's edge, in mm."""

FILLED = 0.8
"""Part of a core's radius within which it fills the furrows too."""

LEAST_CONTRAST = 0.2
"""The core of a tumour differs by as much from fluid, or it could pass for a cavity."""


@dataclass(frozen=True)
class Lesion:
    """A drawn lesion.

    Args:
        place: Which voxel of the white matter it is centred on, from 0 (the first) to 1 (the last).
        radius: Radius of its core, in mm.
        core: Brightness of the core.
        rim: Brightness of a rim around the core; `None`: it has none.
        rim_width: Width of the rim, in mm.
        oedema: Brightness of the white matter around it; `None`: it is not swollen.
        reach: Radius of the oedema, in radii of the core.
        roughness: How far its boundary strays, as a part of its radius.
        seed: Seed of its shape and texture.
    """

    place: float
    radius: float
    core: float
    rim: float | None
    rim_width: float
    oedema: float | None
    reach: float
    roughness: float
    seed: int


def draw_lesions(
    contrast: str, means: dict[Kind, float], random: np.random.RandomState
) -> tuple[Lesion, ...]:
    """Draw the lesions of one head: a tumour, or some small spots.

    Args:
        contrast: What the head's contrast is called.
        means: Brightness of each kind of tissue.
        random: Source of randomness.

    Returns:
        The lesions.
    """
    if random.uniform() < 0.5:
        return (_draw_tumour(contrast, means, random),)
    bright = _oedema(contrast, means, random)
    return tuple(
        Lesion(
            place=float(random.uniform()),
            radius=float(random.uniform(1.2, 5)),
            core=bright * float(random.uniform(0.9, 1.1)),
            rim=None,
            rim_width=0.0,
            oedema=None,
            reach=1.0,
            roughness=0.4,
            seed=int(random.randint(2**31)),
        )
        for _ in range(random.randint(1, 9))
    )


def _draw_tumour(contrast: str, means: dict[Kind, float], random: np.random.RandomState) -> Lesion:
    white, grey = means[Kind.WHITE], means[Kind.GREY]
    is_enhanced = contrast == "T1c"
    has_rim = random.uniform() < (0.8 if is_enhanced else 0.25)
    rim = white * float(random.uniform(1.2, 1.8)) if is_enhanced else grey
    has_oedema = random.uniform() < 0.75
    return Lesion(
        place=float(random.uniform()),
        radius=float(random.uniform(4, 20)),
        core=_core(contrast, means, has_rim=has_rim, random=random),
        rim=rim if has_rim else None,
        rim_width=float(random.uniform(2, 6)),
        oedema=_oedema(contrast, means, random) if has_oedema else None,
        reach=float(random.uniform(1.3, 2.4)),
        roughness=float(random.uniform(0.2, 0.5)),
        seed=int(random.randint(2**31)),
    )


def _core(
    contrast: str, means: dict[Kind, float], *, has_rim: bool, random: np.random.RandomState
) -> float:
    """Brightness of a tumour's core; within a wide rim it may be dead and nearly fluid."""
    fluid, white, grey = means[Kind.FLUID], means[Kind.WHITE], means[Kind.GREY]
    core = grey + float(random.uniform(-0.3, 0.3)) * abs(fluid - white)
    if contrast == "unknown":
        core = float(random.uniform(0, 1.1))
    least = LEAST_CONTRAST / 2 if has_rim else LEAST_CONTRAST
    if abs(core - fluid) < least:
        step = least * float(random.uniform(1, 2))
        core = fluid + step if white > fluid or step >= fluid else fluid - step
    return core


def _oedema(contrast: str, means: dict[Kind, float], random: np.random.RandomState) -> float:
    """Brightness of swollen white matter."""
    white, grey = means[Kind.WHITE], means[Kind.GREY]
    if contrast in CONTRASTS:
        bright = {"T1": (0.5, 1.1), "T1c": (0.5, 1.1)}.get(contrast, (1.1, 2.2))
    else:
        bright = (0.4, 2.0)
    return max(0.0, white + (grey - white) * float(random.uniform(*bright)))


def paint_lesion(
    image: Tensor,
    places: Tensor,
    tissues: tuple[Tensor, Tensor, Tensor],
    lesion: Lesion,
    spacing: Spacing,
) -> None:
    """Paint a lesion over an image, in place.

    Args:
        image: Brightness, ``(D, H, W)``.
        places: Flat indices of the white matter's voxels, in order, ``(N,)``.
        tissues: White matter, which swells; all solid brain; and the fluid between convolutions,
            which the inner part of a core displaces. Boolean ``(D, H, W)`` each.
        lesion: What to paint.
        spacing: Voxel edge along each axis, in mm.

    Raises:
        GeometryError: If the lesion has no size.
    """
    if lesion.radius <= 0:
        raise GeometryError(f"a lesion's radius is {lesion.radius} mm; use one above 0")
    if not len(places):
        return
    size = (image.shape[0], image.shape[1], image.shape[2])
    index = int(places[min(int(lesion.place * len(places)), len(places) - 1)])
    centre = np.unravel_index(index, size)
    widest = max(lesion.radius * max(1.0, lesion.reach), lesion.radius + lesion.rim_width)
    outer = widest * (1 + lesion.roughness) + 3 * SOFTNESS
    window = tuple(
        slice(max(0, int(c - outer / edge)), min(n, int(c + outer / edge) + 2))
        for c, edge, n in zip(centre, spacing, size, strict=True)
    )
    patch = image[window]
    distance = _warped_distance(patch.shape, window, centre, lesion, spacing).to(image.device)
    white, solid, fluid = (each[window].to(image.dtype) for each in tissues)
    painted = patch
    if lesion.oedema is not None:
        weight = _inside(distance / lesion.reach, lesion.radius) * white * 0.9
        painted = torch.lerp(painted, torch.full_like(patch, lesion.oedema), weight)
    if lesion.rim is not None:
        weight = _inside(distance - lesion.rim_width, lesion.radius) * solid
        painted = torch.lerp(painted, torch.full_like(patch, lesion.rim), weight)
    generator = torch.Generator().manual_seed(lesion.seed + 1)
    texture = band_noise(tuple(patch.shape), spacing, 6.0, generator).to(image)  # type: ignore[arg-type] # three axes
    weight = _inside(distance, lesion.radius) * solid
    weight = weight + _inside(distance, FILLED * lesion.radius) * fluid
    image[window] = torch.lerp(painted, lesion.core * (1 + 0.08 * texture), weight)


def _warped_distance(
    shape: torch.Size,
    window: tuple[slice, ...],
    centre: tuple[np.intp, ...],
    lesion: Lesion,
    spacing: Spacing,
) -> Tensor:
    """Distance to the centre in mm, with bumps."""
    square = torch.zeros(())
    for axis, (part, middle, edge) in enumerate(zip(window, centre, spacing, strict=True)):
        offset = (torch.arange(part.start, part.stop) - float(middle)) * edge
        view = [1, 1, 1]
        view[axis] = -1
        square = square + (offset**2).view(view)
    size: Size = (shape[0], shape[1], shape[2])
    generator = torch.Generator().manual_seed(lesion.seed)
    bumps = band_noise(size, spacing, max(3.0, 1.5 * lesion.radius), generator, octaves=2)
    return square.sqrt() / (1 + lesion.roughness * bumps.clamp(-1.5, 1.5) / 1.5)


def _inside(distance: Tensor, radius: float) -> Tensor:
    """How far a voxel lies inside, 0 to 1, with a soft edge."""
    return torch.sigmoid((radius - distance) * (2 / SOFTNESS))
