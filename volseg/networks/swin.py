"""The Swin encoder of UNetFormer (Hatamizadeh et al. 2022, https://arxiv.org/abs/2204.00631).

Patches of two voxels, then stages of shifted-window attention, each ended by a merge of 2x2x2
tokens. A mask replaces the tokens of hidden voxels by one learned vector, since windows and
merging need the whole grid. Every map is normalised over its channels, as Swin UNETR's are.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.networks.swin_attention import SwinBlock
from volseg.transforms.masking import BlockMask
from volseg.types import Size

PATCH: Size = (2, 2, 2)


class SwinEncoder(Encoder):
    """A pyramid of shifted-window transformers.

    Map 0 is the patch embedding at stride 2; map i comes after stage i and its merge, at stride
    ``2 ** (i + 1)`` with ``width * 2 ** i`` channels. The grid may have any size that the strides
    divide, whatever the window.

    Args:
        in_channels: Channels of the input volume.
        width: Channels of the patch embedding.
        depths: Blocks of each stage; every second one is shifted.
        heads: Attention heads of each stage.
        window: Tokens of a window along each axis, at most.

    Attributes:
        merge_order: The order in which the eight tokens of a merge are joined: ``v2``, the last
            axis fastest. Public code has others, with weights of equal shape.

    Raises:
        GeometryError: If depths and heads do not agree in number.
    """

    merge_order: ClassVar[str] = "v2"

    def __init__(
        self,
        in_channels: int,
        width: int,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 6,
    ) -> None:
        super().__init__()
        if len(depths) != len(heads) or not depths:
            raise GeometryError(
                f"{len(depths)} depths and {len(heads)} head counts do not fit; give one of each"
                " a stage"
            )
        levels = range(len(depths) + 1)
        strides = tuple((2 ** (i + 1),) * 3 for i in levels)
        self.spec = FeatureSpec(
            in_channels, tuple(width * 2**i for i in levels), strides, "replace", strides[-1]
        )
        self.embedding = TokenEmbedding(in_channels, width)
        self.stages = nn.ModuleList(
            SwinStage(width * 2**i, depth, count, window)
            for i, (depth, count) in enumerate(zip(depths, heads, strict=True))
        )

    def forward(self, x: Tensor, mask: BlockMask | None = None) -> list[Tensor]:
        """Compute the feature maps of a batch of volumes.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of ``spec.divisor``.
            mask: Voxels whose tokens are replaced; `None` shows everything.

        Returns:
            One map a level, finest first, ``(B, C_i, D / s_i, H / s_i, W / s_i)``.
        """
        depth, height, width = x.shape[2:]
        self.require_divisible((depth, height, width))
        tokens = self.embedding(x, mask)
        maps = [_normalised_map(tokens)]
        for stage in self.stages:
            tokens = stage(tokens)
            maps.append(_normalised_map(tokens))
        return maps

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once: the embedding, then a group a stage."""
        return [list(part.parameters()) for part in (self.embedding, *self.stages)]


class TokenEmbedding(nn.Module):
    """A linear map from patches of 2x2x2 voxels to tokens, and the token of hidden ones.

    Args:
        in_channels: Channels of the input volume.
        width: Channels of a token; the kernel is ``(width, in_channels, 2, 2, 2)``.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {"weight": "channels"}

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        patch = nn.Conv3d(in_channels, width, PATCH, PATCH)
        self.weight, self.bias = patch.weight, patch.bias
        self.mask_token = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: Tensor, mask: BlockMask | None = None) -> Tensor:
        """Embed ``(B, C, D, H, W)`` as grids of tokens, ``(B, D / 2, H / 2, W / 2, width)``."""
        batch, channels, depth, height, width = x.shape
        grid = (depth // 2, height // 2, width // 2)
        patches = x.view(batch, channels, grid[0], 2, grid[1], 2, grid[2], 2)
        rows = patches.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, *grid, channels * 8)
        tokens = functional.linear(rows, self.weight.flatten(1), self.bias)
        if mask is None:
            return tokens
        hidden = mask.to(PATCH)[..., None]
        return torch.where(hidden, self.mask_token.to(tokens.dtype), tokens)


class SwinStage(nn.Module):
    """Blocks at one resolution and the merge to the next.

    Args:
        width: Channels of a token; the merge doubles them.
        depth: Blocks; every second one is shifted.
        heads: Attention heads.
        window: Tokens of a window along each axis, at most.
    """

    def __init__(self, width: int, depth: int, heads: int, window: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, is_shifted=index % 2 == 1) for index in range(depth)
        )
        self.merge = PatchMerging(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform ``(B, D, H, W, C)`` into ``(B, D / 2, H / 2, W / 2, 2 C)``."""
        for block in self.blocks:
            tokens = block(tokens)
        merged: Tensor = self.merge(tokens)
        return merged


class PatchMerging(nn.Module):
    """Join 2x2x2 tokens into one of twice the channels.

    Args:
        width: Channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * width)
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Merge ``(B, D, H, W, C)`` into ``(B, D / 2, H / 2, W / 2, 2 C)``."""
        batch, depth, height, width, channels = tokens.shape
        octants = tokens.view(batch, depth // 2, 2, height // 2, 2, width // 2, 2, channels)
        joined = octants.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)
        reduced: Tensor = self.reduction(self.norm(joined))
        return reduced


def _normalised_map(tokens: Tensor) -> Tensor:
    """Normalise tokens ``(B, D, H, W, C)`` and put their channels first."""
    normalised = functional.layer_norm(tokens, tokens.shape[-1:])
    return normalised.movedim(-1, 1).contiguous()


def tiny(in_channels: int = 1) -> SwinEncoder:
    """Build three stages of two blocks, 16 to 128 channels: 0.23 million parameters."""
    return SwinEncoder(in_channels, 16, (2, 2, 2), (2, 4, 8), window=4)


def small(in_channels: int = 1) -> SwinEncoder:
    """Build four stages of two blocks, 24 to 384 channels: 2.1 million parameters."""
    return SwinEncoder(in_channels, 24)


def base(in_channels: int = 1) -> SwinEncoder:
    """Build four stages of two blocks, 48 to 768 channels, Swin UNETR's: 8.0 million parameters."""
    return SwinEncoder(in_channels, 48)


def large(in_channels: int = 1) -> SwinEncoder:
    """Build four stages of two to six blocks, 96 to 1536 channels: 38.9 million parameters."""
    return SwinEncoder(in_channels, 96, (2, 2, 6, 2), (6, 12, 24, 48))
