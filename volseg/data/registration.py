"""Rigid registration of two scans of one head, with a measure of how far it can be trusted.

Mattes mutual information (Mattes et al. 2003, https://doi.org/10.1109/TMI.2003.809072) is maximised
by SimpleITK, from several starts on a coarse grid, then by Powell's method on a fine one. Both
scans are first brought to upright grids of equal spacing in RAS millimetres by their affines, so
that flipped, oblique and thick-sliced ones are treated alike. Then the same is done in the other
direction. Two registrations that know nothing of each other agree if the scans determine the
answer; by how much they disagree is stated, and beyond a limit the answer is refused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from numpy.typing import NDArray
from scipy import ndimage

from volseg.data.scan import Matrix, Scan, resample, upright
from volseg.errors import DataError

COARSE, FINE = 4.0, 2.0
"""Spacing of the grids on which is registered, in mm."""

TURN = np.deg2rad(15.0)
"""Angle by which some starts are turned about each axis."""

FINALISTS = 2
"""Starts that are followed to the fine grid."""

MARGIN = 8.0
"""How far around the foreground voxels are compared, in mm: the border is what tells most."""

REACH = 60.0
"""Radius of the sphere on which two registrations are compared, in mm: that of a brain."""

SAMPLES = 30_000
"""Voxels about the head that are compared, chosen at random."""


@dataclass(frozen=True)
class Registration:
    """How one scan lies on another.

    Args:
        matrix: From the fixed scan to the moving one, RAS mm, ``(4, 4)``.
        disagreement: Largest distance between the two directions over the brain, in mm.
        overlap: Share of the smaller foreground that lies on the other one.
    """

    matrix: Matrix
    disagreement: float
    overlap: float

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "matrix": [[round(value, 6) for value in row] for row in self.matrix.tolist()],
            "disagreement_mm": round(self.disagreement, 3),
            "overlap": round(self.overlap, 3),
        }


@dataclass(frozen=True)
class Limits:
    """What a registration must satisfy to be believed.

    Args:
        disagreement: Of the two directions over the brain, in mm, at most.
        overlap: Share of the smaller foreground that lies on the other one, at least.
    """

    disagreement: float = 2.0
    overlap: float = 0.7


@dataclass(frozen=True)
class _Level:
    """Two scans on upright grids of one spacing."""

    fixed: Scan
    moving: Scan
    mask: NDArray[np.bool_]


def register(
    fixed: Scan,
    moving: Scan,
    ignored: NDArray[np.bool_] | None = None,
    limits: Limits = Limits(),
    seed: int = 1,
) -> Registration:
    """Find where each point of one scan lies in another scan of the same head.

    Args:
        fixed: Scan from whose points the transform starts.
        moving: Scan to whose points it leads; any contrast.
        ignored: Voxels of the fixed scan that have no counterpart, such as a cavity.
        limits: What the answer must satisfy.
        seed: Of the choice of voxels that are compared, from 1.

    Returns:
        The transform and how far it can be trusted.

    Raises:
        DataError: If the scans do not determine an answer.
    """
    there = _solve(fixed, moving, ignored, seed)
    back = _solve(moving, fixed, None, seed)
    level = _level(fixed, moving, None, COARSE)
    disagreement = distance(there, np.asarray(np.linalg.inv(back)), _centre(level.fixed))
    found = Registration(there, disagreement, _overlap(level, there))
    if found.disagreement > limits.disagreement or found.overlap < limits.overlap:
        raise DataError(
            f"the scans do not determine how they lie on each other: the two directions disagree"
            f" by {found.disagreement:.1f} mm (at most {limits.disagreement:g}) and the heads"
            f" overlap by {100 * found.overlap:.0f} % (at least {100 * limits.overlap:.0f}); check"
            " that both show the same head, or give a transform"
        )
    return found


def distance(one: Matrix, other: Matrix, centre: Sequence[float] | NDArray[np.float64]) -> float:
    """Measure by how much two transforms differ over a brain.

    Args:
        one: ``(4, 4)``, RAS mm.
        other: ``(4, 4)``, RAS mm.
        centre: Of the brain, RAS mm.

    Returns:
        Largest distance between the images of a point, over 26 directions at 60 mm from the
        centre, in mm.
    """
    directions = np.array([d for d in product((-1.0, 0.0, 1.0), repeat=3) if any(d)])
    points = np.asarray(centre) + REACH * directions / np.linalg.norm(
        directions, axis=1, keepdims=True
    )
    gap = np.asarray(one) - np.asarray(other)
    return float(np.linalg.norm(points @ gap[:3, :3].T + gap[:3, 3], axis=1).max())


def _solve(fixed: Scan, moving: Scan, ignored: NDArray[np.bool_] | None, seed: int) -> Matrix:
    """Register in one direction."""
    level = _level(fixed, moving, ignored, COARSE)
    starts = list(_starts(_centre(level.fixed), _centre(level.moving)))
    starts.sort(key=lambda start: _optimise(level, start, seed, is_fine=False))
    level = _level(fixed, moving, ignored, FINE)
    ends = [(_optimise(level, start, seed, is_fine=True), start) for start in starts[:FINALISTS]]
    value, best = min(ends, key=lambda end: end[0])
    if value == inf:
        raise DataError("the scans have no voxel in common that can be compared")
    return _matrix(best)


def _starts(fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> Iterator[Any]:
    """Place one centre on the other, unturned and turned; and leave everything where it is."""
    turns = [(0.0, 0.0, 0.0), *(tuple(s * TURN * row) for row in np.eye(3) for s in (1, -1))]
    places = [((moving - fixed).tolist(), turn) for turn in turns]
    for shift, turn in [([0.0, 0.0, 0.0], turns[0]), *places]:
        start: Any = sitk.Euler3DTransform()  # type: ignore[no-untyped-call] # half typed
        start.SetCenter(fixed.tolist())
        start.SetRotation(*turn)
        start.SetTranslation(shift)
        yield start


def _optimise(level: _Level, transform: Any, seed: int, *, is_fine: bool) -> float:
    """Move a transform to the nearest optimum; give the mutual information there, negated.

    Scans that have nothing in common from this start give infinity.
    """
    method: Any = sitk.ImageRegistrationMethod()  # type: ignore[no-untyped-call] # half typed
    method.SetNumberOfThreads(1)  # or else sums, and with them answers, differ from run to run
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / max(1, level.mask.sum())), seed)
    method.SetMetricFixedMask(_to_itk(level.mask.astype(np.uint8), level.fixed.affine))
    method.SetInterpolator(sitk.sitkLinear)
    if is_fine:
        method.SetOptimizerAsPowell(
            numberOfIterations=50, maximumLineIterations=20, stepLength=0.5, stepTolerance=0.005,
            valueTolerance=1e-6,
        )  # fmt: skip
        method.SetOptimizerScales([REACH] * 3 + [1.0] * 3)  # a radian moves the brain's rim so far
    else:
        method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.1, 60)
        method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    images = (_to_itk(each.values, each.affine) for each in (level.fixed, level.moving))
    try:
        method.Execute(*images)
    except RuntimeError:  # ITK's word for it
        return inf
    return float(method.GetMetricValue())


def _level(fixed: Scan, moving: Scan, ignored: NDArray[np.bool_] | None, spacing: float) -> _Level:
    still = upright(fixed, spacing)
    outside = ndimage.distance_transform_edt(~_foreground(still), sampling=spacing)
    mask = np.asarray(outside <= MARGIN)
    if ignored is not None:
        hidden = Scan(ignored.astype(np.float32), fixed.affine)
        mask &= resample(hidden, mask.shape, still.affine, np.eye(4)) < 0.01
    return _Level(still, upright(moving, spacing), mask)


def _foreground(scan: Scan) -> NDArray[np.bool_]:
    """Mark what is brighter than the mean, and what that encloses."""
    return np.asarray(ndimage.binary_fill_holes(scan.values > scan.values.mean()))


def _centre(scan: Scan) -> NDArray[np.float64]:
    """Find the middle of the foreground, RAS mm."""
    marked = np.argwhere(_foreground(scan))
    if not len(marked):
        raise DataError("a scan is constant; it cannot be registered")
    return np.asarray(scan.affine[:3, :3] @ marked.mean(axis=0) + scan.affine[:3, 3])


def _overlap(level: _Level, matrix: Matrix) -> float:
    """Measure how much of the smaller foreground lies on the other one."""
    ours = _foreground(level.fixed)
    theirs = Scan(_foreground(level.moving).astype(np.float32), level.moving.affine)
    theirs_here = resample(theirs, ours.shape, level.fixed.affine, matrix) > 0.5
    voxels = int(_foreground(level.moving).sum())
    return float((ours & theirs_here).sum() / max(1, min(ours.sum(), voxels)))


def _to_itk(values: NDArray[Any], affine: Matrix) -> Any:
    """Give a volume on an upright grid to ITK, whose space then is RAS."""
    image: Any = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    image.SetSpacing(np.diag(affine)[:3].tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _matrix(transform: Any) -> Matrix:
    """Write y = R (x - c) + c + t as a matrix."""
    matrix, centre = np.eye(4), np.asarray(transform.GetCenter())
    matrix[:3, :3] = np.asarray(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = centre + transform.GetTranslation() - matrix[:3, :3] @ centre
    return np.round(matrix, 9)  # the last digits of ITK's sums change from run to run
