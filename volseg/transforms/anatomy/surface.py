"""A closed surface that swells in a head until it meets the dark skull.

After Smith, Fast robust automated brain extraction, Human Brain Mapping 2002
(https://doi.org/10.1002/hbm.10062): a tessellated sphere grows; each vertex is drawn towards its
neighbours, more so where the surface is sharply bent, and pushed outwards while what lies beneath
it is brighter than a fraction of the brightest nearby. We depart from it in that the surface is
refined once, that no vertex may leave its bounds, and in that it is rasterised by the nearest
vertex's normal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

Floats = NDArray[np.float64]

SMALLEST_BEND = 3.33
LARGEST_BEND = 10.0
"""Radii of curvature in mm between which smoothing sets in (Smith 2002, eq. 9)."""

DEEP_REACH = 20.0
SHALLOW_REACH = 10.0
"""How far below a vertex the darkest and the brightest are looked for, in mm (eq. 10 and 11)."""

LARGEST_OVERHANG = 8.0
"""No vertex leaves the image by more, in mm; beyond its ends the image goes on as it ends."""

ITERATIONS = (250, 80)
"""Steps before and after the surface is refined."""


@dataclass(frozen=True)
class Brightness:
    """Thresholds of a head scan.

    Args:
        low: Below nearly all of the head.
        high: Above nearly all of the head.
        middle: Median of the brain's inner part.
        fraction: Of the way from ``low`` to the local maximum below which a voxel is no brain.
    """

    low: float
    high: float
    middle: float
    fraction: float = 0.5

    @property
    def floor(self) -> float:
        """What counts as dark however dark its surroundings."""
        return self.low + 0.1 * (self.high - self.low)


@dataclass(frozen=True)
class Surface:
    """A closed triangulated surface.

    Args:
        vertices: ``(N, 3)``, mm.
        triangles: Indices of vertices, outside to the right-handed side, ``(M, 3)``.
    """

    vertices: Floats
    triangles: NDArray[np.int64]

    def normals(self) -> Floats:
        """Give the outward unit normal of each vertex, ``(N, 3)``."""
        first, second, third = (self.vertices[self.triangles[:, each]] for each in range(3))
        faces = np.cross(second - first, third - first)
        sums = np.stack(
            [
                np.bincount(
                    self.triangles.ravel(), np.repeat(faces[:, axis], 3), len(self.vertices)
                )
                for axis in range(3)
            ],
            axis=1,
        )
        unit: Floats = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        return unit

    def volume_ml(self) -> float:
        """Give the volume within, in mL."""
        corners = (self.vertices - self.vertices.mean(axis=0))[self.triangles]
        return abs(float(np.linalg.det(corners).sum())) / 6000

    def distances(self, points: Floats) -> Floats:
        """Give about how far points lie below the surface, positive within.

        Args:
            points: ``(P, 3)``, mm.

        Returns:
            ``(P,)``, mm.
        """
        _, nearest = cKDTree(self.vertices).query(points, k=3)
        gaps = points[:, None] - self.vertices[nearest]
        heights: Floats = -(gaps * self.normals()[nearest]).sum(axis=2).mean(axis=1)
        return heights


def sphere(count: int) -> Surface:
    """Spread vertices evenly over the unit sphere, on a golden spiral.

    Args:
        count: Number of vertices.

    Returns:
        The sphere.
    """
    steps = np.arange(count) + 0.5
    z = 1 - 2 * steps / count
    turn = np.pi * (1 + 5**0.5) * steps
    ring = np.sqrt(1 - z**2)
    vertices = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
    triangles = ConvexHull(vertices).simplices.astype(np.int64)
    corners = vertices[triangles]
    is_inward = np.linalg.det(corners) < 0
    triangles[is_inward] = triangles[is_inward][:, ::-1]
    return Surface(vertices, triangles)


def swell(
    image: NDArray[np.float32], spacing: float, start: Surface, brightness: Brightness
) -> Surface:
    """Let a surface grow in an image until it rests on the skull.

    Args:
        image: Isotropic, ``(D, H, W)``.
        spacing: Voxel edge, in mm; the surface is in mm from the centre of the first voxel.
        start: A surface well within the brain.
        brightness: Thresholds of the image.

    Returns:
        The surface at rest.
    """
    surface = _relax(image, spacing, start, brightness, ITERATIONS[0])
    centre = surface.vertices.mean(axis=0)
    fine = sphere(4 * len(surface.vertices))
    directions = surface.vertices - centre
    radii = np.linalg.norm(directions, axis=1)
    far, nearest = cKDTree(directions / radii[:, None]).query(fine.vertices, k=3)
    weights = 1 / (far + 1e-3)
    radius = (radii[nearest] * weights).sum(axis=1) / weights.sum(axis=1)
    refined = Surface(centre + radius[:, None] * fine.vertices, fine.triangles)
    return _relax(image, spacing, refined, brightness, ITERATIONS[1])


def _relax(
    image: NDArray[np.float32],
    spacing: float,
    surface: Surface,
    brightness: Brightness,
    iterations: int,
) -> Surface:
    neighbours, counts = _neighbours(surface)
    vertices = surface.vertices.copy()
    bend = (1 / SMALLEST_BEND + 1 / LARGEST_BEND) / 2
    slope = 6 / (1 / SMALLEST_BEND - 1 / LARGEST_BEND)
    lowest = np.full(3, -LARGEST_OVERHANG)
    highest = np.array(image.shape) * spacing + LARGEST_OVERHANG
    for _ in range(iterations):
        normals = Surface(vertices, surface.triangles).normals()
        around = vertices[neighbours] - vertices[:, None]
        pull = around.sum(axis=1) / counts[:, None]
        edge = float(np.linalg.norm(around[:, 0], axis=1).mean())
        along = (pull * normals).sum(axis=1)
        bent = 2 * np.abs(along) / edge**2
        smoothing = (1 + np.tanh(slope * (bent - bend))) / 2
        push = _push(image, spacing, vertices, normals, brightness)
        outward = along[:, None] * normals
        vertices = (
            vertices
            + 0.5 * (pull - outward)
            + smoothing[:, None] * outward
            + 0.05 * edge * push[:, None] * normals
        )
        np.clip(vertices, lowest, highest, out=vertices)
    return Surface(vertices, surface.triangles)


def _push(
    image: NDArray[np.float32],
    spacing: float,
    vertices: Floats,
    normals: Floats,
    brightness: Brightness,
) -> Floats:
    """Say how hard each vertex is pushed outwards (Smith 2002, eq. 10 to 13)."""
    reach = np.arange(0, DEEP_REACH + 1e-6, spacing)
    places = vertices[:, None] - reach[:, None] * normals[:, None]
    index = np.rint(places / spacing).astype(np.int64)
    np.clip(index, 0, np.array(image.shape) - 1, out=index)
    values = image[index[..., 0], index[..., 1], index[..., 2]]
    darkest = np.clip(values.min(axis=1), brightness.low, brightness.middle)
    shallow = values[:, : int(SHALLOW_REACH / spacing) + 1].max(axis=1)
    brightest = np.clip(shallow, brightness.floor, brightness.middle)
    span = brightest - brightness.low
    limit = span * brightness.fraction + brightness.low
    push: Floats = 2 * (darkest - limit) / np.maximum(span, 1e-9)
    return push


def _neighbours(surface: Surface) -> tuple[NDArray[np.int64], Floats]:
    """Give the neighbours of each vertex, filled up with itself, and how many there are."""
    edges = np.concatenate([surface.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    counts = np.bincount(edges[:, 0], minlength=len(surface.vertices))
    table = np.repeat(np.arange(len(counts))[:, None], counts.max(), axis=1)
    place = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[edges[:, 0], place] = edges[:, 1]
    return table, counts.astype(np.float64)


def fill(surface: Surface, shape: tuple[int, int, int], spacing: float) -> NDArray[np.float32]:
    """Give about how far each voxel of an isotropic grid lies below a surface.

    Args:
        surface: In mm from the centre of the first voxel.
        shape: Voxels along each axis.
        spacing: Voxel edge, in mm.

    Returns:
        ``(D, H, W)``, mm, positive within; far outside it is -10.
    """
    result = np.full(shape, -10.0, dtype=np.float32)
    low = np.floor(surface.vertices.min(axis=0) / spacing).astype(int) - 1
    high = np.ceil(surface.vertices.max(axis=0) / spacing).astype(int) + 2
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    axes = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    heights = surface.distances(index.reshape(-1, 3) * spacing).reshape(index.shape[:3])
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inside = ndimage.binary_fill_holes(heights > 0)
    result[window] = np.where(inside, np.maximum(heights, 0.1), heights)
    return result
