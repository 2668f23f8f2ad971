"""Where in a brain something lies: on which side, and how far from the surface."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from volseg.data.sampling import Points
from volseg.inference.outline import Outline

ONE_SIDED = 0.9
"""Least share of a volume on one side for it to be called by that side."""

SURFACE_MM = 4.0
"""What comes this close to the surface reaches it: about the thickness of the cortex, and the error
of an outline on a grid of 1.5 mm."""

OUTSIDE = 0.5
"""Share of a volume outside the outline from which on it is called outside."""


@dataclass(frozen=True)
class Site:
    """Where something lies.

    Args:
        centre: Mean of its voxels, RAS mm.
        left: Share of its volume left of the midline.
        depth: Of its shallowest voxels below the surface, in mm; 0 at the surface.
        outside: Share of its volume outside the brain.
    """

    centre: tuple[float, float, float]
    left: float
    depth: float
    outside: float

    @classmethod
    def of(cls, points: Points, outline: Outline) -> "Site":
        """Locate a set of voxels.

        Args:
            points: Their centres, ``(N, 3)``, RAS mm.
            outline: Of the brain.

        Returns:
            Where they lie.
        """
        x, y, z = points.mean(axis=0).tolist()
        depths = outline.depths(points)
        return cls(
            (x, y, z),
            float((outline.to_the_right(points) < 0).mean()),
            float(np.quantile(depths, 0.01)),  # one stray voxel is no opening
            float((depths <= 0).mean()),
        )

    @property
    def side(self) -> str:
        """Name the side: ``left``, ``right`` or ``both sides``."""
        if self.left >= ONE_SIDED:
            return "left"
        return "right" if self.left <= 1 - ONE_SIDED else "both sides"

    @property
    def reaches_surface(self) -> bool:
        """Whether it comes to the surface of the brain."""
        return self.depth <= SURFACE_MM

    @property
    def oddity(self) -> str | None:
        """Say what is unusual about the site, or nothing."""
        if self.outside > OUTSIDE:
            return f"lies outside the brain by {100 * self.outside:.0f} %"
        if self.side == "both sides":
            return f"crosses the midline, with {100 * self.left:.0f} % on the left"
        return None

    def __str__(self) -> str:
        """Name side and depth."""
        depth = "at the surface" if self.reaches_surface else f"{self.depth:.0f} mm deep"
        return f"{self.side}, {depth}"

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "centre_mm": [round(value, 1) for value in self.centre],
            "side": self.side,
            "left_share": round(self.left, 3),
            "depth_mm": round(self.depth, 1),
            "reaches_surface": self.reaches_surface,
            "outside_share": round(self.outside, 3),
        }
