"""The contract of every encoder: a volume in, a pyramid of features out.

`FeatureSpec` tells what comes out before anything is computed, so that decoders, pretext tasks
and segmenters can be built on any encoder, and refuse one that does not fit by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.transforms.masking import BlockMask
from volseg.types import Size


@dataclass(frozen=True)
class FeatureSpec:
    """What an encoder takes and gives.

    Args:
        in_channels: Channels of the input volume.
        channels: Channels of each feature map, finest first.
        strides: Input voxels per feature voxel along each axis, one triple a feature map.
        mask_mode: How a mask is applied: ``replace`` (tokens), ``drop`` (tokens) or ``fill``
            (voxels).
        divisor: Input sizes must be multiples of this, axis by axis.
    """

    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[Size, ...]
    mask_mode: str
    divisor: Size


class Encoder(nn.Module, ABC):
    """A network from a volume to a pyramid of feature maps.

    Subclasses set ``spec`` and implement `forward` and `layer_groups`. Those whose parameters
    follow from the input's channels or size say so in ``adaptable``, see
    `volseg.networks.adaption`.
    """

    spec: FeatureSpec
    adaptable: ClassVar[Mapping[str, Adaption]] = {}

    @abstractmethod
    def forward(self, x: Tensor, mask: BlockMask | None = None) -> list[Tensor]:
        """Compute the feature maps of a batch of volumes.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of ``spec.divisor``.
            mask: Voxels to hide from the network (`True` = hidden); `None` shows everything.

        Returns:
            One map a level, finest first, ``(B, C_i, D / s_i, H / s_i, W / s_i)``.
        """

    @abstractmethod
    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once, grouped by depth, input side first."""

    def require_divisible(self, size: Size) -> None:
        """Refuse a size that the strides do not divide.

        Args:
            size: Voxels along each axis.

        Raises:
            GeometryError: If an axis is not a multiple of ``spec.divisor``.
        """
        divisor = self.spec.divisor
        if any(length < 1 or length % step for length, step in zip(size, divisor, strict=True)):
            pairs = list(zip(size, divisor, strict=True))
            nearest = tuple(step * max(1, ceil(length / step)) for length, step in pairs)
            raise GeometryError(
                f"size {tuple(size)} is not a multiple of the encoder's stride {divisor};"
                f" use {nearest}"
            )

    def embed(self, x: Tensor, pool: str = "mean_std", region: Tensor | None = None) -> Tensor:
        """Summarise each volume, or a region of it, in one vector.

        The mean alone would erase image-level information after InstanceNorm, whose maps have
        mean zero, so every choice adds the spread or the extremes.

        Args:
            x: Volumes, ``(B, C, D, H, W)``.
            pool: ``mean_std`` (mean and spread of the deepest level) or ``max`` (maximum over
                every level).
            region: Which voxels count, ``(B, 1, D, H, W)``, at least one a volume; a feature voxel
                counts as much as its input voxels do. The network still sees the whole volume.
                `None`: all.

        Returns:
            Vectors, ``(B, F)``.

        Raises:
            ValueError: If ``pool`` is neither of the two.
        """
        features = self(x)
        if pool == "mean_std":
            deepest = features[-1].flatten(2)
            if region is None:
                return torch.cat([deepest.mean(-1), deepest.std(-1, correction=0)], dim=1)
            share = _shares(region, features[-1])
            share = share / share.sum(-1, keepdim=True)
            mean = (deepest * share).sum(-1)
            spread = ((deepest - mean[..., None]).square() * share).sum(-1).sqrt()
            return torch.cat([mean, spread], dim=1)
        if pool == "max":
            levels = features
            if region is not None:
                levels = [
                    level.flatten(2).masked_fill(_shares(region, level) == 0, -torch.inf)
                    for level in features
                ]
            return torch.cat([level.flatten(2).amax(-1) for level in levels], dim=1)
        raise ValueError(f"pool is {pool!r}; use 'mean_std' or 'max'")


def _shares(region: Tensor, level: Tensor) -> Tensor:
    """Give the share of each feature voxel that lies in a region, ``(B, 1, N)``."""
    depth, height, width = level.shape[2:]
    return functional.adaptive_avg_pool3d(region.to(level.dtype), (depth, height, width)).flatten(2)
