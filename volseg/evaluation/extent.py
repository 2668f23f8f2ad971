"""How much of a tumour lies in a cavity, and how sure that is.

The tumour is divided into cells, and those whose centres lie in the cavity are counted. The
interval comes from drawing all that is uncertain at once: where the scans lie on each other, and
where within a voxel the two borders run.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from volseg.data.fractions import (
    HALF,
    PADDING,
    border_of,
    divide,
    fraction,
    volume_ml,
    voxel_edge,
)
from volseg.data.scan import Matrix, Scan
from volseg.errors import DataError

PITCH = 0.5
"""Least edge of the cells into which a tumour is divided, in mm."""

CELLS = 40_000
"""A tumour is divided into about as many cells, unless that makes them smaller than the least."""

PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Doubt:
    """What is not known exactly.

    Args:
        shift: Largest error of the registration along each axis, in mm.
        turn: Largest error of the registration about each axis, in degrees.
        draws: How often everything uncertain is drawn.
        seed: Of the draws.
    """

    shift: float = 1.0
    turn: float = 1.0
    draws: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Extent:
    """How much of a tumour a cavity has taken.

    Args:
        tumour_ml: Volume of the tumour mask.
        cavity_ml: Volume of the cavity mask.
        resected_ml: Volume of the tumour that lies in the cavity.
        outside_ml: Volume of the tumour that the postoperative scan does not show; it counts as
            residual.
        residual_interval: Of the residual in mL: 95 % of the draws lie in it.
        percent_interval: Of the extent of resection in percent.
    """

    tumour_ml: float
    cavity_ml: float
    resected_ml: float
    outside_ml: float
    residual_interval: Interval
    percent_interval: Interval

    @property
    def residual_ml(self) -> float:
        """Give the volume of the tumour that lies outside the cavity."""
        return self.tumour_ml - self.resected_ml

    @property
    def percent(self) -> float:
        """Give the extent of resection in percent of the tumour."""
        return 100 * self.resected_ml / self.tumour_ml

    def warnings(self) -> list[str]:
        """Say what a person should look at."""
        found = []
        if self.resected_ml == 0:
            found.append("the cavity does not touch the tumour; check side and registration")
        if self.outside_ml > 0.01 * self.tumour_ml:
            found.append(
                f"{self.outside_ml:.2f} mL of the tumour lie outside the postoperative scan and"
                " count as residual"
            )
        if self.cavity_ml < self.tumour_ml:
            found.append(
                f"the cavity ({self.cavity_ml:.2f} mL) is smaller than the tumour"
                f" ({self.tumour_ml:.2f} mL): tumour was left or the cavity has shrunk, which a"
                " rigid registration cannot tell apart"
            )
        return found

    def __str__(self) -> str:
        """Give the result in one line."""
        low, high = self.percent_interval
        least, most = self.residual_interval
        return (
            f"resected {self.resected_ml:.2f} of {self.tumour_ml:.2f} mL: {self.percent:.0f} %"
            f" ({low:.0f} to {high:.0f} %), residual {self.residual_ml:.2f} mL"
            f" ({least:.2f} to {most:.2f} mL)"
        )

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "tumour_ml": round(self.tumour_ml, 4),
            "cavity_ml": round(self.cavity_ml, 4),
            "resected_ml": round(self.resected_ml, 4),
            "residual_ml": round(self.residual_ml, 4),
            "residual_interval_ml": [round(value, 4) for value in self.residual_interval],
            "extent_percent": round(self.percent, 2),
            "extent_interval_percent": [round(value, 2) for value in self.percent_interval],
            "outside_ml": round(self.outside_ml, 4),
            "warnings": self.warnings(),
        }


def measure_extent(cavity: Scan, tumour: Scan, matrix: Matrix, doubt: Doubt) -> Extent:
    """Measure how much of a tumour a cavity has taken.

    Args:
        cavity: What is cavity, boolean, on the grid of the postoperative scan.
        tumour: What is tumour, boolean, on the grid of the preoperative scan.
        matrix: From the postoperative scan to the preoperative one, RAS mm, ``(4, 4)``; rigid.
        doubt: What is not known exactly.

    Returns:
        The extent, with intervals.

    Raises:
        DataError: If a mask is empty.
    """
    for scan, name in ((cavity, "cavity"), (tumour, "tumour")):
        if not scan.values.any():
            raise DataError(f"the mask of the {name} is empty; there is nothing to compare")
    cells, border = _divide(tumour, np.asarray(np.linalg.inv(matrix))), border_of(cavity)
    scale = volume_ml(tumour) / int(cells.is_tumour.sum())
    centres = cells.points[cells.is_tumour]
    is_cavity, is_in_view = _look_up(cavity, centres)
    residuals, percents = _draw(border, cells, doubt)
    percent = 100 * float(is_cavity.mean())
    return Extent(
        tumour_ml=volume_ml(tumour),
        cavity_ml=volume_ml(cavity),
        resected_ml=float(is_cavity.sum()) * scale,
        outside_ml=float((~is_in_view).sum()) * scale,
        residual_interval=_interval(residuals * scale, float((~is_cavity).sum()) * scale),
        percent_interval=_interval(percents, percent),
    )


@dataclass(frozen=True)
class _Cells:
    """What a tumour is divided into.

    Args:
        points: Centres, RAS mm of the postoperative scan, ``(N, 3)``.
        depths: How far they lie from the border, in voxels of the tumour's mask.
        is_tumour: Whether they lie in a voxel of it.
        parts: Edge of such a voxel in cells.
        edge: Of a cell, in mm.
    """

    points: NDArray[np.float64]
    depths: NDArray[np.float64]
    is_tumour: NDArray[np.bool_]
    parts: float
    edge: float

    def inside(self, border: float) -> NDArray[np.float64]:
        """Give the fraction of each cell that is tumour, the border moved out by some voxels."""
        return fraction(self.depths, border, self.parts)


def _draw(
    border: Scan, cells: _Cells, doubt: Doubt
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw what is uncertain; give residuals, in cells, and extents, in percent."""
    random, centre = np.random.default_rng(doubt.seed), cells.points.mean(axis=0)
    residuals, percents = np.empty(doubt.draws), np.empty(doubt.draws)
    for index in range(doubt.draws):
        turn = Rotation.from_euler("xyz", random.uniform(-doubt.turn, doubt.turn, 3), degrees=True)
        shift = random.uniform(-doubt.shift, doubt.shift, 3)
        ours, theirs = random.uniform(-HALF, HALF, 2)  # what voxels leave open
        whole = cells.inside(ours)
        moved = turn.apply(cells.points - centre) + centre + shift
        resected = float((whole * _inside(border, moved, theirs, cells.edge)).sum())
        residuals[index] = whole.sum() - resected
        percents[index] = 100 * resected / max(float(whole.sum()), 1e-9)
    return residuals, percents


def _divide(tumour: Scan, matrix: Matrix) -> _Cells:
    """Divide a tumour and what lies within a voxel of it; the matrix brings points where needed."""
    border, edge = border_of(tumour), voxel_edge(tumour)
    pitch = max(PITCH, (1000 * volume_ml(tumour) / CELLS) ** (1 / 3))
    offsets = divide(tumour.affine, pitch)
    near = np.argwhere(border.values < PADDING - HALF)
    places = (near[None] + offsets[:, None]).reshape(-1, 3)
    depths = ndimage.map_coordinates(border.values, places.T, order=1, mode="nearest")
    is_tumour = np.tile(border.values[tuple(near.T)] < 0, len(offsets))
    kept = is_tumour | (depths < 2 * HALF)
    chain = matrix @ border.affine
    points = places[kept] @ chain[:3, :3].T + chain[:3, 3]
    parts = len(offsets) ** (1 / 3)
    return _Cells(points, np.asarray(depths[kept]), is_tumour[kept], parts, edge / parts)


def _inside(
    border: Scan, points: NDArray[np.float64], shift: float, edge: float
) -> NDArray[np.float64]:
    """Give how much of cells lies inside a mask; what is out of view is outside."""
    inverse = np.linalg.inv(border.affine)
    places = inverse[:3, :3] @ points.T + inverse[:3, 3:]
    distance = ndimage.map_coordinates(border.values, places, order=1, cval=1e3)
    return fraction(np.asarray(distance), shift, voxel_edge(border) / edge)


def _look_up(
    mask: Scan, points: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which points lie in a mask, and which on its grid."""
    inverse = np.linalg.inv(mask.affine)
    voxels = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    is_in_view = ((voxels >= 0) & (voxels < mask.values.shape)).all(axis=1)
    inside = np.zeros(len(points), dtype=bool)
    inside[is_in_view] = mask.values[tuple(voxels[is_in_view].T)]
    return inside, np.asarray(is_in_view)


def _interval(values: NDArray[np.float64], estimate: float) -> Interval:
    """Give where the draws lie; the estimate itself is never left out."""
    low, high = np.percentile(values, PERCENTILES)
    return min(float(low), estimate), max(float(high), estimate)
