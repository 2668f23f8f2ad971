"""Intensities: non-finite voxels, normalisation over the foreground, and windows for CT.

MRI has no unit, so each volume is brought to its own scale: intensities are cut at two percentiles
of the foreground and standardised over it, as in nnU-Net (Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z). We depart from it in what the foreground is: every
finite voxel above the volume's minimum, since the background of a skull-stripped or resampled
volume is often its minimum and not 0.
"""

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import DataError

logger = logging.getLogger(__name__)

MAXIMUM_LOST_FRACTION = 0.5
"""A volume that is not finite in more voxels than this is refused: nothing there can be trusted."""


class ReplaceNonFinited(MapTransform):
    """Replaces NaN and infinite voxels by the smallest finite value, channel by channel.

    It must come before any resampling, which would spread them. How many were replaced is logged
    as a warning.

    Args:
        keys: Keys of the volumes, ``(C, D, H, W)`` each.
    """

    def __init__(self, keys: Sequence[Hashable] | Hashable) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace them.

        Args:
            data: The case.

        Returns:
            The case with finite volumes; one with more than half of a channel lost is refused.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            volume = convert_to_tensor(result[key], track_meta=True)
            count = int((~torch.isfinite(_plain(volume))).sum())
            if count:
                name = getattr(volume, "meta", {}).get("filename_or_obj", key)
                channels = [replace_non_finite(channel, str(name)) for channel in _plain(volume)]
                logger.warning(
                    "%s: %d voxels are NaN or infinite; the smallest finite value of their channel"
                    " replaces them",
                    name,
                    count,
                )
                result[key] = _like(torch.stack(channels), volume)
        return result


class NormalizeForegroundd(MapTransform):
    """Cuts intensities at percentiles of the foreground and standardises them over it.

    The foreground is every finite voxel above the channel's minimum; it ends with mean 0 and
    standard deviation 1. A constant channel becomes zeros. Voxels that are not finite take the
    minimum.

    Args:
        keys: Keys of the volumes, ``(C, D, H, W)`` each.
        lower: Percentile of the foreground below which intensities are cut, 0 to 100.
        upper: Percentile of the foreground above which intensities are cut, 0 to 100.

    Raises:
        DataError: If the percentiles are not ``0 <= lower < upper <= 100``.
    """

    def __init__(
        self, keys: Sequence[Hashable] | Hashable, lower: float = 0.5, upper: float = 99.5
    ) -> None:
        if not 0 <= lower < upper <= 100:
            raise DataError(f"percentiles are {lower} and {upper}; use 0 <= lower < upper <= 100")
        super().__init__(keys)
        self.lower = lower
        self.upper = upper

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise one case.

        Args:
            data: The case.

        Returns:
            The case with normalised volumes, 32-bit.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            volume = convert_to_tensor(result[key], track_meta=True)
            channels = [
                normalize_foreground(channel, self.lower, self.upper) for channel in _plain(volume)
            ]
            result[key] = _like(torch.stack(channels), volume)
        return result

    def settings(self) -> dict[str, Any]:
        """Give the config of this normaliser for the card of a weights file."""
        return _settings(self, self.keys, lower=self.lower, upper=self.upper)


class ScaleWindowd(MapTransform):
    """Cuts intensities at a window and scales it to 0 to 1: for CT, whose unit has a meaning.

    Voxels that are not finite take the lower end.

    Args:
        keys: Keys of the volumes, ``(C, D, H, W)`` each.
        lower: Lower end of the window, in HU for CT; it becomes 0.
        upper: Upper end of the window; it becomes 1.

    Raises:
        DataError: If the window is empty.

    Examples:
        >>> window = ScaleWindowd("image", -100, 300)
        >>> window({"image": torch.tensor([-1000.0, 0.0, 100.0, 3000.0])})["image"].tolist()
        [0.0, 0.25, 0.5, 1.0]
    """

    def __init__(
        self, keys: Sequence[Hashable] | Hashable, lower: float = -1000, upper: float = 1000
    ) -> None:
        if not lower < upper:
            raise DataError(f"window is {lower} to {upper}; use a lower end below the upper one")
        super().__init__(keys)
        self.lower = lower
        self.upper = upper

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale one case.

        Args:
            data: The case.

        Returns:
            The case with scaled volumes, 32-bit.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            volume = convert_to_tensor(result[key], track_meta=True)
            values = _plain(volume).double()
            values = torch.where(torch.isfinite(values), values, self.lower)
            scaled = (values.clamp(self.lower, self.upper) - self.lower) / (self.upper - self.lower)
            result[key] = _like(scaled.float(), volume)
        return result

    def settings(self) -> dict[str, Any]:
        """Give the config of this normaliser for the card of a weights file."""
        return _settings(self, self.keys, lower=self.lower, upper=self.upper)


def normalize_foreground(channel: Tensor, lower: float = 0.5, upper: float = 99.5) -> Tensor:
    """Cut a channel at percentiles of its foreground and standardise it over the foreground.

    Args:
        channel: Intensities, ``(D, H, W)``.
        lower: Percentile of the foreground below which intensities are cut, 0 to 100.
        upper: Percentile of the foreground above which intensities are cut, 0 to 100.

    Returns:
        32-bit intensities, ``(D, H, W)``; zeros if the foreground has no spread.
    """
    values: NDArray[np.float64] = channel.double().numpy()
    finite = np.isfinite(values)
    if not finite.any():
        return torch.zeros_like(channel, dtype=torch.float32)
    minimum = values[finite].min()
    values = np.where(finite, values, minimum)
    is_foreground = values > minimum
    if not is_foreground.any():
        return torch.zeros_like(channel, dtype=torch.float32)
    low, high = np.percentile(values[is_foreground], [lower, upper])
    values = values.clip(low, high)
    mean, deviation = values[is_foreground].mean(), values[is_foreground].std()
    scale = 1 / deviation if deviation > 1e-6 * max(abs(mean), 1e-30) else 0.0
    return torch.from_numpy(((values - mean) * scale).astype(np.float32))


def replace_non_finite(channel: Tensor, name: str = "volume") -> Tensor:
    """Replace NaN and infinite voxels by the smallest finite value.

    Args:
        channel: Intensities, ``(D, H, W)``.
        name: What to call the volume in an error.

    Returns:
        Finite intensities, ``(D, H, W)``.

    Raises:
        DataError: If more than half of the voxels are not finite.
    """
    finite = torch.isfinite(channel)
    lost = 1 - float(finite.float().mean())
    if lost > MAXIMUM_LOST_FRACTION:
        raise DataError(
            f"{name}: {lost:.0%} of the voxels are NaN or infinite; at most"
            f" {MAXIMUM_LOST_FRACTION:.0%} can be replaced"
        )
    return torch.where(finite, channel, channel[finite].min())


def _plain(volume: Tensor) -> Tensor:
    return volume.as_subclass(Tensor)


def _like(values: Tensor, volume: Tensor) -> Tensor:
    """Give the values the metadata, and the record of what can be inverted, of a volume."""
    tensor: Tensor = convert_to_dst_type(values, volume, dtype=values.dtype)[0]
    return tensor


def _settings(transform: MapTransform, keys: Iterable[Hashable], **values: float) -> dict[str, Any]:
    kind = type(transform)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", "keys": list(keys), **values}
