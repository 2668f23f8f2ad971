"""Standardisation over what a scan shows, the same for whole heads and skull-stripped brains.

What is tissue and what is air is told by the threshold half way between the means of the two
(Ridler and Calvard 1978, https://doi.org/10.1109/TSMC.1978.4310039). Noise in the air of a whole
head then counts as little as the zeros around a stripped brain, and more or less air around a head
changes nothing, which cannot be said of a z-score over all voxels, or over those above 0.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from volseg.errors import DataError

SAMPLES = 60_000
"""A threshold from so many voxels is as good as one from millions."""

SPIKE = 0.999
"""Brighter than this share of what is above the minimum is cut before the threshold is sought."""

ROUNDS = 30
"""The threshold is found long before."""


class StandardizeTissued(MapTransform):
    """Brings tissue to mean 0 and standard deviation 1, and cuts what is brighter than nearly all.

    A constant channel becomes zeros. Voxels that are not finite take the smallest finite value.

    Args:
        keys: Keys of the volumes, ``(C, D, H, W)`` each.
        upper: Percentile of the tissue above which intensities are cut, 0 to 100.

    Raises:
        DataError: If the percentile is none.
    """

    def __init__(self, keys: Sequence[Hashable] | Hashable, upper: float = 99.5) -> None:
        if not 0 < upper <= 100:
            raise DataError(f"percentile is {upper}; use one above 0, up to 100")
        super().__init__(keys)
        self.upper = upper

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Standardise one case.

        Args:
            data: The case.

        Returns:
            The case with standardised volumes, 32-bit.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            volume = convert_to_tensor(result[key], track_meta=True)
            plain = volume.as_subclass(Tensor)
            values = torch.stack([standardize_tissue(channel, self.upper) for channel in plain])
            result[key] = convert_to_dst_type(values, result[key], dtype=torch.float32)[0]
        return result

    def settings(self) -> dict[str, Any]:
        """Give the config of this normaliser for the card of a weights file."""
        kind = type(self)
        target = f"{kind.__module__}.{kind.__qualname__}"
        return {"_target_": target, "keys": list(self.keys), "upper": self.upper}


def standardize_tissue(channel: Tensor, upper: float = 99.5) -> Tensor:
    """Bring the tissue of a channel to mean 0 and standard deviation 1.

    Args:
        channel: Intensities, ``(D, H, W)``.
        upper: Percentile of the tissue above which intensities are cut, 0 to 100.

    Returns:
        32-bit intensities, ``(D, H, W)``; zeros if the tissue has no spread.
    """
    values = channel.double() if channel.dtype == torch.float64 else channel.float()
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        if not bool(finite.any()):
            return torch.zeros_like(channel, dtype=torch.float32)
        values = torch.where(finite, values, values[finite].min())
    some = _thin(values).double().flatten()
    tissue = some[some > tissue_threshold(some)]
    if not len(tissue):
        return torch.zeros_like(channel, dtype=torch.float32)
    high = float(torch.quantile(tissue, upper / 100))
    tissue = tissue.clamp(max=high)
    mean, deviation = float(tissue.mean()), float(tissue.std(correction=0))
    if deviation <= 1e-6 * max(abs(mean), 1e-30):
        return torch.zeros_like(channel, dtype=torch.float32)
    return (values.clamp(max=high) - mean).div_(deviation).float()


def tissue_threshold(values: Tensor) -> float:
    """Find the intensity half way between the means of what is darker and what is brighter.

    Args:
        values: Finite intensities of any shape.

    Returns:
        The threshold; the only value there is if all are equal.

    Examples:
        >>> round(tissue_threshold(torch.tensor([0.0, 0.0, 0.0, 8.0, 10.0, 12.0])), 2)
        5.0
    """
    low = float(values.min())
    above = values[values > low]
    if not len(above):
        return low
    cut = values.clamp(max=float(torch.quantile(_few(above), SPIKE)))
    threshold = float(cut.mean())
    for _ in range(ROUNDS):
        bright = cut > threshold
        if not bool(bright.any()):
            return low
        new = 0.5 * (float(cut[bright].mean()) + float(cut[~bright].mean()))
        if abs(new - threshold) <= 1e-4 * abs(new - low):
            return new
        threshold = new
    return threshold


def _thin(values: Tensor) -> Tensor:
    """Take every so many voxels along each axis, the more the larger the volume."""
    step = max(1, round((values.numel() / SAMPLES) ** (1 / 3)))
    return values[tuple(slice(None, None, min(step, max(1, n // 8))) for n in values.shape)]


def _few(values: Tensor) -> Tensor:
    """Keep few enough values for a quantile."""
    return values[:: max(1, len(values) // SAMPLES)]
