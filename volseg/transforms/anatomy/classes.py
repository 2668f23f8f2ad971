"""The tissues of a brain of which only an image of unknown contrast and a mask are given.

Three classes of brightness are found by k-means. Which of the darkest and the brightest is fluid is
told by how much more frequent it is where the ventricles are and at the brain's surface; of the
other two, white matter is the one that lies deeper below the hull. What position tells better than
brightness (the deep nuclei, the hippocampus, the corpus callosum, brainstem and cerebellum) is told
by position in the brain's standard frame.
"""

from enum import IntFlag

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import DEPTH_STEP, Lobe, Tissue

SAMPLES = 30_000
ROUNDS = 25
RIBBON = 8.0
"""Only what lies further than this below the hull can belong to the deep nuclei, in mm."""

SHELL = 3.0
"""The brain's surface reaches this far below the hull, in mm."""

VENTRICLE_DEPTH = 18.0
"""Fluid this far below the hull, in mm, near the midline, is a ventricle's."""

_FLUID, _GREY, _WHITE = 0, 1, 2


class Region(IntFlag):
    """Where structures are in an average brain; the regions overlap."""

    VENTRICLES = 1
    CENTRE = 2
    NUCLEI = 4
    LIMBIC = 8
    CALLOSUM = 16
    STEM = 32


def tissue_of_image(
    image: Tensor,
    depth: Tensor,
    lobe: Tensor,
    region: Tensor,
    brain: Tensor,
) -> Tensor:
    """Tell what the voxels of a brain are made of from brightness and place.

    Args:
        image: Of any contrast, its noise smoothed, ``(D, H, W)``, float32.
        depth: Below the hull, in steps of 0.5 mm, ``(D, H, W)``, uint8.
        lobe: `Lobe` of each voxel, ``(D, H, W)``.
        region: Bits of `Region` at each voxel, ``(D, H, W)``, uint8.
        brain: Mask of the brain, ``(D, H, W)``, bool; what else lies below the hull is fluid.

    Returns:
        `Tissue`, ``(D, H, W)``, uint8; `Tissue.AIR` outside the hull.
    """
    kind = _classify(image, depth, region, brain)
    kind[~brain] = _FLUID
    table = np.array([Tissue.FLUID, Tissue.CORTEX, Tissue.WHITE], dtype=np.uint8)
    tissue = torch.from_numpy(table[kind.numpy()])
    _place_structures(tissue, depth, region)
    _place_below(tissue, lobe, region)
    tissue[depth == 0] = int(Tissue.AIR)
    return tissue


def _classify(image: Tensor, depth: Tensor, region: Tensor, brain: Tensor) -> Tensor:
    """Tell fluid, grey and white matter apart, ``(D, H, W)``, uint8."""
    step = max(1, int((int(brain.sum()) / SAMPLES) ** (1 / 3)))
    thin = (slice(None, None, step),) * 3
    chosen = brain[thin]
    values, below = image[thin][chosen], depth[thin][chosen].float()
    centres = _three_means(values)
    borders = (centres[1:] + centres[:-1]) / 2
    classes = torch.bucketize(values, borders)
    inner = _is_in(region[thin][chosen], Region.VENTRICLES)
    outer = below <= SHELL / DEPTH_STEP
    dark, bright = (
        _excess(classes == each, inner) * _excess(classes == each, outer) for each in (0, 2)
    )
    is_dark = dark >= bright
    order = [0, 1, 2] if is_dark else [2, 1, 0]
    if below[classes == order[1]].mean() > below[classes == order[2]].mean():
        order = [order[0], order[2], order[1]]
    table = np.zeros(3, dtype=np.uint8)
    table[order] = (_FLUID, _GREY, _WHITE)
    brighter = (image > borders[0]).to(torch.uint8) + (image > borders[1]).to(torch.uint8)
    return torch.from_numpy(table[brighter.numpy()])


def _excess(kind: Tensor, where: Tensor) -> float:
    """Say how many times as frequent a class is at some place as in the whole brain."""
    if not bool(where.any()):
        return 1.0
    usual = float(kind.float().mean())
    return (float(kind[where].float().mean()) + 0.01) / (usual + 0.01)


def _three_means(values: Tensor) -> Tensor:
    """Find three centres of brightness by k-means, in ascending order."""
    low, high = torch.quantile(
        values[:: max(1, len(values) // 100_000)], torch.tensor([0.01, 0.99])
    )
    clipped = values.clamp(low, high)
    centres = torch.quantile(
        clipped[:: max(1, len(values) // 100_000)], torch.tensor([0.05, 0.4, 0.8])
    )
    for _ in range(ROUNDS):
        classes = torch.bucketize(clipped, (centres[1:] + centres[:-1]) / 2)
        sums = torch.zeros(3).index_add_(0, classes, clipped)
        counts = torch.bincount(classes, minlength=3)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def regions(places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Mark where structures are in an average brain.

    Args:
        places: x, y and z in the standard frame, in mm, of any one shape.

    Returns:
        Bits of `Region`, uint8, of the same shape.
    """
    x, y, z = places
    away = x.abs()
    horns = (away > 3) & (away < 4 + 0.25 * (30 - y)) & (away < 22)
    marks = {
        Region.VENTRICLES: horns & (y > -40) & (y < 28) & (z > 2) & (z < 26),
        Region.CENTRE: _near(places, (0, -18, 8), (42, 62, 30)),
        Region.NUCLEI: _near(places, (17, -6, 5), (15, 24, 16)),
        Region.LIMBIC: _near(places, (26, -18, -16), (9, 24, 9)),
        Region.CALLOSUM: _near(places, (0, -10, 14), (6, 42, 20)) & (away < 5),
        Region.STEM: (away < 16) & (y > -40 + 0.12 * z),
    }
    result = torch.zeros(x.shape, dtype=torch.uint8)
    for region, mark in marks.items():
        result |= mark.to(torch.uint8) * int(region)
    return result


def _near(
    places: tuple[Tensor, Tensor, Tensor],
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> Tensor:
    """Mark an ellipsoid on both sides."""
    x, y, z = places
    parts = (
        (x.abs() - centre[0]) / radii[0],
        (y - centre[1]) / radii[1],
        (z - centre[2]) / radii[2],
    )
    return parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 <= 1


def _is_in(region: Tensor, wanted: Region) -> Tensor:
    return (region & int(wanted)) > 0


def _place_structures(tissue: Tensor, depth: Tensor, region: Tensor) -> None:
    """Mark ventricles, deep nuclei, hippocampus, amygdala and corpus callosum, in place."""
    is_fluid = tissue == int(Tissue.FLUID)
    is_deep = depth > VENTRICLE_DEPTH / DEPTH_STEP
    tissue[is_fluid & is_deep & _is_in(region, Region.CENTRE)] = int(Tissue.VENTRICLE)
    nuclei = _is_in(region, Region.NUCLEI) & ~is_fluid
    tissue[nuclei & (depth > RIBBON / DEPTH_STEP)] = int(Tissue.DEEP)
    tissue[_is_in(region, Region.LIMBIC) & ~is_fluid] = int(Tissue.LIMBIC)
    is_white = tissue == int(Tissue.WHITE)
    tissue[is_white & _is_in(region, Region.CALLOSUM)] = int(Tissue.CALLOSUM)


def _place_below(tissue: Tensor, lobe: Tensor, region: Tensor) -> None:
    """Mark brainstem and cerebellum, in place."""
    below = lobe == int(Lobe.INFRATENTORIAL)
    is_grey = (tissue == int(Tissue.CORTEX)) | (tissue == int(Tissue.DEEP))
    is_white = (tissue == int(Tissue.WHITE)) | (tissue == int(Tissue.CALLOSUM))
    tissue[below & is_grey] = int(Tissue.CEREBELLUM_CORTEX)
    tissue[below & is_white] = int(Tissue.CEREBELLUM_WHITE)
    stem = _is_in(region, Region.STEM) & (is_grey | is_white)
    tissue[below & stem] = int(Tissue.BRAINSTEM)
