"""The connected parts of a cavity: how much, how sure, where."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.data.sampling import Points, sample
from volseg.inference.outline import Outline
from volseg.inference.site import Site
from volseg.inference.twins import ALIKE, find_twins


@dataclass(frozen=True)
class Part:
    """A connected part of a cavity.

    Args:
        ml: Volume in mL.
        confidence: Mean probability of the class over its voxels.
        site: Where it lies; `None` if the image shows no head.
        is_kept: Whether it stands in the mask that is written.
        has_twin: Whether the other side is marked alike, see `volseg.inference.twins`.
    """

    ml: float
    confidence: float
    site: Site | None
    is_kept: bool = True
    has_twin: bool = False

    @property
    def oddity(self) -> str | None:
        """Say what is unusual about it, or nothing."""
        if self.has_twin:
            return "lies on both sides alike, as wide fluid does"
        return None if self.site is None else self.site.oddity

    @property
    def evidence_ml(self) -> float:
        """Give the volume times how far the confidence lies above one half, in mL."""
        return self.ml * max(0.0, 2 * self.confidence - 1)

    def __str__(self) -> str:
        """Give volume, site and confidence."""
        where = "" if self.site is None else f"{self.site}, "
        return f"{self.ml:.2f} mL, {where}confidence {self.confidence:.2f}"

    def to_json(self) -> dict[str, Any]:
        """Give plain values, rounded to what they are worth."""
        return {
            "ml": round(self.ml, 4),
            "confidence": round(self.confidence, 4),
            "evidence_ml": round(self.evidence_ml, 4),
            "kept": self.is_kept,
            "has_twin": self.has_twin,
            **({} if self.site is None else self.site.to_json()),
        }


@dataclass(frozen=True)
class Chances:
    """What a network thinks of each place.

    Args:
        values: Probability of the class, ``(X, Y, Z)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
    """

    values: NDArray[np.floating]
    affine: NDArray[np.float64]

    def mean(self, points: Points) -> float:
        """Give the mean at some places.

        Args:
            points: ``(N, 3)``, RAS mm.

        Returns:
            The mean probability.
        """
        return float(sample(self.values, self.affine, points).mean())


def find_parts(
    marked: NDArray[np.bool_],
    affine: NDArray[np.float64],
    chances: Chances,
    outline: Outline | None,
    alike: float = ALIKE,
) -> tuple[NDArray[Any], list[Part]]:
    """Number the connected parts and measure them; voxels that touch at a corner are connected.

    What lies on both sides alike is set apart from what it touches.

    Args:
        marked: The voxels, ``(X, Y, Z)``.
        affine: From their indices to RAS mm, ``(4, 4)``.
        chances: What the network thinks of them.
        outline: Of the brain; `None` if the image shows none, and then nothing has a twin.
        alike: Share of a part that must have twins, see `volseg.inference.twins.find_twins`.

    Returns:
        Number of each voxel, 0 where there is nothing, and the parts in the order of numbers.
    """
    if outline is None:
        twins = np.zeros_like(marked)
    else:
        twins = find_twins(marked, affine, outline.midline, alike)
    corners = np.ones((3, 3, 3))
    numbers, count = ndimage.label(marked & ~twins, corners)
    others, more = ndimage.label(twins, corners)
    numbers = np.where(twins, others + count, numbers)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    parts = []
    for number, box in enumerate(ndimage.find_objects(numbers, count + more), start=1):
        start = np.array([each.start for each in box])
        index = np.argwhere(numbers[box] == number) + start
        points = index @ affine[:3, :3].T + affine[:3, 3]
        site = None if outline is None else Site.of(points, outline)
        has_twin = number > count
        parts.append(Part(len(index) * voxel_ml, chances.mean(points), site, has_twin=has_twin))
    return numbers, parts
