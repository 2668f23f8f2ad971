"""The plane about which a head is most nearly symmetric.

The image is mirrored about a plane and compared with itself at points of the brain; the plane about
which most points look like those on the other side is taken. By how much the others differ does not
count (the error function is that of Welsch, Holland and Welsch 1977,
https://doi.org/10.1080/03610927708827533): what a tumour has changed on one side turns the plane of
the highest correlation by up to 30 degrees, and leaves this one. The search starts at the middle of
the brain, across RAS x, since an affine tells left from right even where it does not tell how the
head is turned.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from torch import Tensor

from volseg.transforms.anatomy.hull import coarse_factors, shrink
from volseg.transforms.anatomy.lobes import Plane, sample_points

LARGEST_TURN = 30.0
"""A head is not turned or tilted further than this against RAS, in degrees."""

RESTRAINT = np.array([120.0, 120.0, 40.0])
"""A turn or a tilt by so many degrees, or a shift by so many mm, has to gain a likeness of 1."""

POINTS = 6000


def find_symmetry_plane(image: Tensor, brain: Tensor, affine: NDArray[np.float64]) -> Plane:
    """Find the plane about which an image of a brain is most nearly symmetric.

    Args:
        image: ``(D, H, W)``.
        brain: Mask of the brain, ``(D, H, W)``, bool.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        The plane.
    """
    points = sample_points(brain, affine)
    points = points[:: max(1, len(points) // POINTS)]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    factors = coarse_factors(np.linalg.norm(affine[:3, :3], axis=0))
    smooth = ndimage.gaussian_filter(shrink(image, factors).numpy(), 1.0)
    to_voxels = np.linalg.inv(affine)
    shift, scale = (np.asarray(factors) - 1) / 2, np.asarray(factors)

    def look(places: NDArray[np.float64]) -> NDArray[np.float64]:
        voxels = (places @ to_voxels[:3, :3].T + to_voxels[:3, 3] - shift) / scale
        values: NDArray[np.float64] = ndimage.map_coordinates(
            smooth, voxels.T, order=1, mode="nearest"
        )
        return values

    here = look(points)

    def loss(drawn: NDArray[np.float64]) -> float:
        normal = _normal(drawn)
        across = (points - middle) @ normal - drawn[2]
        there = look(points - 2 * across[:, None] * normal)
        return -_likeness(here, there) + float(((drawn / RESTRAINT) ** 2).sum())

    starts = [np.array([yaw, roll, 0.0]) for yaw in (-12, 0, 12) for roll in (-12, 0, 12)]
    start = min(starts, key=loss)
    simplex = np.vstack([start, start + np.diag([4.0, 4.0, 4.0])])
    found = optimize.minimize(
        loss,
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 0.1, "fatol": 1e-4, "maxfev": 120},
    )
    normal = _normal(found.x)
    return Plane(middle + found.x[2] * normal, normal)


def _normal(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    yaw, roll = np.radians(np.clip(drawn[:2], -LARGEST_TURN, LARGEST_TURN))
    normal = np.array([1.0, np.tan(yaw), np.tan(roll)])
    unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
    return unit


def _likeness(here: NDArray[np.float64], there: NDArray[np.float64]) -> float:
    """Tell what share of two sets of values are alike, 0 to 1, measured by the first's spread."""
    spread = float(here.std())
    if spread == 0:
        return float((here == there).mean())
    return float(np.exp(-(((here - there) / spread) ** 2)).mean())
