"""Random crops that give every class its turn."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform, Randomizable
from torch import Tensor

from volseg.errors import DataError
from volseg.types import Size


class RandBalancedCropd(Randomizable, MapTransform):
    """Crop around a voxel of a class that is chosen first, so that small classes are seen as often.

    Every class that the case has, background aside, is as likely as any other unless weights say
    otherwise; a case without such a class is cropped anywhere.

    Args:
        keys: Keys to crop, ``(C, X, Y, Z)`` each, of one size that is at least the crop's.
        patch_size: Voxels of the crop along each axis.
        label: Key of the label, ``(1, X, Y, Z)``.
        anywhere: Probability of a crop anywhere, regardless of classes.
        weights: How often each class is chosen in relation to the others, background first; `None`:
            the background never, all others alike.

    Raises:
        DataError: If a weight is below 0, or all are 0.
    """

    def __init__(
        self,
        keys: Sequence[Hashable] | Hashable,
        patch_size: Sequence[int],
        label: Hashable = "label",
        anywhere: float = 1 / 3,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(keys)
        if weights is not None and (min(weights) < 0 or sum(weights) == 0):
            raise DataError(f"class weights are {list(weights)}; use numbers from 0, not all 0")
        depth, height, width = patch_size
        self.patch_size: Size = (depth, height, width)
        self.label = label
        self.anywhere = anywhere
        self.weights = None if weights is None else tuple(weights)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop one case.

        Args:
            data: The case.

        Returns:
            The case with its images cropped alike.
        """
        result = dict(data)
        start = self.sample(result[self.label][0])
        window = (
            slice(None),
            *(slice(s, s + n) for s, n in zip(start, self.patch_size, strict=True)),
        )
        for key in self.key_iterator(result):
            result[key] = result[key][window]
        return result

    def sample(self, label: Tensor) -> Size:
        """Draw where a crop begins.

        Args:
            label: Class of each voxel, ``(X, Y, Z)``.

        Returns:
            Its first voxel along each axis.
        """
        room = [n - p for n, p in zip(label.shape, self.patch_size, strict=True)]
        start = [int(self.R.randint(free + 1)) for free in room]
        is_anywhere = self.R.random_sample() < self.anywhere
        if not is_anywhere and any(room):
            value = self._choose(torch.unique(label).tolist())
            if value is not None:
                chosen = (label == value).nonzero()
                voxel = chosen[self.R.randint(len(chosen))].tolist()
                start = [
                    self._around(*axis) for axis in zip(voxel, self.patch_size, room, strict=True)
                ]
        return (start[0], start[1], start[2])

    def _choose(self, values: Sequence[float]) -> float | None:
        """Draw one of the classes that a case has."""
        if self.weights is None:
            classes = [value for value in values if value > 0]
            return classes[self.R.randint(len(classes))] if classes else None
        if max(values) >= len(self.weights):
            raise DataError(
                f"label holds the class {max(values):g}, and there are {len(self.weights)} class"
                " weights; give one a class, background first"
            )
        weights = [self.weights[int(value)] for value in values]
        total = sum(weights)
        if total == 0:
            return None
        return float(self.R.choice(values, p=[weight / total for weight in weights]))

    def _around(self, voxel: int, length: int, free: int) -> int:
        """Draw a beginning from which the crop holds the voxel."""
        first, last = max(0, voxel - length + 1), min(free, voxel)
        return int(self.R.randint(first, last + 1))


def as_plain(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Turn MONAI's tensors with metadata into plain ones, which are quicker to augment.

    Args:
        data: A case.

    Returns:
        The case; what is no tensor is left out.
    """
    return {k: v.as_subclass(Tensor) for k, v in data.items() if isinstance(v, torch.Tensor)}
