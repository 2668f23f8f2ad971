"""Draw a cavity by resector's law: its geometry, its clot, its lesion of white matter.

Every law is that of its paper's configuration, see `volseg.transforms.resection.compat`; but for a
blur of the texture, on request, so that a network cannot tell a cavity by its white noise.
"""

from dataclasses import replace

import numpy as np
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy, Side, Tissue
from volseg.transforms.resection.cavity import RESECTOR, Cavity, CompatContent, Content, Solid
from volseg.transforms.resection.compat import carve_compat, compat_core
from volseg.transforms.resection.scout import as_point
from volseg.transforms.resection.solid import equivalent_radius

VOLUMES_ML = (0.844, 83.757)
"""Volumes are drawn evenly between these: percentiles 1 and 99 of the labelled cavities."""

LARGEST_RATIO = 2.0
"""The ellipsoid is up to so many times as long as the ball of its volume."""

NOISE_OFFSETS = 1000
"""There are so many shapes of noise."""

BLURS = (0.5, 1.0)
"""Standard deviations of the wall's blur are drawn evenly between these, in mm."""

PERCENTILES = (90.0, 99.0)
"""A clot is as bright as a percentile of the image that is drawn evenly between these."""

SMOOTHINGS = (0.3, 1.0)
"""Standard deviation of the blur of the texture, where there is one, in mm."""


def sample_compat(
    anatomy: Anatomy, random: np.random.RandomState, rich: float = 0.0, smooth: float = 0.0
) -> Cavity:
    """Draw a cavity as resector does: one ellipsoid about any voxel of the cortex.

    Args:
        anatomy: The maps of the head.
        random: Source of all draws.
        rich: Probability of a clot, and of a lesion of white matter.
        smooth: Probability of a texture that is not white.

    Returns:
        What was drawn; not ``is_ok`` if the drawn side has no cortex.
    """
    side = Side.LEFT if random.uniform() < 0.5 else Side.RIGHT
    volume, ratio = random.uniform(*VOLUMES_ML), random.uniform(1, LARGEST_RATIO)
    angles, offset = random.uniform(0, 360, 3), int(random.randint(NOISE_OFFSETS))
    blur, place, seed = random.uniform(*BLURS), random.uniform(), int(random.randint(2**31 - 1))
    cortex = (anatomy.tissue == Tissue.CORTEX) | (anatomy.tissue == Tissue.LIMBIC)
    voxels = (cortex & (anatomy.side == int(side))).nonzero()
    if len(voxels) == 0:
        return Cavity(seed=seed, is_ok=False)
    radius = equivalent_radius(volume)
    solid = Solid(
        centre=as_point(_place(voxels, place, anatomy)),
        radii=(radius, ratio * radius, radius / ratio),
        angles=as_point(angles),
        volume_ml=volume,
        roughness=1.0,
        seed=offset,
        law=RESECTOR,
    )
    content = _draw_content(anatomy, int(side), solid, random, (blur, rich, smooth))
    mode, plain = "lesionectomy", Content(blur=blur)
    return Cavity(mode, side=int(side), solids=(solid,), content=plain, seed=seed, compat=content)


def _draw_content(
    anatomy: Anatomy,
    side: int,
    solid: Solid,
    random: np.random.RandomState,
    given: tuple[float, float, float],
) -> CompatContent:
    """Draw what fills and surrounds it; a clot needs a cavity that has a core."""
    blur, rich, smooth = given
    sigmas = np.append(blur, random.uniform(*BLURS, 2))
    has_lesion, has_clot, is_smooth = random.uniform(size=3) < (rich, rich, smooth)
    percentile, place = random.uniform(*PERCENTILES), random.uniform()
    smoothing = random.uniform(*SMOOTHINGS)
    return CompatContent(
        sigmas=as_point(sigmas),
        has_lesion=bool(has_lesion),
        clot=_draw_clot(anatomy, side, solid, place) if has_clot else None,
        percentile=percentile,
        smoothing=smoothing if is_smooth else 0.0,
    )


def _draw_clot(anatomy: Anatomy, side: int, solid: Solid, place: float) -> Solid | None:
    """Another solid of the same radii about a place in the core; only its part there is clot."""
    carved = carve_compat(anatomy, side, solid)
    if carved is None:
        return None
    start, mask = carved
    core = compat_core(mask, anatomy).nonzero()
    if len(core) == 0:
        return None
    centre = _place(core + core.new_tensor(start), place, anatomy)
    return replace(solid, centre=as_point(centre), seed=2 * solid.seed)


def _place(voxels: Tensor, place: float, anatomy: Anatomy) -> np.ndarray:
    """Where a voxel of a list lies, RAS mm; the first for 0 and the last for almost 1."""
    voxel = voxels[int(place * len(voxels))].numpy()
    where: np.ndarray = anatomy.affine[:3, :3] @ voxel + anatomy.affine[:3, 3]
    return where
