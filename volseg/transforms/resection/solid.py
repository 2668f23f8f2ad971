"""The field of one solid: how late each voxel would be taken out.

The field is ``|q| / (1 + n(q / |q|))``, where q is the position in the ellipsoid's own frame, in
units of its semi-axes, and n smooth noise on the sphere; it is 1 at the ellipsoid's rough surface.
Finer noise in space, the price of each tissue and a corridor to the surface are added. What lies
below a level is the cavity, so that the level sets the volume. All of it is a function of RAS mm:
grids of any spacing and direction read the same field.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.resection.cavity import HalfSpace, Solid
from volseg.transforms.resection.noise import direction_noise, space_noise

Index = tuple[int, int, int]

COARSE = 0.35
"""Standard deviation of the radius at roughness 1, as a fraction of it."""

PEAK = 1.6
"""The noise of the radius is cut off here."""

FINE_WAVELENGTH = 7.0
"""Of the unevenness of the wall, in mm."""

FINE = 1.6
"""Standard deviation of the wall's unevenness at roughness 1, in mm."""

PLANE_UNEVENNESS = 2.0
"""Standard deviation of a cutting plane, in mm."""

REACH = 0.1
"""By so much the fine noise and what surgeons gain by fluid may lower the field."""

MOUTH = 15.0
"""A corridor goes on so far beyond the point where it meets the surface, in mm."""


def equivalent_radius(volume_ml: float) -> float:
    """Give the radius of the ball of a volume.

    Args:
        volume_ml: In mL.

    Returns:
        The radius in mm.
    """
    return float((3000 * volume_ml / (4 * math.pi)) ** (1 / 3))


def rotation(angles: tuple[float, float, float]) -> NDArray[np.float64]:
    """Make the matrix that turns about the x, then the y, then the z axis.

    Args:
        angles: In degrees.

    Returns:
        The rotation, ``(3, 3)``.
    """
    result = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[second, first] = math.sin(angle)
        turn[first, second] = -math.sin(angle)
        result = turn @ result
    return result


def enclose(
    solid: Solid, affine: NDArray[np.float64], shape: Index, level: float
) -> tuple[Index, Index] | None:
    """Find the box of the ellipsoid of a level and of the corridor.

    Args:
        solid: The solid.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        shape: Voxels of the volume along each axis.
        level: Of the ellipsoid; 1 is the solid's own.

    Returns:
        First voxel, and first voxel beyond, along each axis; `None` if the box is empty.
    """
    inverse = np.linalg.inv(affine[:3, :3])
    centre = inverse @ (np.asarray(solid.centre) - affine[:3, 3])
    axes = inverse @ rotation(solid.angles) * np.asarray(solid.radii)
    half = level * np.linalg.norm(axes, axis=1)
    low, high = centre - half, centre + half
    if solid.corridor > 0 and solid.entry is not None:
        entry = inverse @ (np.asarray(solid.entry) - affine[:3, 3])
        pad = level * solid.corridor * np.linalg.norm(inverse, axis=1)
        low, high = np.minimum(low, entry - pad), np.maximum(high, entry + pad)
    start = np.clip(np.floor(low), 0, shape).astype(int)
    stop = np.clip(np.ceil(high) + 1, 0, shape).astype(int)
    if (stop <= start).any():
        return None
    return _index(start), _index(stop)


def _index(values: NDArray[np.int_]) -> Index:
    return int(values[0]), int(values[1]), int(values[2])


def measure(solid: Solid, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Measure positions in the ellipsoid's own frame.

    Args:
        solid: The solid.
        offsets: Positions in RAS mm from the solid's centre, ``(3, N)``.

    Returns:
        Positions in semi-axes, ``(3, N)``, and their level, 1 on the ellipsoid, ``(N,)``.
    """
    places = as_float(_frame(solid), offsets.device) @ offsets
    return places, places.square().sum(dim=0).sqrt_()


def is_near(
    solid: Solid, affine: NDArray[np.float64], shape: Index, level: float, device: torch.device
) -> Tensor:
    """Mark the voxels of a box that lie within the ellipsoid of a level or in the corridor.

    Args:
        solid: The solid.
        affine: From voxel indices of the box to RAS mm, ``(4, 4)``.
        shape: Voxels of the box along each axis.
        level: Of the ellipsoid.
        device: Where the mask is wanted.

    Returns:
        Boolean mask, ``(d, h, w)``.
    """
    shift = affine[:3, 3] - np.asarray(solid.centre)
    frame = _frame(solid)
    mask = _square(frame @ affine[:3, :3], frame @ shift, shape, device) <= level**2
    if solid.corridor > 0 and solid.entry is not None:
        way = _way(solid)
        length = float(np.linalg.norm(way))
        across = np.eye(3) - np.outer(way, way) / max(length, 1e-3) ** 2
        reach = (1.5 * max(level, 1) * solid.corridor) ** 2
        mask |= _square(across @ affine[:3, :3], across @ shift, shape, device) <= reach
    return mask


def _square(
    linear: NDArray[np.float64], shift: NDArray[np.float64], shape: Index, device: torch.device
) -> Tensor:
    """Squared norm of an affine function of the voxel, ``(d, h, w)``: one sum of three planes."""
    product, start = linear.T @ linear, 2 * linear.T @ shift
    lines = [np.arange(count, dtype=np.float64) for count in shape]
    first, second, third = (
        product[axis, axis] * line**2 + start[axis] * line for axis, line in enumerate(lines)
    )
    planes = (
        (2 * product[0, 1] * np.outer(lines[0], lines[1]) + first[:, None])[:, :, None],
        (2 * product[0, 2] * np.outer(lines[0], lines[2]) + shift @ shift)[:, None, :],
        (2 * product[1, 2] * np.outer(lines[1], lines[2]) + second[:, None] + third)[None],
    )
    one, two, three = (as_float(plane, device) for plane in planes)
    return (one + two).add_(three)


def as_float(values: NDArray[np.floating[Any]], device: torch.device) -> Tensor:
    """Bring numbers to a device as float32.

    Args:
        values: Of any shape.
        device: Where to.

    Returns:
        The same numbers.
    """
    return torch.from_numpy(values.astype(np.float32)).to(device)


def _frame(solid: Solid) -> NDArray[np.float64]:
    """From RAS mm to semi-axes, ``(3, 3)``."""
    axes = rotation(solid.angles) / np.asarray(solid.radii, dtype=np.float64)
    return np.ascontiguousarray(axes.T)


def _way(solid: Solid) -> NDArray[np.float64]:
    """From the centre to the entry, in mm."""
    ends = np.array([solid.centre, solid.entry], dtype=np.float64)
    way: NDArray[np.float64] = ends[1] - ends[0]
    return way


def evaluate(
    solid: Solid, offsets: Tensor, places: Tensor, level: Tensor, distance: Tensor | None = None
) -> Tensor:
    """Evaluate a solid's field, without the price of the tissue and without the fine noise.

    Args:
        solid: The solid.
        offsets: Positions in RAS mm from the solid's centre, ``(3, N)``.
        places: The same in semi-axes, ``(3, N)``.
        level: Their distance to the centre in semi-axes, ``(N,)``.
        distance: Signed distance in mm to the outline that the solid follows, ``(N,)``, negative
            inside; `None`: it is an ellipsoid.

    Returns:
        The field, ``(N,)``; infinite beyond a cutting plane.
    """
    bumps = COARSE * solid.roughness * direction_noise(places, solid.seed).clamp_(-PEAK, PEAK)
    base = level
    if distance is not None:
        radius = equivalent_radius(solid.volume_ml)
        base = (1 + distance / radius + _depth(solid, offsets, radius)).clamp_(min=0.02)
    value = base / (1 + bumps)
    if solid.corridor > 0 and solid.entry is not None:
        value = torch.minimum(value, _corridor(solid, offsets))
    for plane in solid.planes:
        fine = space_noise(offsets, FINE_WAVELENGTH, solid.seed + 2)
        beyond = _beyond(solid, plane, offsets) + PLANE_UNEVENNESS * fine
        value = value.masked_fill_(beyond > 0, math.inf)
    return value


def roughen(solid: Solid, offsets: Tensor, value: Tensor, level: float) -> Tensor:
    """Add the fine noise where it matters, near the wall.

    Args:
        solid: The solid.
        offsets: Positions in RAS mm from the solid's centre, ``(3, N)``.
        value: The field, ``(N,)``.
        level: Of the wall.

    Returns:
        The field with its fine noise, ``(N,)``.
    """
    height = FINE * solid.roughness / equivalent_radius(solid.volume_ml)
    near = ((value - level).abs() < 5 * height).nonzero().flatten()
    fine = space_noise(offsets.index_select(1, near), FINE_WAVELENGTH, solid.seed + 1)
    return value.index_add(0, near, fine, alpha=height)


def level_holding(solid: Solid, wall: float) -> float:
    """Give the level of the ellipsoid outside of which the field is above the wall's.

    Args:
        solid: The solid.
        wall: Value of the field at the wall of the cavity.

    Returns:
        Level of the ellipsoid; the fine noise and what surgeons gain by fluid are allowed for.
    """
    return (wall + REACH) * (1 + PEAK * COARSE * solid.roughness)


def level_within(solid: Solid, level: float) -> float:
    """Give the value of the field above which nothing within an ellipsoid can be the cavity's.

    It is so if `level_holding` of the wall is at most the ellipsoid's level.

    Args:
        solid: The solid.
        level: Of the ellipsoid.

    Returns:
        Value of the field before prices and fine noise are added.
    """
    return level / (1 + PEAK * COARSE * solid.roughness)


def _depth(solid: Solid, offsets: Tensor, radius: float) -> Tensor | float:
    """Surgery comes from the entry: what lies away from it is more often left behind."""
    if solid.entry is None:
        return 0.0
    slope = 0.1 if solid.tissue == int(Tissue.LESION) else 0.3
    way = _way(solid)
    way = way / max(float(np.linalg.norm(way)), 1e-6)
    return -slope / radius * (as_float(way, offsets.device) @ offsets)


def _corridor(solid: Solid, offsets: Tensor) -> Tensor:
    """A cone that widens towards the entry; its core counts no less than the solid's."""
    way = _way(solid)
    length = max(float(np.linalg.norm(way)), 1e-3)
    along = as_float(way / length, offsets.device) @ offsets
    across = (offsets.square().sum(0) - along.square()).clamp_(min=0).sqrt_()
    width = solid.corridor * (0.7 + 0.5 * along / length).clamp_(0.3, 1.5)
    level = 0.25 + 0.75 * across / width
    return level.masked_fill_((along < 0) | (along > length + MOUTH), math.inf)


def _beyond(solid: Solid, plane: HalfSpace, offsets: Tensor) -> Tensor:
    """Signed distance past a cutting plane, in mm."""
    normal = np.asarray(plane.normal)
    shift = float(normal @ (np.asarray(solid.centre) - np.asarray(plane.point)))
    return as_float(normal, offsets.device) @ offsets + shift
