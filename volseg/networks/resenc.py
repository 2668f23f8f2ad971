"""The residual encoder of nnU-Net, as its public weights need it.

It is the ``ResidualEncoder`` of dynamic-network-architectures with blocks of ResNet-D (He et al.
2019, https://arxiv.org/abs/1812.01187), in the sizes of nnU-Net Revisited (Isensee et al. 2024,
https://arxiv.org/abs/2404.09556): a convolution before the first level, and shortcuts that shrink
by averaging. `volseg.networks.residual` has neither; take that one where no weights of this kind
are to be loaded.

Departure: convolutions have no bias. Each is followed by an instance normalisation, which takes
any bias off again, so that the maps are the same.
"""

from collections.abc import Mapping
from itertools import accumulate
from math import prod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.networks.residual import fill_hidden
from volseg.transforms.masking import BlockMask
from volseg.types import Size

SLOPE = 0.01
"""Slope of the rectifier below zero."""


class ResEncEncoder(Encoder):
    """A pyramid of residual convolutions after a stem.

    A mask fills hidden voxels with the mean of the visible voxels of the same channel and case.

    Args:
        in_channels: Channels of the input volume.
        widths: Channels of each level, finest first; the stem has those of the first.
        blocks: Residual blocks of each level.
        downsampling: Factor by which each level after the first shrinks the grid, one triple a
            level; `None`: two along each axis.
        kernels: Voxels of the convolutions along each axis, one triple a level; `None`: three.

    Raises:
        GeometryError: If the levels do not agree in number.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {"stem.conv.weight": "channels"}

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        downsampling: tuple[Size, ...] | None = None,
        kernels: tuple[Size, ...] | None = None,
    ) -> None:
        super().__init__()
        levels = len(widths)
        steps = [(2, 2, 2)] * (levels - 1) if downsampling is None else list(downsampling)
        sizes: list[Size] = [(3, 3, 3)] * levels
        if kernels is not None:
            sizes = [(int(a), int(b), int(c)) for a, b, c in kernels]
        if not levels == len(blocks) == len(steps) + 1 == len(sizes):
            raise GeometryError(
                f"{levels} widths, {len(blocks)} block counts, {len(steps)} downsampling steps and"
                f" {len(sizes)} kernels do not fit; give one of each a level, one step fewer"
            )
        every: list[Size] = [(1, 1, 1), *((int(a), int(b), int(c)) for a, b, c in steps)]
        strides = list(accumulate(every, _multiply))
        self.spec = FeatureSpec(in_channels, tuple(widths), tuple(strides), "fill", strides[-1])
        self.stem = NormalisedConvolution(in_channels, widths[0], sizes[0])
        inputs = [widths[0], *widths[:-1]]
        self.levels = nn.ModuleList(
            _level(*parts) for parts in zip(inputs, widths, every, sizes, blocks, strict=True)
        )

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
        x = functional.leaky_relu(self.stem(x), SLOPE)
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
        """List every parameter once: the stem, then a group a level, finest first."""
        return [list(part.parameters()) for part in (self.stem, *self.levels)]


class NormalisedConvolution(nn.Module):
    """A convolution without bias, then instance normalisation with a learned scale and shift.

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
        kernel: Voxels of the convolution along each axis, odd numbers.
        step: Factor by which the grid shrinks along each axis.
    """

    def __init__(self, in_channels: int, width: int, kernel: Size, step: Size = (1, 1, 1)) -> None:
        super().__init__()
        first, second, third = (length // 2 for length in kernel)
        margin = (first, second, third)
        self.conv = nn.Conv3d(in_channels, width, kernel, step, margin, bias=False)
        self.norm = nn.GroupNorm(width, width)  # the same as InstanceNorm3d, and faster on a CPU

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(B, C, D, H, W)``."""
        normalised: Tensor = self.norm(self.conv(x))
        return normalised


class ResNetBlock(nn.Module):
    """Two convolutions beside a shortcut that averages where the grid shrinks.

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
        step: Factor by which the grid shrinks along each axis.
        kernel: Voxels of the convolutions along each axis.
    """

    def __init__(self, in_channels: int, width: int, step: Size, kernel: Size) -> None:
        super().__init__()
        self.conv1 = NormalisedConvolution(in_channels, width, kernel, step)
        self.conv2 = NormalisedConvolution(width, width, kernel)
        self.pool = nn.AvgPool3d(step, step) if prod(step) > 1 else nn.Identity()
        one = (1, 1, 1)
        self.shortcut = (
            NormalisedConvolution(in_channels, width, one)
            if in_channels != width
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(B, C, D, H, W)``."""
        inner = self.conv2(functional.leaky_relu(self.conv1(x), SLOPE))
        return functional.leaky_relu(inner + self.shortcut(self.pool(x)), SLOPE)


def _multiply(stride: Size, step: Size) -> Size:
    return (stride[0] * step[0], stride[1] * step[1], stride[2] * step[2])


def _level(in_channels: int, width: int, step: Size, kernel: Size, blocks: int) -> nn.Sequential:
    first = ResNetBlock(in_channels, width, step, kernel)
    others = [ResNetBlock(width, width, (1, 1, 1), kernel) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)


def large(in_channels: int = 1) -> ResEncEncoder:
    """Build six levels of one to six blocks, OpenMind's ResEnc-L: 90.3 million parameters."""
    return ResEncEncoder(in_channels, (32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6))
