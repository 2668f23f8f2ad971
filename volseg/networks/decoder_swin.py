"""The transformer decoder of UNetFormer+ (Hatamizadeh et al. 2022, arXiv:2204.00631).

At each step a transposed convolution, the skip, a 1x1x1 convolution and two Swin blocks, plain and
shifted. The step to full resolution is convolutional, for there attention is costly and of little
use. The paper's code is not public; these sizes are ours.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from monai.networks.blocks import UnetrUpBlock
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.decoder import FULL, Decoder, image_stem, upsampling_factor
from volseg.networks.encoder import FeatureSpec
from volseg.networks.residual import instance_norm
from volseg.networks.swin_block import SwinBlock
from volseg.types import Size

HEAD_WIDTHS = (16, 8)
"""Channels of an attention head to choose from: Swin UNETR's at 48 and at 24 features."""


class SwinDecoder(Decoder):
    """Swin blocks from the deepest map to the finest, one convolutional step to full resolution.

    Where the encoder's finest map is coarser than the image, a thin residual block on the image
    itself gives the skip at full resolution.

    Args:
        spec: What the encoder gives; its strides grow level by level.
        window: Tokens of a window along each axis, at most.
        head_width: Channels of an attention head; `None`: 16, or else 8, whichever divides the
            channels of every level with attention; if none does, it is refused.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {
        "stem.conv1.conv.weight": "channels",
        "stem.conv3.conv.weight": "channels",
    }

    def __init__(self, spec: FeatureSpec, window: int = 6, head_width: int | None = None) -> None:
        super().__init__()
        has_full = spec.strides[0] == FULL
        channels = [*([] if has_full else [max(1, spec.channels[0] // 2)]), *spec.channels]
        strides = [*([] if has_full else [FULL]), *spec.strides]
        self.stem = None if has_full else image_stem(spec.in_channels, channels[0])
        factors = [upsampling_factor(fine, coarse) for fine, coarse in pairwise(strides)]
        share = _choose_head_width(channels[1:-1], head_width)
        self.finest = UnetrUpBlock(
            3, channels[1], channels[0], 3, factors[0], instance_norm(channels[0]), res_block=True
        )
        self.steps = nn.ModuleList(
            SwinUpBlock(deep, skip, skip // share, window, factor)
            for (skip, deep), factor in zip(pairwise(channels[1:]), factors[1:], strict=True)
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
        for step, skip in zip(reversed(self.steps), reversed(skips[1:-1]), strict=True):
            maps.append(step(maps[-1], skip))
        return [self.finest(maps[-1], skips[0]), *maps[::-1]]


class SwinUpBlock(nn.Module):
    """Enlarge a map, join it with a skip and let windows attend.

    Args:
        deep: Channels of the coarser map.
        width: Channels of the skip and of the result.
        heads: Attention heads.
        window: Tokens of a window along each axis, at most.
        factor: Enlargement along each axis.
    """

    def __init__(self, deep: int, width: int, heads: int, window: int, factor: Size) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose3d(deep, width, factor, factor)
        self.join = nn.Linear(2 * width, width)
        self.blocks = nn.Sequential(
            SwinBlock(width, heads, window, is_shifted=False),
            SwinBlock(width, heads, window, is_shifted=True),
        )

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Decode one step.

        Args:
            deep: The coarser map, ``(B, deep, d, h, w)``.
            skip: The encoder's map of the finer grid, ``(B, width, D, H, W)``.

        Returns:
            Map, ``(B, width, D, H, W)``.
        """
        pair = torch.cat([self.enlarge(deep), skip], dim=1).movedim(1, -1)
        tokens: Tensor = self.blocks(self.join(pair))
        return tokens.movedim(-1, 1).contiguous()


def _choose_head_width(channels: list[int], asked: int | None) -> int:
    choices = HEAD_WIDTHS if asked is None else (asked,)
    for choice in choices:
        if all(width % choice == 0 for width in channels):
            return choice
    raise GeometryError(
        f"head widths {choices} do not divide the channels {tuple(channels)} of the levels with"
        " attention; give a head_width that does"
    )
