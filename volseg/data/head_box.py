"""The box of a head within a scan or a label map."""

import numpy as np
from torch import Tensor

from volseg.transforms.standardize import tissue_threshold
from volseg.types import Spacing

MARGIN = 8.0
"""What is left around a head, in mm."""

SPARSE = 0.005
"""A plane of which less than this share is tissue lies outside the head."""


def head_box(volume: Tensor, spacing: Spacing, margin: float = MARGIN) -> tuple[slice, ...]:
    """Find the box of a head.

    Args:
        volume: A scan or a label map, ``(D, H, W)``.
        spacing: Voxel edge along each axis, in mm.
        margin: What is left around it, in mm.

    Returns:
        A slice along each axis.
    """
    is_scan = volume.is_floating_point()
    head = volume > (tissue_threshold(volume[::2, ::2, ::2]) if is_scan else 0)
    box = []
    for axis in range(3):
        others = tuple(each for each in range(3) if each != axis)
        share = head.float().mean(dim=others)
        inside = (share > (SPARSE if is_scan else 0)).nonzero().flatten()
        pad = int(np.ceil(margin / spacing[axis]))
        first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (0, len(share) - 1)
        box.append(slice(max(0, first - pad), min(len(share), last + 1 + pad)))
    return tuple(box)
