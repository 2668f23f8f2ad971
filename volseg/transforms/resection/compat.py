"""The law of resector, the published simulator, so that both can be compared voxel for voxel.

Its cavity is an ellipsoid whose surface is moved along the normals of a unit sphere by octaves of
simplex noise before it is scaled, turned and cut by what can be resected (F. Pérez-García et al.,
IJCARS 2021, https://doi.org/10.1007/s11548-021-02420-2). Its volume is that of the ellipsoid, noise
and cut aside. resector fills a mesh; here the inside is a closed form: a voxel at q in the
ellipsoid's own frame, which starts from the mean of the moved surface, is inside where
``|q| <= 1 + n(q / |q|)``. Here is the geometry; `volseg.transforms.resection.compat_draw` draws,
and `volseg.transforms.resection.compat_paint` paints.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy, Lobe, Tissue
from volseg.transforms.resection.cavity import Point, Solid
from volseg.transforms.resection.simplex import Floats, simplex_noise
from volseg.transforms.resection.solid import Index, rotation

NOISE_SCALE = 3.0
"""Positions on the unit sphere are divided by this before the noise is read."""

SURFACE_POINTS = 2562
"""The mean of the moved surface is taken over so many points, as resector's mesh has."""

SLACK = 0.05
"""Between these points the surface moves by no more beyond what it does at them."""

OPENING = 3.4
"""Radius in mm of the ball that opens the brain; resector's reaches 3 voxels along each axis. Its
heads have voxels of 1 mm: what it says in voxels is said in mm here, so that the grid is free."""

MEDIAN = 9
"""Edge in mm of the cube whose median smooths the brain; in voxels for resector."""

EROSION = 2.4
"""Radius in mm of the ball that erodes a cavity; resector's reaches 2 voxels along each axis."""


def compat_solid(solid: Solid, affine: NDArray[np.float64], shape: Index) -> Tensor:
    """Mark the inside of one of resector's solids, whatever can be resected.

    Args:
        solid: Centre, radii, angles and, as the offset of the noise in whole lattice units, seed;
            roughness 1 is resector's noise and 0 its plain ellipsoid.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        shape: Voxels of the volume along each axis.

    Returns:
        Boolean mask, ``(D, H, W)``.
    """
    mask = torch.zeros(shape, dtype=torch.bool)
    box = enclose_compat(solid, affine, shape)
    if box is not None:
        window = tuple(slice(a, b) for a, b in zip(*box, strict=True))
        mask[window] = torch.from_numpy(_inside(solid, affine, *box))
    return mask


def compat_mask(solid: Solid, affine: NDArray[np.float64], resectable: Tensor) -> Tensor:
    """Cut one of resector's solids, and keep its largest part.

    Args:
        solid: As for `compat_solid`.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        resectable: What can be taken out, ``(D, H, W)``, bool.

    Returns:
        Boolean mask, ``(D, H, W)``; empty if nothing is left.
    """
    inside = compat_solid(solid, affine, _index(resectable.shape)) & resectable
    return torch.from_numpy(_largest(inside.numpy()))


def carve_compat(anatomy: Anatomy, side: int, solid: Solid) -> tuple[Index, Tensor] | None:
    """Carve one of resector's solids out of what it would cut.

    Args:
        anatomy: The maps of the head.
        side: `Side` that is operated; 0 for both.
        solid: As for `compat_solid`.

    Returns:
        First voxel of a box, and the cavity's mask in it, ``(d, h, w)``; `None`: nothing is left.
    """
    shape = _index(anatomy.tissue.shape)
    box = enclose_compat(solid, anatomy.affine, shape)
    if box is None:
        return None
    reach = 2 * _radius(OPENING, anatomy) + (MEDIAN - 1) / 2
    margin = np.ceil(reach / anatomy.spacing - 1e-6).astype(int)
    start = _index(np.maximum(np.subtract(box[0], margin), 0))
    crop = anatomy.crop(start, _index(np.minimum(np.add(box[1], margin), shape)))
    mask = compat_mask(solid, crop.affine, compat_resectable(crop, side))
    return (start, mask) if bool(mask.any()) else None


def compat_resectable(anatomy: Anatomy, side: int) -> Tensor:
    """Mark what resector would cut: ventricles and deep nuclei too, but nothing below the tent.

    The brain of that side is opened by a ball and smoothed by a median, so that thin gyri are lost
    and narrow sulci filled.

    Args:
        anatomy: The maps of the head or of a box of it.
        side: `Side` that is operated; 0 for both.

    Returns:
        Boolean mask, ``(D, H, W)``.
    """
    tissue = anatomy.tissue
    mask = (tissue > Tissue.FLUID) & (anatomy.lobe != Lobe.INFRATENTORIAL)
    for spared in (Tissue.BRAINSTEM, Tissue.CEREBELLUM_CORTEX, Tissue.CEREBELLUM_WHITE):
        mask &= tissue != spared
    if side:
        mask &= (anatomy.side == side) | (anatomy.side == 0)
    edges, ball = anatomy.spacing, _ball(OPENING, anatomy)
    core = _largest(ndimage.binary_erosion(mask.numpy(), ball, border_value=1))
    if not core.any():
        return torch.zeros_like(mask)
    opened = ndimage.binary_dilation(core, ball)
    cube = 2 * np.round((MEDIAN / edges - 1) / 2).astype(int) + 1
    share = ndimage.uniform_filter(opened.astype(np.float32), np.maximum(cube, 1))
    return torch.from_numpy(share > 0.5)


def compat_core(mask: Tensor, anatomy: Anatomy) -> Tensor:
    """Erode a cavity, as resector does before it puts a clot into it.

    Args:
        mask: The cavity, ``(d, h, w)``, bool.
        anatomy: Maps of its head, for their spacing.

    Returns:
        What lies deep within, ``(d, h, w)``, bool.
    """
    return torch.from_numpy(ndimage.binary_erosion(mask.numpy(), _ball(EROSION, anatomy)))


def _radius(millimetres: float, anatomy: Anatomy) -> float:
    """Reach of a ball on this grid: borders lie half a voxel from the centres they are told by."""
    return millimetres + (float(anatomy.spacing.mean()) - 1) / 2


def _ball(millimetres: float, anatomy: Anatomy) -> NDArray[np.bool_]:
    """Voxels whose centres lie in a ball on this grid."""
    radius, edges = _radius(millimetres, anatomy), anatomy.spacing
    reach = np.floor(radius / edges).astype(int)
    offsets = np.indices(tuple(2 * reach + 1)).reshape(3, -1) - reach[:, None]
    inside: NDArray[np.bool_] = np.linalg.norm(offsets * edges[:, None], axis=0) <= radius
    return inside.reshape(tuple(2 * reach + 1))


def enclose_compat(
    solid: Solid, affine: NDArray[np.float64], shape: Index
) -> tuple[Index, Index] | None:
    """Find the box that holds the solid, however its noise moves the surface.

    Args:
        solid: As for `compat_solid`.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        shape: Voxels of the volume along each axis.

    Returns:
        First voxel, and first voxel beyond; `None`: it is empty.
    """
    mean, _, highest = _surface(solid.roughness, solid.seed)
    largest = 1 + highest + float(np.linalg.norm(mean))
    inverse = np.linalg.inv(affine)
    centre = inverse[:3, :3] @ np.asarray(solid.centre) + inverse[:3, 3]
    axes = inverse[:3, :3] @ _rotation(solid.angles) * np.asarray(solid.radii)
    half = largest * np.linalg.norm(axes, axis=1)
    low = np.clip(np.floor(centre - half), 0, shape).astype(int)
    high = np.clip(np.ceil(centre + half) + 1, 0, shape).astype(int)
    return None if (high <= low).any() else (_index(low), _index(high))


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest part of a mask, if it has any."""
    labels = ndimage.label(mask)[0]
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = mask & (labels == sizes.argmax())
    return largest


def _inside(
    solid: Solid, affine: NDArray[np.float64], start: Index, stop: Index
) -> NDArray[np.bool_]:
    """Mark the inside in a box; the noise is read where it can decide."""
    shape = np.subtract(stop, start)
    voxels = np.indices(tuple(shape)).reshape(3, -1) + np.asarray(start)[:, None]
    frame = (_rotation(solid.angles) / np.asarray(solid.radii)).T
    offsets = affine[:3, :3] @ voxels + (affine[:3, 3] - np.asarray(solid.centre))[:, None]
    mean, lowest, highest = _surface(solid.roughness, solid.seed)
    places = frame @ offsets + mean[:, None]
    level = np.sqrt(np.einsum("ij,ij->j", places, places))
    inside: NDArray[np.bool_] = level <= 1 + lowest
    near = np.flatnonzero(~inside & (level <= 1 + highest))
    directions = (places[:, near] / np.maximum(level[near], 1e-9)).T
    inside[near] = level[near] <= 1 + _noise(solid.roughness, solid.seed, directions)
    return inside.reshape(shape)


def _noise(roughness: float, seed: int, directions: Floats) -> Floats:
    return roughness * simplex_noise((directions + seed) / NOISE_SCALE)


@lru_cache(maxsize=16)
def _surface(roughness: float, seed: int) -> tuple[Floats, float, float]:
    """Mean of the moved surface of the unit sphere, from which positions are measured, ``(3,)``.

    And how far it is moved at the least and at the most, which spares much noise.
    """
    directions = _spiral()
    moved = _noise(roughness, seed, directions)
    mean: Floats = (directions * (1 + moved)[:, None]).mean(axis=0)
    slack = SLACK * roughness
    return mean, float(moved.min()) - slack, float(moved.max()) + slack


@lru_cache(maxsize=1)
def _spiral() -> Floats:
    """Directions that cover the sphere evenly, along a spiral with the golden angle, ``(N, 3)``."""
    number = np.arange(SURFACE_POINTS)
    height = 1 - (2 * number + 1) / SURFACE_POINTS
    angle = number * math.pi * (3 - math.sqrt(5))
    width = np.sqrt(1 - height**2)
    return np.stack([width * np.cos(angle), width * np.sin(angle), height], axis=1)


def _rotation(angles: Point) -> Floats:
    """Turn about the z, then the y, then the x axis, ``(3, 3)``; volseg's own solids do x first."""
    return rotation((-angles[0], -angles[1], -angles[2])).T


def _index(values: NDArray[np.int_] | torch.Size) -> Index:
    return int(values[0]), int(values[1]), int(values[2])
