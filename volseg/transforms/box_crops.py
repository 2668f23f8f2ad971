"""Random crops and flips of volumes with boxes.

Boxes stay right under what keeps their edges along the axes. Rotations do not: the box around a
turned box is larger than that around the turned lesion.
"""

from collections.abc import Hashable, Mapping, Sequence
from math import ceil, floor
from typing import Any

import torch
from monai.transforms import MapTransform, Randomizable
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.boxes import BOXES, CLASSES, crop_boxes, flip_boxes
from volseg.types import Size


class RandBoxCropd(Randomizable, MapTransform):
    """Crop around a lesion that is chosen first, whole if it fits; boxes are cut alike.

    Args:
        keys: Keys to crop, ``(C, X, Y, Z)`` each, of one size that is at least the crop's.
        patch_size: Voxels of the crop along each axis.
        anywhere: Probability of a crop anywhere, regardless of lesions.
        least_share: A box of which less lies in the crop counts as background.
    """

    def __init__(
        self,
        keys: Sequence[Hashable] | Hashable,
        patch_size: Sequence[int],
        anywhere: float = 1 / 3,
        least_share: float = 0.3,
    ) -> None:
        super().__init__(keys)
        depth, height, width = patch_size
        self.patch_size: Size = (depth, height, width)
        self.anywhere = anywhere
        self.least_share = least_share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop one case.

        Args:
            data: The case, with ``boxes`` and ``classes``.

        Returns:
            The case, cropped.
        """
        result = dict(data)
        depth, height, width = result[self.keys[0]].shape[1:]
        start = self.sample((depth, height, width), result[BOXES])
        window = tuple(slice(s, s + n) for s, n in zip(start, self.patch_size, strict=True))
        for key in self.key_iterator(result):
            result[key] = result[key][(slice(None), *window)]
        cut, stays = crop_boxes(result[BOXES], start, self.patch_size, self.least_share)
        result[BOXES], result[CLASSES] = cut, result[CLASSES][stays]
        return result

    def sample(self, size: Size, boxes: Tensor) -> Size:
        """Draw where a crop begins.

        Args:
            size: Voxels of the volume along each axis.
            boxes: Boxes of its lesions, ``(N, 6)``.

        Returns:
            Its first voxel along each axis.
        """
        room = [n - p for n, p in zip(size, self.patch_size, strict=True)]
        start = [int(self.R.randint(free + 1)) for free in room]
        is_anywhere = self.R.random_sample() < self.anywhere
        if not is_anywhere and len(boxes):
            box = boxes[int(self.R.randint(len(boxes)))].tolist()
            spans = zip(box[:3], box[3:], self.patch_size, room, strict=True)
            start = [self._around(*span) for span in spans]
        return (start[0], start[1], start[2])

    def _around(self, low: float, high: float, length: int, free: int) -> int:
        """Draw a beginning from which the crop holds the box, or lies in it if that is longer."""
        ends = sorted((ceil(high) - length, floor(low)))
        first, last = max(0, min(ends[0], free)), max(0, min(ends[1], free))
        return int(self.R.randint(first, last + 1))


class RandFlipBoxesd(Randomizable, MapTransform):
    """Flip volumes and their boxes, each axis with probability 1/2.

    Args:
        keys: Keys to flip, ``(C, X, Y, Z)`` each.
        axes: Axes that may be flipped.
    """

    def __init__(self, keys: Sequence[Hashable] | Hashable, axes: Sequence[int]) -> None:
        super().__init__(keys)
        self.axes = tuple(axes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Flip one case.

        Args:
            data: The case, with ``boxes``.

        Returns:
            The case, flipped along the axes that were drawn.
        """
        result, axes = dict(data), self.sample()
        result[BOXES] = flip_boxes(result[BOXES], result[self.keys[0]].shape[1:], axes)
        for key in self.key_iterator(result):
            result[key] = torch.flip(result[key], [axis + 1 for axis in axes])
        return result

    def sample(self) -> tuple[int, ...]:
        """Draw the axes to flip."""
        return tuple(axis for axis in self.axes if self.R.random_sample() < 1 / 2)


class PadBoxesd(MapTransform):
    """Brings the boxes of every case to one number, so that cases fit into a batch.

    Args:
        most: That number. What is added has the class -1.
    """

    def __init__(self, most: int = 64) -> None:
        super().__init__([BOXES, CLASSES])
        self.most = most

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Pad one case.

        Args:
            data: The case, with ``boxes`` and ``classes``.

        Returns:
            The case.

        Raises:
            DataError: If it has more boxes.
        """
        result = dict(data)
        missing = self.most - len(result[BOXES])
        if missing < 0:
            raise DataError(
                f"a crop holds {len(result[BOXES])} lesions and there is room for {self.most};"
                " give more room with most_boxes, or leave out small lesions with least_ml"
            )
        result[BOXES] = torch.cat([result[BOXES], torch.zeros(missing, 6)])
        result[CLASSES] = torch.cat([result[CLASSES], torch.full((missing,), -1)])
        return result
