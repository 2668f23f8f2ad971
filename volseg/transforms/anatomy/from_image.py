"""The maps of a head from an image with a brain mask, or from an image alone.

What these maps know is little beside a label map's: where the brain, its hull and its halves are,
about where the lobes are, and which of three classes of brightness a voxel belongs to.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.classes import regions, tissue_of_image
from volseg.transforms.anatomy.estimate import estimate_brain
from volseg.transforms.anatomy.hull import (
    Box,
    coarse_factors,
    find_box,
    hull_depth,
    shrink,
    size_of,
    spread,
)
from volseg.transforms.anatomy.lobes import frame_of_brain, lobe_of, places_on_grid, side_of
from volseg.transforms.anatomy.maps import Anatomy, Lobe, Tissue
from volseg.transforms.anatomy.plane import find_symmetry_plane

SKULL_REACH = 16.0
"""Bone is looked for up to this far outside the hull, in mm."""

COARSEST_SMOOTHED = 1.5
"""Noise is smoothed along axes with edges below this, in mm; coarser ones would lose the cortex."""

LEAST_HEAD = 0.1
"""What is bright outside the brain is a head if it has this share of the brain's volume."""


def anatomy_from_image(image: Tensor, affine: NDArray[np.float64]) -> Anatomy:
    """Make the maps of a head from an MR scan alone; its brain is estimated.

    Args:
        image: Of any MR contrast, ``(D, H, W)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        The maps, on the grid of the image.
    """
    return anatomy_from_brain(image, estimate_brain(image, affine), affine)


def anatomy_from_brain(image: Tensor, brain: Tensor, affine: NDArray[np.float64]) -> Anatomy:
    """Make the maps of a head from an image of any contrast and a mask of its brain.

    Args:
        image: ``(D, H, W)``; voxels that are not finite count as 0.
        brain: ``(D, H, W)``, bool.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        The maps, on the grid of the image.

    Raises:
        DataError: If the mask is empty.
        GeometryError: If image and mask have different shapes.
    """
    if image.shape != brain.shape or image.ndim != 3:
        raise GeometryError(
            f"image and brain mask have the shapes {tuple(image.shape)} and {tuple(brain.shape)};"
            " use one shape (D, H, W)"
        )
    brain = brain.detach().cpu().bool()
    box = find_box(brain)
    if box is None:
        raise DataError("the brain mask is empty")
    affine = np.asarray(affine, dtype=np.float64)
    values = torch.nan_to_num(image.detach().cpu().float(), nan=0.0, posinf=0.0, neginf=0.0)
    none = torch.zeros(tuple(image.shape), dtype=torch.uint8)
    whole = Anatomy(_outside(values, brain, affine), none, none.clone(), none.clone(), affine)
    _fill_brain(whole, values[box.window], brain[box.window], box)
    return whole


def _fill_brain(whole: Anatomy, image: Tensor, brain: Tensor, box: Box) -> None:
    """Write the maps of the brain's box into those of the whole."""
    affine = whole.crop(*box).affine
    size = size_of(brain)
    depth = hull_depth(brain, whole.spacing)
    plane = find_symmetry_plane(image, brain, affine)
    frame = frame_of_brain(brain, affine, plane)
    places = places_on_grid(frame, affine, size)
    factors = coarse_factors(whole.spacing)
    inside = depth > 0
    none = torch.zeros_like(depth)
    lobe = torch.where(inside, spread(lobe_of(*places), factors, size), none)
    region = spread(regions(places), factors, size)
    tissue = tissue_of_image(_smooth(image, whole.spacing), depth, lobe, region, brain)
    lobe[tissue == int(Tissue.LIMBIC)] = int(Lobe.TEMPORAL)
    whole.side[box.window] = torch.where(inside, side_of(frame.coordinate(0, affine, size)), none)
    whole.lobe[box.window] = lobe
    whole.depth[box.window] = depth
    whole.tissue[box.window] = torch.where(inside, tissue, whole.tissue[box.window])


def _smooth(image: Tensor, spacing: NDArray[np.float64]) -> Tensor:
    """Average over three voxels along the axes that are fine enough for it."""
    sizes = [3 if float(edge) < COARSEST_SMOOTHED else 1 for edge in spacing]
    padding = [each // 2 for each in sizes]
    smooth = functional.avg_pool3d(
        image[None], sizes, stride=1, padding=padding, count_include_pad=False
    )
    return smooth[0]


def _outside(image: Tensor, brain: Tensor, affine: NDArray[np.float64]) -> Tensor:
    """Tell air, skull and the rest of the head apart, ``(D, H, W)``, uint8."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = coarse_factors(spacing)
    coarse = shrink(image, factors).numpy()
    mask = shrink(brain, factors).numpy() >= 0.5
    low, high = np.quantile(coarse[:: 1 + coarse.shape[0] // 64], [0.02, 0.98])
    threshold = float(low + 0.1 * (high - low))
    bright = coarse > threshold
    outer = bright & ~mask
    if float(outer.sum()) < LEAST_HEAD * float(mask.sum()):
        return torch.full(tuple(image.shape), int(Tissue.AIR), dtype=torch.uint8)
    edges = spacing * np.asarray(factors)
    head = _fill_head(bright | mask, edges)
    near = ndimage.distance_transform_edt(~mask, sampling=edges) <= SKULL_REACH
    kinds = np.where(head, np.where(near & ~bright, int(Tissue.SKULL), int(Tissue.HEAD)), 0)
    fine = torch.from_numpy(kinds.astype(np.uint8))
    return spread(fine, factors, size_of(image))


def _fill_head(bright: NDArray[np.bool_], edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Fill the dark parts of a head, slice by slice along every axis."""
    parts, count = ndimage.label(bright)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    head: NDArray[np.bool_] = parts == int(sizes.argmax())
    thinnest = int(np.argmax(edges))
    for index in range(head.shape[thinnest]):
        window: list[slice | int] = [slice(None)] * 3
        window[thinnest] = index
        head[tuple(window)] = ndimage.binary_fill_holes(head[tuple(window)])
    return head
