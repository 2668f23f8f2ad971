"""What is marked on both sides of a brain alike: wide fluid, and hardly ever a cavity.

Where the brain has shrunk, the fluid around it is wide on both sides, and to a network it looks as
a cavity does. Surgery is done on one side. So a voxel has a *twin* if its mirror image about the
plane between the sides is marked as well; the middle is left out, where a cavity that crosses it
is its own mirror image.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from volseg.transforms.anatomy.lobes import Plane

ALIKE = 0.4
"""Share of a connected part with twins from which on it is taken for fluid. Of 36 simulated
cavities none had more than 0.02; four parts that a network had marked in wide fluid had 0.47 to
0.66."""

MIDDLE_MM = 10.0
"""How far from the midline a twin counts: a ball of 23 mm around it does not reach `ALIKE`."""

REACH_MM = 6.0
"""What lies this near a mirror image belongs to it: no head is quite symmetric."""

ROUNDING = 1e-3
"""In mm."""


def find_twins(
    marked: NDArray[np.bool_], affine: NDArray[np.float64], midline: Plane, alike: float = ALIKE
) -> NDArray[np.bool_]:
    """Find what is marked on both sides alike.

    Args:
        marked: ``(X, Y, Z)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        midline: The plane between the sides.
        alike: Share of a part that must have twins; above 1, none is found.

    Returns:
        Of those connected parts that have a twin for so many of their voxels, what lies near a
        mirror image, ``(X, Y, Z)``.
    """
    found = np.zeros_like(marked)
    index = np.argwhere(marked)
    if not len(index) or alike > 1:
        return found
    points = index @ affine[:3, :3].T + affine[:3, 3]
    across = np.asarray((points - midline.point) @ midline.normal)
    images = points - 2 * across[:, None] * midline.normal
    has_twin = _is_marked(images, marked, affine) & (np.abs(across) > MIDDLE_MM)
    numbers, _ = ndimage.label(marked, np.ones((3, 3, 3)))
    part = numbers[tuple(index.T)] - 1
    is_alike = np.bincount(part, has_twin) >= alike * np.bincount(part)
    chosen = is_alike[part]
    if not chosen.any():
        return found
    away, _ = cKDTree(images).query(points[chosen], distance_upper_bound=2 * REACH_MM)
    near = index[chosen][away <= REACH_MM + ROUNDING]
    found[tuple(near.T)] = True
    return found


def _is_marked(
    points: NDArray[np.floating], marked: NDArray[np.bool_], affine: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Look up the voxel of each point."""
    inverse = np.linalg.inv(affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((index >= 0) & (index < marked.shape)).all(axis=1)
    found = np.zeros(len(points), dtype=bool)
    found[inside] = marked[tuple(index[inside].T)]
    return found
