"""The outline of a brain: what lies inside, how deep, and on which side.

No atlas is registered. What looks like a cavity counts as brain, since that is what it was. The
plane between the sides is that about which the image is most nearly symmetric.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, from_numpy

from volseg.data.sampling import Points, sample
from volseg.errors import DataError
from volseg.transforms.anatomy.estimate import estimate_brain
from volseg.transforms.anatomy.lobes import Plane
from volseg.transforms.anatomy.plane import find_symmetry_plane


@dataclass(frozen=True)
class Outline:
    """A brain as seen from outside.

    Args:
        depth: Distance of each voxel to the outside, in mm, ``(X, Y, Z)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        midline: The plane between its sides.
    """

    depth: NDArray[np.floating]
    affine: NDArray[np.float64]
    midline: Plane

    @classmethod
    def of(cls, image: Tensor, cavity: NDArray[np.bool_], affine: NDArray[np.float64]) -> "Outline":
        """Outline the brain that an image shows; one that shows none is a `DataError`.

        Args:
            image: Whole head or brain, ``(X, Y, Z)``.
            cavity: What looks like a cavity in it, ``(X, Y, Z)``.
            affine: From voxel indices to RAS mm, ``(4, 4)``.

        Returns:
            The outline.
        """
        brain = fill(estimate_brain(image, affine).numpy() | cavity)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        padded = np.pad(brain, 1, mode="edge")  # where the field of view ends is no surface
        depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
        return cls(depth, affine, find_symmetry_plane(image, from_numpy(brain), affine))

    def depths(self, points: Points) -> Points:
        """Measure how far below the surface points lie.

        Args:
            points: ``(N, 3)``, RAS mm.

        Returns:
            Depths in mm, ``(N,)``; 0 outside.
        """
        return sample(self.depth, self.affine, points, fill_value=0.0)

    def to_the_right(self, points: Points) -> Points:
        """Measure how far to the right of the midline points lie.

        Args:
            points: ``(N, 3)``, RAS mm.

        Returns:
            Distances in mm, ``(N,)``; negative on the left.
        """
        return np.asarray((points - self.midline.point) @ self.midline.normal)


def fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest part of a mask and fill what it encloses, slice by slice along each axis.

    A cavity that opens to the outside in three dimensions is enclosed in some slices.

    Args:
        mask: ``(X, Y, Z)``.

    Returns:
        The mask without holes.

    Raises:
        DataError: If the mask is empty.
    """
    parts, count = ndimage.label(mask)
    if not count:
        raise DataError("the mask of the brain is empty")
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    filled = parts == sizes.argmax()
    for axis in range(3):
        slices = np.moveaxis(filled, axis, 0)
        for index in range(len(slices)):
            slices[index] = ndimage.binary_fill_holes(slices[index])
    return np.asarray(filled)
