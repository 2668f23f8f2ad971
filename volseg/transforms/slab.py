"""Slabs: scans that end within the head, as those of few thick slices do."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import MapTransform, RandomizableTransform

from volseg.errors import GeometryError
from volseg.types import Spacing

AXES = (0.15, 0.15, 0.7)
"""How often each axis, RAS, is the one that is cut: most slabs are axial."""


class RandSlabd(RandomizableTransform, MapTransform):
    """Cuts a volume to a slab, with what belongs to it.

    A network that saw whole heads alone takes the cut end of a slab for something open. Nothing is
    filled in: whoever crops a patch, or slides a window, over a slab that is thinner continues it.

    Args:
        keys: Keys of volumes on one grid, ``(C, D, H, W)``.
        spacing: Voxel edge along each axis, in mm.
        prob: Probability of a cut.
        thickness: Range of the slab's thickness, in mm; a volume that is thinner is left alone.

    Raises:
        GeometryError: If the range is empty or reaches below 0.
    """

    def __init__(
        self,
        keys: Sequence[Hashable],
        spacing: Spacing,
        prob: float = 0.25,
        thickness: tuple[float, float] = (60.0, 130.0),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        if not 0 < thickness[0] <= thickness[1]:
            raise GeometryError(
                f"slabs of {thickness[0]} to {thickness[1]} mm; use 0 < least <= most"
            )
        self.spacing = spacing
        self.thickness = thickness

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut one case.

        Args:
            data: The case.

        Returns:
            The case with thinner volumes, or as it was; its ``affine``, if it has one, moves along.
        """
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        axis = int(self.R.choice(3, p=AXES))
        length = data[self.keys[0]].shape[axis + 1]
        kept = max(1, round(self.R.uniform(*self.thickness) / self.spacing[axis]))
        place = self.R.uniform()
        if kept >= length:
            return result
        start = int(place * (length - kept + 1))
        for key in self.keys:
            result[key] = data[key].narrow(axis + 1, start, kept).contiguous()
        if "affine" in result:
            affine = np.array(result["affine"], dtype=np.float64)
            affine[:3, 3] += start * affine[:3, axis]
            result["affine"] = affine
        return result
