"""Tissues, lobes and the maps of one head: all that a simulated resection asks of anatomy."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import GeometryError

DEPTH_STEP = 0.5
"""Depths are kept as whole multiples of this many mm, in a byte."""


class Tissue(IntEnum):
    """What a voxel is made of, as coarsely as a resection needs it."""

    AIR = 0
    HEAD = 1
    SKULL = 2
    FLUID = 3
    VENTRICLE = 4
    CORTEX = 5
    WHITE = 6
    DEEP = 7
    LIMBIC = 8
    CALLOSUM = 9
    BRAINSTEM = 10
    CEREBELLUM_CORTEX = 11
    CEREBELLUM_WHITE = 12
    LESION = 13


class Lobe(IntEnum):
    """Where in the brain a voxel lies."""

    NONE = 0
    FRONTAL = 1
    TEMPORAL = 2
    PARIETAL = 3
    OCCIPITAL = 4
    INFRATENTORIAL = 5


class Side(IntEnum):
    """Which side of the patient a voxel lies on."""

    NONE = 0
    LEFT = 1
    RIGHT = 2


@dataclass(frozen=True)
class Anatomy:
    """The maps of one head, on the grid of its image.

    Args:
        tissue: `Tissue` of each voxel, ``(D, H, W)``, uint8.
        side: `Side` of each voxel of the brain, ``(D, H, W)``, uint8.
        lobe: `Lobe` of each voxel of the brain, ``(D, H, W)``, uint8.
        depth: Distance to the nearest voxel outside the brain's hull, in steps of 0.5 mm, at most
            255; 0 outside the hull. The hull is the brain with its sulci filled, ``(D, H, W)``,
            uint8.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
    """

    tissue: Tensor
    side: Tensor
    lobe: Tensor
    depth: Tensor
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse maps of different shapes."""
        shapes = {tuple(each.shape) for each in (self.tissue, self.side, self.lobe, self.depth)}
        if len(shapes) != 1 or self.tissue.ndim != 3:
            raise GeometryError(f"maps have the shapes {sorted(shapes)}; use one shape (D, H, W)")

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel edge along each axis, in mm."""
        edges: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return edges

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL, from the determinant of the affine."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def device(self) -> torch.device:
        """Where the maps are."""
        return self.tissue.device

    def to(self, device: torch.device) -> Self:
        """Bring the maps to a device.

        Args:
            device: Where to.

        Returns:
            The maps there; the affine stays where it is.
        """
        maps = (self.tissue, self.side, self.lobe, self.depth)
        tissue, side, lobe, depth = (each.to(device) for each in maps)
        return type(self)(tissue, side, lobe, depth, self.affine)

    def every(self, steps: Sequence[int]) -> Self:
        """Thin the maps, without a copy.

        Args:
            steps: Voxels from one that is kept to the next along each axis.

        Returns:
            Every n-th voxel of the anatomy.
        """
        window = tuple(slice(None, None, step) for step in steps)
        maps = (self.tissue, self.side, self.lobe, self.depth)
        tissue, side, lobe, depth = (each[window] for each in maps)
        return type(self)(tissue, side, lobe, depth, self.affine @ np.diag([*steps, 1.0]))

    def stack(self) -> Tensor:
        """Give the four maps as one volume, ``(4, D, H, W)``, uint8."""
        return torch.stack([self.tissue, self.side, self.lobe, self.depth])

    @classmethod
    def unstack(cls, maps: Tensor, affine: NDArray[np.float64]) -> Self:
        """Make an anatomy of what `stack` gave.

        Args:
            maps: ``(4, D, H, W)``.
            affine: From voxel indices to RAS mm, ``(4, 4)``.

        Returns:
            The anatomy.
        """
        tissue, side, lobe, depth = maps.to(torch.uint8)
        return cls(tissue, side, lobe, depth, np.asarray(affine, dtype=np.float64))

    def crop(self, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Self:
        """Cut out a box; its affine is moved along.

        Args:
            start: First voxel along each axis.
            stop: First voxel beyond the box along each axis.

        Returns:
            The anatomy of the box.
        """
        window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.asarray(start, dtype=np.float64)
        maps = (self.tissue, self.side, self.lobe, self.depth)
        tissue, side, lobe, depth = (each[window] for each in maps)
        return type(self)(tissue, side, lobe, depth, affine)
