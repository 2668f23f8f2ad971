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
from volseg.networks.swin_block import SwinBlock
from volseg.transforms.masking import BlockMask
from volseg.types import Size

PATCH: Size = (2, 2, 2)

MERGE_ORDERS = {
    "v2": (0, 1, 2, 3, 4, 5, 6, 7),
    "monai_1_5": (0, 4, 2, 1, 6, 5, 3, 7),
    "monai_before_1_5": (0, 4, 2, 1, 5, 2, 1, 7),
    "smit": (0, 4, 2, 1, 6, 3, 5, 7),
}
"""In which order public code joins the eight tokens of a merge.

An octant's number is ``4 d + 2 h + w`` of its token. MONAI's default before version 1.5 takes two
octants twice and leaves two out, so that no other order can hold its weights.
"""


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
        windows: How a grid is cut that the window does not divide: ``equal``, or as public code
            does, ``clamped`` or ``scattered``, see `volseg.networks.swin_padded`.
        merge_order: The order in which the eight tokens of a merge are joined, one of
            `MERGE_ORDERS`: ``v2`` has the last axis fastest.
        is_embedding_normalised: Whether a LayerNorm follows the patch embedding.

    Raises:
        GeometryError: If depths and heads do not agree in number, or an order or a way to cut is
            not known.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 6,
        windows: str = "equal",
        merge_order: str = "v2",
        *,
        is_embedding_normalised: bool = False,
    ) -> None:
        super().__init__()
        if merge_order not in MERGE_ORDERS:
            raise GeometryError(f"merge order is {merge_order!r}; use one of {list(MERGE_ORDERS)}")
        self.merge_order = merge_order
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
        self.embedding = TokenEmbedding(in_channels, width, is_normalised=is_embedding_normalised)
        self.stages = nn.ModuleList(
            SwinStage(width * 2**i, depth, count, window, windows, merge_order)
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
        is_normalised: Whether a LayerNorm follows.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {"weight": "channels"}

    def __init__(self, in_channels: int, width: int, *, is_normalised: bool = False) -> None:
        super().__init__()
        patch = nn.Conv3d(in_channels, width, PATCH, PATCH)
        self.weight, self.bias = patch.weight, patch.bias
        self.norm = nn.LayerNorm(width) if is_normalised else nn.Identity()
        self.mask_token = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: Tensor, mask: BlockMask | None = None) -> Tensor:
        """Embed ``(B, C, D, H, W)`` as grids of tokens, ``(B, D / 2, H / 2, W / 2, width)``."""
        batch, channels, depth, height, width = x.shape
        grid = (depth // 2, height // 2, width // 2)
        patches = x.view(batch, channels, grid[0], 2, grid[1], 2, grid[2], 2)
        rows = patches.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, *grid, channels * 8)
        tokens: Tensor = self.norm(functional.linear(rows, self.weight.flatten(1), self.bias))
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
        windows: How a grid is cut that the window does not divide.
        merge_order: One of `MERGE_ORDERS`.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        window: int,
        windows: str = "equal",
        merge_order: str = "v2",
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, windows, is_shifted=index % 2 == 1)
            for index in range(depth)
        )
        self.merge = PatchMerging(width, merge_order)

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
        order: One of `MERGE_ORDERS`.
    """

    def __init__(self, width: int, order: str = "v2") -> None:
        super().__init__()
        self.order = order
        self.norm = nn.LayerNorm(8 * width)
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Merge ``(B, D, H, W, C)`` into ``(B, D / 2, H / 2, W / 2, 2 C)``."""
        batch, depth, height, width, channels = tokens.shape
        octants = tokens.view(batch, depth // 2, 2, height // 2, 2, width // 2, 2, channels)
        joined = octants.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6)
        if self.order != "v2":
            joined = joined[..., MERGE_ORDERS[self.order], :]
        reduced: Tensor = self.reduction(self.norm(joined.flatten(4)))
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
