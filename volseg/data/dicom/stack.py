"""Planes in space become a stack with an affine, or are refused by name.

Only where the planes lie counts: file names and instance numbers say what somebody thought.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.data.dicom.planes import Plane
from volseg.data.headers import GRID_TOLERANCE, Affine
from volseg.errors import DataError

TURN_TOLERANCE = 1e-4
"""How far directions may differ within a stack; over 512 pixels of 1 mm this moves 0.05 mm."""

SAME_PLACE = 0.001
"""Planes closer than this, in mm, lie at one place; micro-CT has slices of 0.005 mm."""

GAP = 1.5
"""From this multiple of the median distance on, a slice is missing."""

ROUNDING = 0.01
"""How far a plane may lie off an even grid, in voxels, without a word; beyond, a warning is given,
and beyond `GRID_TOLERANCE` the stack is refused."""


@dataclass(frozen=True)
class Stack:
    """Planes in order.

    Args:
        planes: Along the normal, which is rows x columns.
        affine: From column, row and slice to RAS mm, ``(4, 4)``.
        warnings: What is unusual.
    """

    planes: tuple[Plane, ...]
    affine: Affine
    warnings: tuple[str, ...]


def is_parallel(plane: Plane, other: Plane) -> bool:
    """Tell whether two planes may be of one stack.

    Args:
        plane: One.
        other: The other.

    Returns:
        Whether they agree in size, spacing and directions.
    """
    return (
        plane.size == other.size
        and np.allclose(plane.spacing, other.spacing, rtol=TURN_TOLERANCE, atol=0)
        and np.allclose(plane.rows, other.rows, rtol=0, atol=TURN_TOLERANCE)
        and np.allclose(plane.columns, other.columns, rtol=0, atol=TURN_TOLERANCE)
    )


def stack_planes(planes: Sequence[Plane]) -> Stack:
    """Put planes in order and find the affine on which they lie.

    The slices of a tilted gantry are shifted evenly against each other; the affine says so.

    Args:
        planes: In any order, at least one.

    Returns:
        The stack.

    Raises:
        DataError: If planes differ in size, spacing or direction, lie at one place, leave a gap,
            or lie more than a tenth of a voxel off an even grid.
    """
    first = planes[0]
    for plane in planes:
        if not is_parallel(plane, first):
            raise DataError(
                f"{first.file.parent}: {_name(first)} and {_name(plane)} differ in"
                f" {_difference(first, plane)}; they are of different stacks"
            )
    normal = np.cross(first.rows, first.columns)
    ordered = sorted(planes, key=lambda plane: float(plane.position @ normal))
    if len(ordered) == 1:
        step, warnings = _step_of_one(first, normal)
    else:
        _require_no_gap(ordered, normal)
        step, warnings = _even_step(ordered, normal)
    return Stack(tuple(ordered), _affine(ordered[0], step), tuple(warnings))


def _difference(plane: Plane, other: Plane) -> str:
    if plane.size != other.size:
        return f"size ({_times(plane.size)} and {_times(other.size)} pixels)"
    if not np.allclose(plane.spacing, other.spacing, rtol=TURN_TOLERANCE, atol=0):
        return f"pixel spacing ({_times(plane.spacing)} and {_times(other.spacing)} mm)"
    return "orientation"


def _step_of_one(
    plane: Plane, normal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[str]]:
    if plane.thickness > 0:
        return normal * plane.thickness, []
    return normal, ["is one slice without a thickness; 1 mm is assumed"]


def _require_no_gap(ordered: Sequence[Plane], normal: NDArray[np.float64]) -> None:
    places = np.array([plane.position @ normal for plane in ordered])
    distances = np.diff(places)
    folder, usual = ordered[0].file.parent, float(np.median(distances))
    nearest = int(np.argmin(distances))
    if distances[nearest] < SAME_PLACE:
        count = int((distances < SAME_PLACE).sum())
        raise DataError(
            f"{folder}: {_names(ordered, nearest)} lie at one place ({places[nearest]:.2f} mm along"
            f" the normal), and {count} such pairs are there; remove copies, or move each echo,"
            " phase or time into a folder of its own"
        )
    widest = int(np.argmax(distances))
    if distances[widest] >= GAP * usual:
        lost = max(1, round(float(distances[widest]) / usual) - 1)
        raise DataError(
            f"{folder}: about {lost} of its slices {'is' if lost == 1 else 'are'} missing between"
            f" {_names(ordered, widest)}, which are {distances[widest]:.4g} mm apart, the others"
            f" {usual:.4g} mm; get the missing files, or split the series there"
        )


def _even_step(
    ordered: Sequence[Plane], normal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[str]]:
    """Give the step from slice to slice, and what is unusual about it."""
    first, folder = ordered[0], ordered[0].file.parent
    positions = np.array([plane.position for plane in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    off = positions - positions[0] - np.arange(len(ordered))[:, None] * step
    axes = np.array([first.rows, first.columns, normal])
    edges = np.array([*first.spacing, step @ normal])
    along = np.abs(off @ axes.T)
    worst, axis = (int(index) for index in np.unravel_index(np.argmax(along / edges), along.shape))
    far, share = float(along[worst, axis]), float(along[worst, axis] / edges[axis])
    where = "unevenly spaced" if axis == 2 else "unevenly shifted within their planes"
    if share > GRID_TOLERANCE:
        raise DataError(
            f"{folder}: its slices are {where}: {_name(ordered[worst])} lies {far:.3g} mm off an"
            f" even grid of {edges[2]:.4g} mm; a tenth of a voxel is the limit"
        )
    warnings = []
    if share > ROUNDING:
        warnings.append(
            f"has slices that are {where}, by up to {far:.3g} mm; the affine holds within that"
        )
    sideways = (positions[-1] - positions[0]) @ axes[:2].T
    if (np.abs(sideways) > GRID_TOLERANCE * edges[:2]).any():
        tilt = np.degrees(np.arctan2(np.linalg.norm(step @ axes[:2].T), step @ normal))
        warnings.append(
            f"has a gantry tilt of {tilt:.3g} degrees: its slices are shifted, and so is its affine"
        )
    return step, warnings


def _affine(first: Plane, step: NDArray[np.float64]) -> Affine:
    affine = np.eye(4)
    affine[:3, 0] = first.rows * first.spacing[0]
    affine[:3, 1] = first.columns * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    placed: Affine = np.diag([-1.0, -1, 1, 1]) @ affine
    return placed


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _names(ordered: Sequence[Plane], index: int) -> str:
    return f"{_name(ordered[index])} and {_name(ordered[index + 1])}"


def _name(plane: Plane) -> str:
    return f"frame {plane.frame + 1} of {plane.file.name}" if plane.frame else plane.file.name
