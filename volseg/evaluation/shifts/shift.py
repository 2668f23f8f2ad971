"""A shift: one change of the acquisition, at graded strengths.

A shift is a pure function of the scan, the strength and a seed, so that a case is changed in the
same way whoever looks at it. Where it changes the grid it gives the affine of the new one; nothing
moves in space.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.scan import Scan

Change = Callable[[Scan, float, int], Scan]
"""From a scan, a strength and a seed to the scan as it would have been acquired."""

MODALITIES = ("CT", "MR")


@dataclass(frozen=True)
class Shift:
    """A change of the acquisition.

    Args:
        name: What it is called.
        unit: What its strengths count.
        strengths: Its ladder, ascending.
        neutral: The strength at which nothing changes.
        modalities: Where it may happen.
        change: What it does.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    neutral: float
    modalities: tuple[str, ...]
    change: Change

    def apply(self, scan: Scan, strength: float, seed: int = 0) -> Scan:
        """Change a scan.

        Args:
            scan: The scan.
            strength: How much.
            seed: Of noise, fields and directions.

        Returns:
            The changed scan, float32; at the neutral strength the scan itself.
        """
        if strength == self.neutral:
            return scan
        found = self.change(scan, strength, seed)
        return Scan(np.ascontiguousarray(found.values, dtype=np.float32), found.affine)


def edges(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Give the voxel edges of an affine, in mm."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def slice_axis(affine: NDArray[np.float64]) -> int:
    """Find the axis across the slices: the coarsest, or of equal ones that nearest to feet-head.

    Args:
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        The axis, 0 to 2.

    Examples:
        >>> slice_axis(np.diag([1.0, 5.0, 1.0, 1.0])), slice_axis(np.eye(4))
        (1, 2)
    """
    lengths = np.asarray(edges(affine))
    upward = np.abs(affine[2, :3]) / lengths
    coarse = lengths > 0.99 * lengths.max()
    return int(np.argmax(np.where(coarse, upward, -1)))


def as_tensor(values: NDArray[Any]) -> Tensor:
    """Give values as MONAI takes them, ``(1, X, Y, Z)``, float32."""
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))[None]


def as_array(values: Any) -> NDArray[np.float32]:
    """Take the values of a ``(1, X, Y, Z)`` volume of MONAI."""
    array: NDArray[np.float32] = torch.as_tensor(values).as_subclass(Tensor)[0].float().numpy()
    return array
