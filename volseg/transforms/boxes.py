"""Boxes of lesions: found in a label map, cut, flipped, and brought from one grid to another.

A box is ``(x0, y0, z0, x1, y1, z1)`` in the edges of voxels: voxel ``i`` reaches from ``i`` to
``i + 1``, so that a lesion of the voxels 2, 3 and 4 has a box from 2 to 5. These are MONAI's
``StandardMode`` boxes. An affine speaks of the centres of voxels, which lie half a voxel further.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from volseg.errors import DataError, GeometryError

BOXES, CLASSES = "boxes", "classes"
"""Keys of a case's boxes, ``(N, 6)``, and of their classes from 0, ``(N,)``."""

HALF = 0.5
"""From the edge of a voxel to its centre, in voxels."""


def find_boxes(
    label: NDArray[np.integer], num_classes: int, least_voxels: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put a box around each connected part of each class.

    Voxels that touch, be it at a corner, belong together (26 neighbours), as in
    `volseg.evaluation.lesions.find_lesions`.

    Args:
        label: Class of each voxel, 0 for the background, ``(X, Y, Z)``.
        num_classes: Classes, background included; others are left out.
        least_voxels: Parts of fewer voxels are left out.

    Returns:
        Boxes, ``(N, 6)``, and the class of each, from 0 for the value 1, ``(N,)``.

    Examples:
        >>> label = np.zeros((6, 5, 4), int)
        >>> label[2:5, 1, 0] = 1
        >>> find_boxes(label, 2)[0].tolist()
        [[2.0, 1.0, 0.0, 5.0, 2.0, 1.0]]
    """
    boxes: list[list[float]] = []
    classes: list[int] = []
    for value in range(1, num_classes):
        numbers, count = ndimage.label(label == value, np.ones((3, 3, 3)))
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)
        for number, cut in enumerate(ndimage.find_objects(numbers), start=1):
            if sizes[number] >= least_voxels:
                boxes.append([*(axis.start for axis in cut), *(axis.stop for axis in cut)])
                classes.append(value - 1)
    return np.array(boxes, np.float32).reshape(-1, 6), np.array(classes, np.int64)


class LesionBoxesd(MapTransform):
    """Puts a box around each lesion of a label map; the label map itself is dropped.

    Args:
        keys: Key of the label, ``(1, X, Y, Z)``, with its affine.
        num_classes: Classes, background included.
        least_ml: Smaller lesions are left out, in mL.
        keeps_label: Whether to keep the label map.
    """

    def __init__(
        self,
        keys: Sequence[Hashable] | Hashable = "label",
        num_classes: int = 2,
        least_ml: float = 0.0,
        *,
        keeps_label: bool = False,
    ) -> None:
        super().__init__(keys)
        self.num_classes = num_classes
        self.least_ml = least_ml
        self.keeps_label = keeps_label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Find the boxes of one case.

        Args:
            data: The case.

        Returns:
            The case with ``boxes``, float32 ``(N, 6)``, and ``classes``, int64 ``(N,)``.

        Raises:
            DataError: If the label has several channels, or a value beyond the classes.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            label = result[key] if self.keeps_label else result.pop(key)
            values = np.asarray(label)
            name = getattr(label, "meta", {}).get("filename_or_obj", key)
            if values.ndim != 4 or len(values) != 1:
                raise DataError(f"{name} has shape {values.shape}; use a label map, (1, X, Y, Z)")
            if (highest := int(values.max(initial=0))) >= self.num_classes:
                raise DataError(
                    f"{name} holds the value {highest} and there are {self.num_classes} classes,"
                    " background included; give more, or merge values with label_map"
                )
            affine = np.asarray(getattr(label, "affine", np.eye(4)), np.float64)
            voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
            # a hair less, so that rounding of the affine leaves out no lesion of just that size
            least = self.least_ml / voxel_ml * (1 - 1e-6)
            boxes, classes = find_boxes(values[0], self.num_classes, least)
            result[BOXES], result[CLASSES] = torch.from_numpy(boxes), torch.from_numpy(classes)
        return result


def crop_boxes(
    boxes: Tensor, start: Sequence[int], size: Sequence[int], least_share: float
) -> tuple[Tensor, Tensor]:
    """Cut boxes as a volume is cut.

    Args:
        boxes: Boxes, ``(N, 6)``.
        start: First voxel of the crop along each axis.
        size: Voxels of the crop along each axis.
        least_share: A box of which less lies in the crop is left out.

    Returns:
        What lies in the crop of each box that stays, from the crop's corner, ``(M, 6)``, and which
        boxes stay, ``(N,)``.
    """
    origin, extent = (torch.as_tensor(value, dtype=boxes.dtype) for value in (start, size))
    moved = boxes - origin.repeat(2)
    cut = torch.minimum(moved.clamp(min=0), extent.repeat(2))
    share = (cut[:, 3:] - cut[:, :3]).prod(1) / (boxes[:, 3:] - boxes[:, :3]).prod(1)
    stays = (share > 0) & (share >= least_share)
    return cut[stays], stays


def flip_boxes(boxes: Tensor, size: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Flip boxes as a volume is flipped.

    Args:
        boxes: Boxes, ``(N, 6)``.
        size: Voxels of the volume along each axis.
        axes: The axes to flip.

    Returns:
        The boxes in the flipped volume, ``(N, 6)``.
    """
    flipped = boxes.clone()
    for axis in axes:
        flipped[:, axis] = size[axis] - boxes[:, axis + 3]
        flipped[:, axis + 3] = size[axis] - boxes[:, axis]
    return flipped


def boxes_between(
    boxes: NDArray[np.floating], source: NDArray[np.floating], target: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Bring boxes from one grid to another.

    Grids that differ by order, direction and spacing of their axes hold the very same boxes; where
    the axes are oblique to each other, the result is the least box that holds the given one.

    Args:
        boxes: Boxes in the edges of the source's voxels, ``(N, 6)``.
        source: The source's voxel index to mm, ``(4, 4)``.
        target: The target's voxel index to mm, ``(4, 4)``.

    Returns:
        Boxes in the edges of the target's voxels, ``(N, 6)``.

    Raises:
        GeometryError: If the target's affine cannot be inverted.
    """
    try:
        matrix = np.linalg.solve(np.asarray(target, float), np.asarray(source, float))
    except np.linalg.LinAlgError as error:
        raise GeometryError(f"affine {np.asarray(target).tolist()} cannot be inverted") from error
    # what should be 0 keeps a rounding error that a long axis would enlarge
    matrix[np.abs(matrix) < 1e-9] = 0
    return _bounds(boxes, matrix) + HALF


def boxes_to_world(
    boxes: NDArray[np.floating], affine: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Bring boxes into the world.

    Args:
        boxes: Boxes in the edges of voxels, ``(N, 6)``.
        affine: Voxel index to mm, RAS, ``(4, 4)``.

    Returns:
        The least boxes along the world's axes that hold them, in mm, ``(N, 6)``; larger than the
        boxes themselves where the grid is oblique.
    """
    return _bounds(boxes, np.asarray(affine, float))


def _bounds(boxes: NDArray[np.floating], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map the eight corners of each box, and bound them."""
    values = np.asarray(boxes, float).reshape(-1, 2, 3)
    picks = np.array(list(product((0, 1), repeat=3)))
    corners = values[:, picks, np.arange(3)] - HALF  # (N, 8, 3)
    points = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return np.concatenate([points.min(1), points.max(1)], axis=1)
