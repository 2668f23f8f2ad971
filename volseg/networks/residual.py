"""The residual convolutional encoder: blocks of two convolutions, halving the grid at each level.

The layout is that of the residual encoder of nnU-Net Revisited (Isensee et al. 2024,
https://arxiv.org/abs/2404.09556), built from MONAI's ``UnetResBlock``.
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar

import torch
from monai.networks.blocks import UnetResBlock
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.transforms.masking import BlockMask
from volseg.types import Size


def instance_norm(width: int) -> tuple[str, dict[str, int]]:
    """Name instance normalisation with a learned scale, for MONAI's blocks.

    One group a channel is the same function as ``InstanceNorm3d``, and on a CPU twice as fast.

    Args:
        width: Channels to normalise.

    Returns:
        The layer's name and arguments.
    """
    return ("group", {"num_groups": width})


class ResidualEncoder(Encoder):
    """A pyramid of residual convolutions with instance normalisation.

    A mask fills hidden voxels with the mean of the visible voxels of the same channel and case, so
    that they look neither like air nor like tissue.

    Args:
        in_channels: Channels of the input volume.
        widths: Channels of each level, finest first.
        blocks: Residual blocks of each level; `None`: one a level.
        downsampling: Factor by which each level after the first shrinks the grid, one triple a
            level; `None`: two along each axis.
        patch: Voxels along each axis that become one before the first level, in a convolution as
            wide as its stride. No level is then at full resolution, where most of the time would
            go: give the segmenter a `volseg.networks.decoder_subpixel.SubpixelDecoder`.

    Raises:
        GeometryError: If the levels do not agree in number.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {
        "levels.0.0.weight": "channels",
        "levels.0.0.conv1.conv.weight": "channels",
        "levels.0.0.conv3.conv.weight": "channels",
    }

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...] | None = None,
        downsampling: tuple[Size, ...] | None = None,
        patch: Size = (1, 1, 1),
    ) -> None:
        super().__init__()
        blocks = (1,) * len(widths) if blocks is None else tuple(blocks)
        steps = [(2, 2, 2)] * (len(widths) - 1) if downsampling is None else list(downsampling)
        if not len(widths) == len(blocks) == len(steps) + 1:
            raise GeometryError(
                f"{len(widths)} widths, {len(blocks)} block counts and {len(steps)} downsampling"
                " steps do not fit; give one width and count a level, one step fewer"
            )
        patch = (patch[0], patch[1], patch[2])
        strides = list(accumulate([patch, *steps], _multiply))
        self.spec = FeatureSpec(
            in_channels, tuple(widths), tuple(strides), mask_mode="fill", divisor=strides[-1]
        )
        is_patched = patch != (1, 1, 1)
        inputs = [widths[0] if is_patched else in_channels, *widths[:-1]]
        first, *others = (
            _level(*sizes)
            for sizes in zip(inputs, widths, [(1, 1, 1), *steps], blocks, strict=True)
        )
        if is_patched:
            stem = nn.Conv3d(in_channels, widths[0], kernel_size=patch, stride=patch)
            first = nn.Sequential(stem, *first)
        self.levels = nn.ModuleList([first, *others])

    def forward(self, x: Tensor, mask: BlockMask | None = None) -> list[Tensor]:
        """Compute the feature maps of a batch of volumes.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of ``spec.divisor``.
            mask: Voxels to fill; `None` shows everything.

        Returns:
            One map a level, finest first, ``(B, C_i, D / s_i, H / s_i, W / s_i)``.
        """
        depth, height, width = x.shape[2:]
        self.require_divisible((depth, height, width))
        if mask is not None:
            x = fill_hidden(x, mask.to((1, 1, 1)))
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def require_divisible(self, size: Size) -> None:
        """Refuse a size that the strides do not divide, or whose deepest map is one voxel.

        Args:
            size: Voxels along each axis.

        Raises:
            GeometryError: If an axis is not a multiple of ``spec.divisor``, or every axis equals
                it: one voxel has no spread to normalise by.
        """
        super().require_divisible(size)
        if tuple(size) == self.spec.divisor:
            raise GeometryError(
                f"size {tuple(size)} leaves one voxel at the deepest level, which cannot be"
                f" normalised; use {(2 * size[0], *size[1:])} or more"
            )

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once, one group a level, finest first."""
        return [list(level.parameters()) for level in self.levels]


def fill_hidden(x: Tensor, hidden: Tensor) -> Tensor:
    """Replace hidden voxels by the mean of the visible ones of the same channel and case.

    Args:
        x: Volumes, ``(B, C, D, H, W)``.
        hidden: `True` where hidden, ``(B, D, H, W)``.

    Returns:
        Filled volumes, ``(B, C, D, H, W)``; zero where a case shows nothing.
    """
    hidden = hidden[:, None]
    visible = (~hidden).sum(dim=(2, 3, 4), keepdim=True).clamp(min=1)
    mean = x.masked_fill(hidden, 0).sum(dim=(2, 3, 4), keepdim=True) / visible
    return torch.where(hidden, mean, x)


def _multiply(stride: Size, step: Size) -> Size:
    return (stride[0] * step[0], stride[1] * step[1], stride[2] * step[2])


def _level(in_channels: int, width: int, step: Size, num_blocks: int) -> nn.Sequential:
    norm = instance_norm(width)
    first = UnetResBlock(3, in_channels, width, kernel_size=3, stride=step, norm_name=norm)
    others = [
        UnetResBlock(3, width, width, kernel_size=3, stride=1, norm_name=norm)
        for _ in range(num_blocks - 1)
    ]
    return nn.Sequential(first, *others)


def tiny(in_channels: int = 1) -> ResidualEncoder:
    """Build four levels of one block, 8 to 64 channels: 0.22 million parameters."""
    return ResidualEncoder(in_channels, (8, 16, 32, 64))


def small(in_channels: int = 1) -> ResidualEncoder:
    """Build four levels of one block, 16 to 128 channels: 0.89 million parameters."""
    return ResidualEncoder(in_channels, (16, 32, 64, 128))


def base(in_channels: int = 1) -> ResidualEncoder:
    """Build five levels of one to three blocks, 32 to 320 channels: 18.8 million parameters."""
    return ResidualEncoder(in_channels, (32, 64, 128, 256, 320), (1, 2, 2, 2, 2))


def large(in_channels: int = 1) -> ResidualEncoder:
    """Build six levels of one to six blocks, 32 to 320 channels: 90.4 million parameters."""
    return ResidualEncoder(in_channels, (32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6))
