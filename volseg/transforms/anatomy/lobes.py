"""Where in a brain a voxel lies: its side of the symmetry plane, and its lobe.

Both are told in a standard frame: mm of a brain of average size, x to the right from the symmetry
plane, y to the front and z up, with the anterior commissure near the origin, as in MNI space. The
borders of the lobes are planes in that frame. They are rules of thumb: right for where a resection
is placed, wrong by a gyrus here and there. A label map that names gyri overrules them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.transforms.anatomy.hull import coarse_affine, coarse_factors, spread
from volseg.transforms.anatomy.maps import Lobe, Side, Tissue

_CEREBRUM = (Tissue.CORTEX, Tissue.WHITE)
_CEREBELLUM = (Tissue.CEREBELLUM_CORTEX, Tissue.CEREBELLUM_WHITE)

LANDMARKS: tuple[tuple[tuple[Tissue, ...], tuple[float, float, float]], ...] = (
    (_CEREBRUM, (32.0, -20.0, 17.5)),
    ((Tissue.DEEP,), (17.8, -7.0, 2.7)),
    ((Tissue.LIMBIC,), (27.0, -16.5, -14.5)),
    (_CEREBELLUM, (23.6, -62.0, -35.8)),
)
"""Tissues, and about where the centre of their right half lies in the standard frame, in mm."""

STEM = (0.0, -31.0, -30.0)
"""About where the centre of the brainstem lies in the standard frame, in mm."""

BRAIN_BOX = ((-70.0, -104.0, -46.0), (70.0, 72.0, 80.0))
"""The box of an average brain in the standard frame, the foot of the brainstem left out, in mm."""

FEWEST_LANDMARKS = 6
FEWEST_POINTS = 10


@dataclass(frozen=True)
class Plane:
    """A plane that halves a head.

    Args:
        point: A point of it, RAS mm.
        normal: Unit vector across it, to the patient's right, RAS.
    """

    point: NDArray[np.float64]
    normal: NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """The way to the standard frame.

    Args:
        matrix: From RAS mm to standard mm, ``(4, 4)``.
    """

    matrix: NDArray[np.float64]

    def coordinate(
        self, axis: int, affine: NDArray[np.float64], size: tuple[int, int, int]
    ) -> Tensor:
        """Give one standard coordinate of every voxel of a grid.

        Args:
            axis: 0 for x, 1 for y, 2 for z.
            affine: From voxel indices to RAS mm, ``(4, 4)``.
            size: Voxels along each axis.

        Returns:
            In mm, ``(D, H, W)``, float32.
        """
        row = (self.matrix @ affine)[axis]
        first, second, third = (
            torch.arange(count, dtype=torch.float32) * float(step)
            for count, step in zip(size, row[:3], strict=True)
        )
        return (first + float(row[3]))[:, None, None] + (second[:, None] + third)[None]


def frame_of_tissues(
    tissue: Tensor, side: Tensor, affine: NDArray[np.float64], brain: Tensor
) -> Frame:
    """Find the standard frame of a labelled brain by least squares over its landmarks.

    Args:
        tissue: `Tissue` of each voxel, ``(D, H, W)``.
        side: `Side` of each voxel as far as it is known, ``(D, H, W)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        brain: Mask of the brain, ``(D, H, W)``, used if landmarks are missing.

    Returns:
        The frame.
    """
    here, there = _landmarks(tissue, side, affine)
    if len(here) < FEWEST_LANDMARKS:
        return frame_of_brain(brain, affine)
    return Frame(_fit(np.asarray(here), np.asarray(there)))


def frame_of_brain(brain: Tensor, affine: NDArray[np.float64], plane: Plane | None = None) -> Frame:
    """Find the standard frame of a brain from its own box; how far it nods is not told.

    Args:
        brain: Mask, ``(D, H, W)``, bool.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        plane: The symmetry plane; `None`: across RAS x, through the middle of the box.

    Returns:
        The frame.
    """
    right = np.array([1.0, 0, 0]) if plane is None else plane.normal
    front = np.array([0.0, 1, 0]) - right[1] * right
    front /= np.linalg.norm(front)
    turn = np.stack([right, front, np.cross(right, front)])
    points = sample_points(brain, affine) @ turn.T
    low, high = np.quantile(points, [0.002, 0.998], axis=0)
    standard_low, standard_high = (np.array(corner) for corner in BRAIN_BOX)
    scale = (standard_high - standard_low) / np.maximum(high - low, 1.0)
    # How much of the neck a mask holds is chance: height is scaled as length, from the vertex down.
    scale[2] = scale[1]
    matrix = np.eye(4)
    matrix[:3, :3] = scale[:, None] * turn
    across = (low[0] + high[0]) / 2 if plane is None else float(plane.point @ right)
    middle = np.array([across, high[1], high[2]])
    matrix[:3, 3] = np.array([0.0, standard_high[1], standard_high[2]]) - scale * middle
    return Frame(matrix)


def sample_points(mask: Tensor, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the places of some of the marked voxels, evenly spread.

    Args:
        mask: ``(D, H, W)``, bool.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        RAS mm, ``(N, 3)``.
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    steps = [max(1, round(3.0 / float(edge))) for edge in edges]
    thinned = mask[:: steps[0], :: steps[1], :: steps[2]]
    index = thinned.nonzero().numpy() * np.asarray(steps)
    places: NDArray[np.float64] = index @ affine[:3, :3].T + affine[:3, 3]
    return places


def side_of(x: Tensor) -> Tensor:
    """Tell the side from the distance to the symmetry plane.

    Args:
        x: Standard coordinate, to the right, in mm.

    Returns:
        `Side`, uint8.
    """
    return (x > 0).to(torch.uint8) + int(Side.LEFT)


def lobe_of(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Tell the lobe from a place in the standard frame.

    * Infratentorial: below a tent that falls from the midline to the sides and the back, and the
      brainstem in front of it.
    * Temporal: below the Sylvian fissure, a plane that rises to the back, lateral of the midbrain,
      in front of the preoccipital notch.
    * Occipital: behind the line from the notch to the parieto-occipital fissure.
    * Frontal and parietal: in front of and behind the central sulcus, which leans back.

    Args:
        x: To the right, in mm.
        y: To the front, in mm.
        z: Up, in mm.

    Returns:
        `Lobe`, uint8, of the same shape.
    """
    away = x.abs()
    lobe = torch.full(x.shape, int(Lobe.FRONTAL), dtype=torch.uint8)
    lobe[y < -10 - 0.32 * z.clamp(min=0)] = int(Lobe.PARIETAL)
    lobe[(y < -62 - 0.28 * z) | (y < -84)] = int(Lobe.OCCIPITAL)
    is_below = z < -0.56 * y
    is_lateral = away > 14 + 0.5 * (y.clamp(min=0) + (z + 12).clamp(min=0))
    is_before_notch = y > -58 + 0.3 * (z + 10).clamp(min=0)
    lobe[is_below & is_lateral & is_before_notch & (y < 24)] = int(Lobe.TEMPORAL)
    tent = -4 - 0.4 * away - 0.35 * (-45 - y).clamp(min=0)
    is_behind = y < -38 - 0.1 * away
    is_stem = (away < 18) & (y < -8) & (z < -10)
    lobe[(is_behind & (z < tent)) | is_stem] = int(Lobe.INFRATENTORIAL)
    return lobe


def places_on_grid(
    frame: Frame, affine: NDArray[np.float64], size: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the standard coordinates of a grid's coarse voxels of about 2 mm.

    Args:
        frame: The brain's standard frame.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        size: Voxels along each axis.

    Returns:
        x, y and z in mm, ``(d, h, w)`` each.
    """
    factors = coarse_factors(np.linalg.norm(affine[:3, :3], axis=0))
    first, second, third = (-(-count // each) for count, each in zip(size, factors, strict=True))
    coarse = coarse_affine(affine, factors)
    x, y, z = (frame.coordinate(axis, coarse, (first, second, third)) for axis in range(3))
    return x, y, z


def lobes_on_grid(frame: Frame, affine: NDArray[np.float64], size: tuple[int, int, int]) -> Tensor:
    """Tell the lobe of each voxel of a grid from its place, on voxels of about 2 mm.

    Args:
        frame: The brain's standard frame.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        size: Voxels along each axis.

    Returns:
        `Lobe`, ``(D, H, W)``, uint8.
    """
    factors = coarse_factors(np.linalg.norm(affine[:3, :3], axis=0))
    return spread(lobe_of(*places_on_grid(frame, affine, size)), factors, size)


def _landmarks(
    tissue: Tensor, side: Tensor, affine: NDArray[np.float64]
) -> tuple[list[NDArray[np.float64]], list[tuple[float, float, float]]]:
    steps = coarse_factors(np.linalg.norm(affine[:3, :3], axis=0))
    thin = tuple(slice(None, None, step) for step in steps)
    tissue, side = tissue[thin], side[thin]
    places = affine.copy()
    places[:3, :3] = affine[:3, :3] * np.asarray(steps)
    here, there = [], []
    for tissues, (x, y, z) in LANDMARKS:
        kind = torch.stack([tissue == int(each) for each in tissues]).any(dim=0)
        for which, sign in ((Side.LEFT, -1), (Side.RIGHT, 1)):
            points = sample_points(kind & (side == int(which)), places)
            if len(points) >= FEWEST_POINTS:
                here.append(points.mean(axis=0))
                there.append((sign * x, y, z))
    points = sample_points(tissue == int(Tissue.BRAINSTEM), places)
    if len(points) >= FEWEST_POINTS:
        here.append(points.mean(axis=0))
        there.append(STEM)
    return here, there


def _fit(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit a rotation, a shift and one scale by least squares (Umeyama 1991)."""
    source, target = here - here.mean(axis=0), there - there.mean(axis=0)
    left, values, right = np.linalg.svd(target.T @ source)
    sign = np.sign(np.linalg.det(left @ right))
    rotation = left @ np.diag([1, 1, sign]) @ right
    scale = (values * [1, 1, sign]).sum() / (source**2).sum()
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    matrix[:3, 3] = there.mean(axis=0) - matrix[:3, :3] @ here.mean(axis=0)
    return matrix
