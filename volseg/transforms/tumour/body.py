"""The maps of a part of the body: where a plain mass may grow.

They are those of a head in which everything that may hold a mass is white matter and nothing is
known but that, so that carving, mass effect and painting need no rules of their own.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.hull import hull_depth
from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.thresholds import otsu_thresholds

OPENING = 3.0
"""Skin, fascia and other thin things are left out of an estimated body, in mm."""


def anatomy_from_region(region: Tensor, affine: NDArray[np.float64]) -> Anatomy:
    """Make the maps of an organ or a compartment.

    Args:
        region: Where a mass may grow, ``(D, H, W)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        The maps, on the grid of the region.

    Raises:
        DataError: If the region is empty.
        GeometryError: If it is no volume.
    """
    if region.ndim != 3:
        raise GeometryError(f"region has the shape {tuple(region.shape)}; use (D, H, W)")
    inside = region.detach().cpu() > 0
    if not bool(inside.any()):
        raise DataError("the region in which a mass may grow is empty")
    affine = np.asarray(affine, dtype=np.float64)
    nothing = torch.zeros(tuple(region.shape), dtype=torch.uint8)
    tissue = torch.where(inside, int(Tissue.WHITE), int(Tissue.HEAD)).to(torch.uint8)
    depth = hull_depth(inside, np.linalg.norm(affine[:3, :3], axis=0)) * inside
    return Anatomy(tissue, nothing, nothing.clone(), depth.to(torch.uint8), affine)


AIR = 0.25
"""Air has at most so much of the brightness of the darkest tissue: muscle has far more of that of
fat on T1."""


def estimate_body(image: Tensor, affine: NDArray[np.float64]) -> Tensor:
    """Estimate where in a body soft tissue lies, of any MR contrast.

    What is brighter than air is the body; its skin is left out. Where the darkest of four classes
    of brightness is no air, as in a crop that lies within a limb, all of the image is body.

    Args:
        image: ``(D, H, W)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        Boolean mask, ``(D, H, W)``.
    """
    values = torch.nan_to_num(image.detach().cpu().float())
    bright = (values > air_threshold(values)).numpy()
    edges = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    inner = ndimage.distance_transform_edt(np.pad(bright, 1), sampling=edges) > OPENING
    labels, count = ndimage.label(inner[1:-1, 1:-1, 1:-1])
    if count == 0:
        return torch.from_numpy(bright)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return torch.from_numpy(labels == sizes.argmax())


def air_threshold(values: Tensor) -> float:
    """Find the intensity above which there is tissue.

    Args:
        values: Finite intensities of any shape.

    Returns:
        The threshold; below every value if there is no air.
    """
    low = float(values.min())
    zero = min(low, 0.0)  # MR is never below it, but for interpolation
    darker, brighter, _ = otsu_thresholds(values, 4).tolist()
    dark = values[values < darker]
    middle = values[(values >= darker) & (values < brighter)]
    if not len(middle) or float(dark.mean()) - zero > AIR * (float(middle.mean()) - zero):
        return low - 1.0
    return float(darker)
