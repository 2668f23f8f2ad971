"""What an encoder answers to a fixed input: two encoders with equal shapes may compute otherwise.

Swin's patch merging, for one, has had three octant orders in public code, between which a state
dict loads cleanly and gives other features.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.types import Size

SEED = 20261121
TOLERANCE = 0.02
"""In units of a level's spread. Float rounding moves a figure by some 1e-5, another octant order
by more than 0.1."""

Level = tuple[float, ...]
"""Mean, spread, and the first, middle and last value of one feature map."""


@dataclass(frozen=True)
class Fingerprint:
    """Figures of each feature level on the fixed input.

    Args:
        size: Voxels of the input along each axis.
        levels: Mean, spread, first, middle and last value of each level, finest first.
    """

    size: Size
    levels: tuple[Level, ...]

    @classmethod
    def from_json(cls, values: Any) -> "Fingerprint":
        """Read a fingerprint from the plain values of a card.

        Args:
            values: ``{"size": [...], "levels": [[...], ...]}``; it is not trusted.

        Returns:
            The fingerprint.

        Raises:
            WeightsError: If the values are none.
        """
        try:
            depth, height, width = (int(length) for length in values["size"])
            levels = tuple(tuple(float(v) for v in level) for level in values["levels"])
        except (TypeError, ValueError, KeyError) as error:
            raise WeightsError(f"card's fingerprint is {values!r}, which is none") from error
        return cls((depth, height, width), levels)

    def difference(self, other: "Fingerprint") -> float:
        """Measure how far two fingerprints are apart, in units of a level's spread.

        Args:
            other: Another fingerprint.

        Returns:
            The largest difference; infinite if the two have no levels in common.
        """
        shapes = [(found.size, [len(level) for level in found.levels]) for found in (self, other)]
        if shapes[0] != shapes[1]:
            return math.inf
        worst = 0.0
        for one, two in zip(self.levels, other.levels, strict=True):
            for a, b in zip(one, two, strict=True):
                gap = abs(a - b) / max(abs(one[1]), 1e-6)
                worst = max(worst, gap if math.isfinite(gap) else math.inf)
        return worst


def fixed_input(channels: int, size: Size) -> Tensor:
    """Make the input of every fingerprint: noise on a slope that differs from axis to axis.

    The slope is what tells octant orders apart: on noise alone they have the same statistics.
    Every channel holds the same image, so that kernels mixed to other input channels must still
    give the same answer. NumPy guarantees that the stream of ``RandomState`` never changes.

    Args:
        channels: Channels of the input.
        size: Voxels along each axis.

    Returns:
        Volume, ``(1, C, D, H, W)``.
    """
    noise = np.random.RandomState(SEED).standard_normal(size)
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in size), indexing="ij")
    image = torch.from_numpy((0.5 * noise + axes[0] + 2 * axes[1] + 3 * axes[2]).astype(np.float32))
    return image.expand(1, channels, *size).contiguous()


def fingerprint_size(spec: FeatureSpec) -> Size:
    """Choose an input as small as tells the axes apart, and at least 8 voxels wide.

    Args:
        spec: What the encoder takes.

    Returns:
        Voxels along each axis.
    """
    depth, height, width = (
        step * factor * math.ceil(8 / step)
        for step, factor in zip(spec.divisor, (1, 2, 3), strict=True)
    )
    return depth, height, width


def fingerprint(
    encoder: Encoder, size: Size | None = None, state: Mapping[str, Tensor] | None = None
) -> Fingerprint:
    """Measure what an encoder answers to the fixed input.

    It works on a copy, on the CPU, in float32 and evaluation mode, so that the encoder, its
    device and its mode stay as they are.

    Args:
        encoder: The encoder.
        size: Voxels of the input along each axis; `None`: from `fingerprint_size`.
        state: Parameters to use in place of the encoder's own; `None`: its own. A table of
            positions may be of another grid: an encoder reads the grid from the table.

    Returns:
        The fingerprint.
    """
    size = fingerprint_size(encoder.spec) if size is None else size
    probe = copy.deepcopy(encoder).to("cpu", torch.float32).eval()
    if state is not None:
        for name, parameter in probe.named_parameters():
            if name in state:
                parameter.data = parameter.new_empty(state[name].shape)
        probe.load_state_dict({name: tensor.cpu() for name, tensor in state.items()})
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        levels = probe(fixed_input(encoder.spec.in_channels, size))
    return Fingerprint(size, tuple(_figures(level.double()) for level in levels))


def _figures(level: Tensor) -> Level:
    flat = level.flatten()
    places: Sequence[int] = (0, len(flat) // 2, len(flat) - 1)
    spread = flat.std(correction=0)
    return (float(flat.mean()), float(spread), *(float(flat[place]) for place in places))
