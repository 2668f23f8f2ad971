"""The convolutional decoder of UNETR (Hatamizadeh et al. 2022, https://arxiv.org/abs/2103.10504).

Four maps of a plain transformer, all at the stride of the patch: the shallower ones are enlarged
to the finer levels of a U-Net. The paper's patch is 16 voxels; other powers of two have a level
fewer or more, and the three shallower maps are shared out over these.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from monai.networks.blocks import UnetrPrUpBlock, UnetrUpBlock
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.decoder import Decoder, image_stem
from volseg.networks.encoder import FeatureSpec
from volseg.networks.residual import instance_norm

NUM_MAPS = 4


class UnetrDecoder(Decoder):
    """A U-Net decoder over four maps of equal stride, of MONAI's blocks.

    Args:
        spec: What the encoder gives: four maps at one stride, a power of two of at least 4 along
            each axis.
        width: Channels at full resolution; they double with each coarser level.

    Raises:
        GeometryError: If the encoder gives something else.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {
        "stem.conv1.conv.weight": "channels",
        "stem.conv3.conv.weight": "channels",
    }

    def __init__(self, spec: FeatureSpec, width: int = 16) -> None:
        super().__init__()
        patch = spec.strides[0][0]
        is_power = patch >= 4 and patch & (patch - 1) == 0
        if spec.strides != ((patch,) * 3,) * NUM_MAPS or not is_power:
            raise GeometryError(
                f"feature strides {spec.strides} do not suit UNETR; use an encoder with four maps"
                " at a stride of 4, 8, 16 or 32, or ConvolutionalDecoder for a pyramid"
            )
        levels = patch.bit_length() - 1
        widths = [width * 2**level for level in range(levels)]
        self.shares = [share_states(level, levels - 1) for level in range(levels - 1)]
        self.stem = image_stem(spec.in_channels, width)
        self.skips = nn.ModuleList(
            _enlarging_block(sum(spec.channels[i] for i in share), own, levels - level)
            for level, (own, share) in enumerate(zip(widths[1:], self.shares, strict=True), 1)
        )
        self.steps = nn.ModuleList(
            UnetrUpBlock(3, deep, own, 3, 2, instance_norm(own), res_block=True)
            for deep, own in zip([*widths[1:], spec.channels[-1]], widths, strict=True)
        )
        self.channels = (*widths, spec.channels[-1])
        self.strides = tuple((2**level,) * 3 for level in range(levels + 1))

    def forward(self, image: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Decode a batch.

        Args:
            image: Volumes, ``(B, C, D, H, W)``.
            features: The encoder's maps of these volumes, shallowest first.

        Returns:
            Maps, finest first, ``(B, channels[i], D / s_i, H / s_i, W / s_i)``.
        """
        maps = [features[-1]]
        for level, step in reversed(list(enumerate(self.steps))):
            maps.append(step(maps[-1], self._skip(level, image, features)))
        return maps[::-1]

    def _skip(self, level: int, image: Tensor, features: list[Tensor]) -> Tensor:
        """Compute the skip of a level, only when it is its turn, to hold one at a time."""
        if level == 0:
            finest: Tensor = self.stem(image)
            return finest
        states = torch.cat([features[i] for i in self.shares[level - 1]], dim=1)
        enlarged: Tensor = self.skips[level - 1](states)
        return enlarged


def share_states(level: int, levels: int) -> range:
    """Choose the hidden states that feed a level between full resolution and the patch.

    Args:
        level: The level, 0 for the finest.
        levels: Levels to feed with the three shallower states.

    Returns:
        States, shallower ones for finer levels.

    Examples:
        >>> [list(share_states(level, 3)) for level in range(3)]
        [[0], [1], [2]]
        >>> [list(share_states(level, 2)) for level in range(2)]
        [[0], [1, 2]]
    """
    states = NUM_MAPS - 1
    first = level * states // levels
    return range(first, max(first + 1, (level + 1) * states // levels))


def _enlarging_block(in_channels: int, width: int, doublings: int) -> UnetrPrUpBlock:
    """Build the transposed convolutions that double a map so many times."""
    return UnetrPrUpBlock(
        3,
        in_channels,
        width,
        num_layer=doublings - 1,
        kernel_size=3,
        stride=1,
        upsample_kernel_size=2,
        norm_name=instance_norm(width),
        conv_block=True,
        res_block=True,
    )
