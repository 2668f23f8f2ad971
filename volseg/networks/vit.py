"""The plain vision transformer of UNETR (Hatamizadeh et al. 2022, arXiv:2103.10504).

A mask either drops the tokens of hidden voxels, so that only the visible ones are computed, as in
MAE (He et al. 2022, https://arxiv.org/abs/2111.06377), or replaces them by one learned vector, as
in SimMIM (Xie et al. 2022, https://arxiv.org/abs/2111.09886).

Departures from UNETR: positions start as sines and cosines and are interpolated to any grid, and
queries, keys and values have a bias.
"""

from collections.abc import Mapping
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.transforms.masking import BlockMask
from volseg.types import Size

NUM_STATES = 4
"""Hidden states that UNETR decodes: after each quarter of the blocks."""


class ViTEncoder(Encoder):
    """A transformer over patches, with four maps at the stride of the patch.

    Map i comes after ``(i + 1) / 4`` of the blocks; the last one is normalised. Under a mask that
    drops tokens the maps are zero at the hidden places.

    Args:
        in_channels: Channels of the input volume.
        size: Voxels along each axis for which the positions are learned; other sizes interpolate.
        patch: Voxels of a patch along each axis.
        width: Channels of a token.
        depth: Blocks, a multiple of 4.
        heads: Attention heads; they divide the width.
        mask_mode: ``drop`` or ``replace`` the tokens of hidden voxels.
        has_class_token: Whether a learned token takes part in the attention and stays out of the
            maps, as in masked autoencoders.

    Raises:
        GeometryError: If the depth is no multiple of 4, the heads do not divide the width, or the
            mask mode is neither of the two.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {"weight": "patches", "position": "positions"}

    def __init__(
        self,
        in_channels: int,
        size: Size,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        mask_mode: str = "drop",
        *,
        has_class_token: bool = False,
    ) -> None:
        super().__init__()
        if depth < NUM_STATES or depth % NUM_STATES or width % heads:
            raise GeometryError(
                f"depth {depth} and {heads} heads of {width} channels do not fit; use a depth that"
                f" is a multiple of {NUM_STATES} and heads that divide the width"
            )
        if mask_mode not in ("drop", "replace"):
            raise GeometryError(f"mask mode is {mask_mode!r}; use 'drop' or 'replace'")
        stride = (patch, patch, patch)
        self.spec = FeatureSpec(
            in_channels, (width,) * NUM_STATES, (stride,) * NUM_STATES, mask_mode, stride
        )
        depth_size, height_size, width_size = size
        self.require_divisible((depth_size, height_size, width_size))
        embedding = nn.Conv3d(in_channels, width, patch, patch)
        self.weight, self.bias = embedding.weight, embedding.bias
        grid = (depth_size // patch, height_size // patch, width_size // patch)
        # Five axes, or a network could not be put into torch.channels_last_3d.
        self.position = nn.Parameter(wave_positions(width, grid)[None])
        if mask_mode == "replace":
            self.mask_token = nn.Parameter(torch.empty(width))
            nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.class_token: nn.Parameter | None = None
        if has_class_token:
            self.class_token = nn.Parameter(torch.empty(width))
            nn.init.trunc_normal_(self.class_token, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: BlockMask | None = None) -> list[Tensor]:
        """Compute the feature maps of a batch of volumes.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of ``spec.divisor``.
            mask: Voxels whose tokens are dropped or replaced; `None` shows everything.

        Returns:
            Four maps, ``(B, width, D / patch, H / patch, W / patch)``; shallowest first.
        """
        depth, height, width = x.shape[2:]
        self.require_divisible((depth, height, width))
        patch = self.spec.divisor[0]
        grid = (depth // patch, height // patch, width // patch)
        patches = cut_patches(x, patch)
        position = self._positions(grid)
        hidden = None if mask is None else mask.to(self.spec.divisor).flatten(1)
        if hidden is not None and self.spec.mask_mode == "drop":
            return self._encode_visible(patches, position, hidden, grid)
        tokens = functional.linear(patches, self.weight.flatten(1), self.bias)
        if hidden is not None:
            token = self.mask_token.to(tokens.dtype)
            tokens = torch.where(hidden[..., None], token, tokens)
        return [_to_map(state, grid) for state in self._run(tokens + position)]

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once: the embedding, then a group a block, the norm in the last."""
        blocks = [list(block.parameters()) for block in self.blocks]
        blocks[-1] += list(self.norm.parameters())
        return [[p for p in self._parameters.values() if p is not None], *blocks]

    def _positions(self, grid: Size) -> Tensor:
        """Interpolate the positions to a grid, ``(tokens, C)``."""
        position: Tensor = self.position
        if tuple(position.shape[2:]) != grid:
            position = functional.interpolate(position, grid, mode="trilinear")
        return position[0].flatten(1).t()

    def _run(self, tokens: Tensor, seen: Tensor | None = None) -> list[Tensor]:
        """Run the blocks on tokens ``(B, n, C)`` and collect the hidden states."""
        states = []
        every = len(self.blocks) // NUM_STATES
        first = 0
        if self.class_token is not None:
            first = 1
            token = self.class_token.to(tokens.dtype).expand(len(tokens), 1, -1)
            tokens = torch.cat([token, tokens], dim=1)
            seen = None if seen is None else functional.pad(seen, (1, 0), value=True)
        for index, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, seen)
            if index % every == 0:
                states.append(tokens[:, first:])
        return [*states[:-1], self.norm(states[-1])]

    def _encode_visible(
        self, patches: Tensor, position: Tensor, hidden: Tensor, grid: Size
    ) -> list[Tensor]:
        """Compute the visible tokens alone, as many a case as the case with most has.

        A case with fewer is filled up with hidden tokens, which nothing attends to.
        """
        counts = (~hidden).sum(1)
        fewest, most = (int(count) for count in counts.aminmax())
        if fewest == 0:
            raise GeometryError("the mask hides a whole case; leave at least one token visible")
        index = hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        places = index[..., None]
        chosen = patches.gather(1, places.expand(-1, -1, patches.shape[-1]))
        tokens = functional.linear(chosen, self.weight.flatten(1), self.bias) + position[index]
        is_seen = torch.arange(most, device=counts.device) < counts[:, None]
        seen = None if fewest == most else is_seen[:, None, None, :]
        states = self._run(tokens, seen)
        wide = places.expand(-1, -1, position.shape[-1])
        filled = [state.masked_fill(~is_seen[..., None], 0) for state in states]
        shape = (len(patches), prod(grid), position.shape[-1])
        return [_to_map(s.new_zeros(shape).scatter(1, wide, s), grid) for s in filled]


class TransformerBlock(nn.Module):
    """Attention over all tokens and a perceptron, each after a LayerNorm and beside a shortcut.

    Args:
        width: Channels of a token.
        heads: Attention heads; they divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """Transform tokens.

        Args:
            tokens: Tokens, ``(B, n, C)``.
            seen: `True` for the tokens that may be attended to, ``(B, 1, 1, n)``; `None`: all.

        Returns:
            Tokens, ``(B, n, C)``.
        """
        batch, count, _ = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(batch, count, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, seen)
        tokens = tokens + self.project(mixed.transpose(1, 2).flatten(2))
        transformed: Tensor = tokens + self.perceptron(self.norm2(tokens))
        return transformed


def cut_patches(x: Tensor, patch: int) -> Tensor:
    """Cut volumes into the values of their patches.

    Args:
        x: Volumes, ``(B, C, D, H, W)``; each size a multiple of ``patch``.
        patch: Voxels of a patch along each axis.

    Returns:
        Values, channel slowest, ``(B, tokens, C * patch**3)``; last axis fastest in the tokens.

    Examples:
        >>> cut_patches(torch.arange(16).view(1, 1, 2, 2, 4), 2)[0, 1].tolist()
        [2, 3, 6, 7, 10, 11, 14, 15]
    """
    batch, channels, *size = x.shape
    split = [part for length in size for part in (length // patch, patch)]
    blocks = x.reshape(batch, channels, *split).permute(0, 2, 4, 6, 1, 3, 5, 7)
    patches: Tensor = blocks.flatten(4).flatten(1, 3)
    return patches


def wave_positions(width: int, grid: Size) -> Tensor:
    """Make position vectors of sines and cosines, a third of the channels an axis.

    The wavelengths are those of the Transformer (Vaswani et al. 2017, arXiv:1706.03762), from
    2 pi to 10000 * 2 pi tokens; channels that six does not divide stay zero.

    Args:
        width: Channels of a token.
        grid: Tokens along each axis.

    Returns:
        Position vectors, ``(width, d, h, w)``.
    """
    waves = width // 6
    rates = 10000 ** -(torch.arange(waves) / max(waves, 1))
    table = torch.zeros(width, *grid)
    for axis, length in enumerate(grid):
        angles = rates[:, None] * torch.arange(length)
        shape = [2 * waves, 1, 1, 1]
        shape[axis + 1] = length
        rows = slice(axis * 2 * waves, (axis + 1) * 2 * waves)
        table[rows] = torch.cat([angles.sin(), angles.cos()]).view(shape)
    return table


def _to_map(tokens: Tensor, grid: Size) -> Tensor:
    batch, _, width = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, width, *grid)


def tiny(
    in_channels: int = 1, size: Size = (96, 96, 96), patch: int = 16, mask_mode: str = "drop"
) -> ViTEncoder:
    """Build 4 blocks of 96 channels: 0.86 million parameters."""
    return ViTEncoder(in_channels, size, patch, 96, 4, 3, mask_mode)


def small(
    in_channels: int = 1, size: Size = (96, 96, 96), patch: int = 16, mask_mode: str = "drop"
) -> ViTEncoder:
    """Build 8 blocks of 384 channels: 15.9 million parameters."""
    return ViTEncoder(in_channels, size, patch, 384, 8, 6, mask_mode)


def base(
    in_channels: int = 1, size: Size = (96, 96, 96), patch: int = 16, mask_mode: str = "drop"
) -> ViTEncoder:
    """Build 12 blocks of 768 channels, UNETR's: 88.4 million parameters."""
    return ViTEncoder(in_channels, size, patch, 768, 12, 12, mask_mode)


def large(
    in_channels: int = 1, size: Size = (96, 96, 96), patch: int = 16, mask_mode: str = "drop"
) -> ViTEncoder:
    """Build 24 blocks of 1024 channels: 306.7 million parameters."""
    return ViTEncoder(in_channels, size, patch, 1024, 24, 16, mask_mode)
