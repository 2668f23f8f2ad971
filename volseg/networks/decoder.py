"""Pyramid decoders: from an encoder's feature maps back to full resolution.

The convolutional decoder is that of UNetFormer (Hatamizadeh et al. 2022,
https://arxiv.org/abs/2204.00631): at each step a transposed convolution, the skip, and a residual
block. It works on any pyramid, not on Swin's alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

from monai.networks.blocks import UnetResBlock, UnetrUpBlock
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.encoder import FeatureSpec
from volseg.networks.residual import instance_norm
from volseg.types import Size

FULL: Size = (1, 1, 1)


class Decoder(nn.Module, ABC):
    """A network from an image and its feature maps to maps at full resolution and below.

    Subclasses set ``channels`` and ``strides``: those of the maps they give, finest first. The
    finest is at full resolution.
    """

    channels: tuple[int, ...]
    strides: tuple[Size, ...]

    @abstractmethod
    def forward(self, image: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Decode a batch.

        Args:
            image: Volumes, ``(B, C, D, H, W)``.
            features: The encoder's maps of these volumes, finest first.

        Returns:
            Maps, finest first, ``(B, channels[i], D / s_i, H / s_i, W / s_i)``.
        """


class ConvolutionalDecoder(Decoder):
    """Transposed convolution, skip, residual block, from the deepest map to the finest.

    Where the encoder's finest map is coarser than the image, a residual block on the image itself
    gives the skip at full resolution.

    Args:
        spec: What the encoder gives.
        width: Channels at full resolution when the encoder has none there; `None`: those of the
            encoder's finest map.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {
        "stem.conv1.conv.weight": "channels",
        "stem.conv3.conv.weight": "channels",
    }

    def __init__(self, spec: FeatureSpec, width: int | None = None) -> None:
        super().__init__()
        has_full = spec.strides[0] == FULL
        own = [] if has_full else [width or spec.channels[0]]
        channels = [*own, *spec.channels]
        strides = [*([] if has_full else [FULL]), *spec.strides]
        self.stem = None if has_full else image_stem(spec.in_channels, channels[0])
        factors = [upsampling_factor(fine, coarse) for fine, coarse in pairwise(strides)]
        self.steps = nn.ModuleList(
            UnetrUpBlock(3, deep, skip, 3, factor, instance_norm(skip), res_block=True)
            for deep, skip, factor in zip(channels[1:], channels[:-1], factors, strict=True)
        )
        self.channels, self.strides = tuple(channels), tuple(strides)

    def forward(self, image: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Decode a batch.

        Args:
            image: Volumes, ``(B, C, D, H, W)``.
            features: The encoder's maps of these volumes, finest first.

        Returns:
            Maps, finest first, ``(B, channels[i], D / s_i, H / s_i, W / s_i)``.
        """
        skips = features if self.stem is None else [self.stem(image), *features]
        maps = [skips[-1]]
        for step, skip in zip(reversed(self.steps), reversed(skips[:-1]), strict=True):
            maps.append(step(maps[-1], skip))
        return maps[::-1]


def image_stem(in_channels: int, width: int) -> UnetResBlock:
    """Build the residual block that gives a skip at full resolution from the image."""
    return UnetResBlock(3, in_channels, width, 3, 1, norm_name=instance_norm(width))


def upsampling_factor(fine: Size, coarse: Size) -> Size:
    """Divide a stride by a finer one.

    Args:
        fine: The finer stride.
        coarse: The coarser stride, a multiple of it and not equal.

    Returns:
        The factor along each axis.

    Raises:
        GeometryError: If the two are no step of a pyramid.
    """
    if coarse == fine or any(c % f for f, c in zip(fine, coarse, strict=True)):
        raise GeometryError(
            f"feature strides {fine} and {coarse} are no pyramid; use an encoder whose strides"
            " grow level by level, or UnetrDecoder for a plain ViT"
        )
    return (coarse[0] // fine[0], coarse[1] // fine[1], coarse[2] // fine[2])
