"""Labels: rounded, never cut off, and known."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from volseg.data.volumes import LABEL_TOLERANCE
from volseg.errors import DataError

LARGEST_LABEL = 32767
"""Labels are 16-bit in memory."""


class RoundLabeld(MapTransform):
    """Rounds labels to 16-bit integers.

    Args:
        keys: Keys of the labels, ``(1, D, H, W)`` each.
    """

    def __init__(self, keys: Sequence[Hashable] | Hashable) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Round the labels of one case.

        Args:
            data: The case.

        Returns:
            The case.

        Raises:
            DataError: If a value is no whole number from 0 to 32767.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            label = convert_to_tensor(result[key], track_meta=True)
            values = label.as_subclass(Tensor)
            if values.is_floating_point():
                rounded = values.round()
                worst = float((values - rounded).abs().max())
            else:
                rounded, worst = values, 0.0
            low, high = float(rounded.min()), float(rounded.max())
            if not worst <= LABEL_TOLERANCE or low < 0 or high > LARGEST_LABEL:
                raise DataError(
                    f"{_name(label, key)} is not a label map: its values lie from {low:g} to"
                    f" {high:g}, up to {worst:g} off a whole number"
                )
            result[key] = convert_to_dst_type(rounded, label, dtype=torch.int16)[0]
        return result


class RequireClassesd(MapTransform):
    """Refuses a label value beyond the classes, which a loss would only trip over.

    Args:
        keys: Keys of the labels, ``(1, D, H, W)`` each.
        num_classes: Classes, background included.
    """

    def __init__(self, keys: Sequence[Hashable] | Hashable, num_classes: int) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.num_classes = num_classes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check one case.

        Args:
            data: The case.

        Returns:
            The case as it was.

        Raises:
            DataError: If a value is too large.
        """
        for key in self.key_iterator(dict(data)):
            highest = int(data[key].max())
            if highest >= self.num_classes:
                raise DataError(
                    f"{_name(data[key], key)} holds the value {highest} and there are"
                    f" {self.num_classes} classes; use 0 to {self.num_classes - 1}"
                )
        return dict(data)


class MapLabelsd(MapTransform):
    """Turns the label values of a data set into classes; a value that nobody named is refused.

    Args:
        keys: Keys of the labels, whole numbers, ``(1, D, H, W)`` each.
        label_map: Class of each value; the background, 0, stays 0 unless it is named. JSON has only
            text for keys, so ``{"4": 3}`` is the same as ``{4: 3}``.
    """

    def __init__(
        self, keys: Sequence[Hashable] | Hashable, label_map: Mapping[int, int] | Mapping[str, int]
    ) -> None:
        super().__init__(keys)
        self.label_map = {0: 0, **{int(value): new for value, new in label_map.items()}}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Map the labels of one case.

        Args:
            data: The case.

        Returns:
            The case.

        Raises:
            DataError: If a label holds a value that the map does not name.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            label = convert_to_tensor(result[key], track_meta=True)
            values = label.as_subclass(Tensor)
            found = torch.unique(values).tolist()
            if unknown := [value for value in found if value not in self.label_map]:
                raise DataError(
                    f"{_name(label, key)} holds the value {unknown[0]}, and the label map names"
                    f" {', '.join(map(str, self.label_map))}; choose the preset of the data set"
                )
            table = torch.zeros(int(max(self.label_map)) + 1, dtype=values.dtype)
            for value, new in self.label_map.items():
                table[value] = new
            result[key] = convert_to_dst_type(table[values.long()], label, dtype=values.dtype)[0]
        return result


def _name(label: Any, key: Hashable) -> str:
    return str(getattr(label, "meta", {}).get("filename_or_obj", key))
