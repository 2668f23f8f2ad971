"""The transformer of Primus (Wald et al. 2025, https://arxiv.org/abs/2503.01835), for its weights.

It differs from `volseg.networks.vit` in what EVA-02 brought (Fang et al. 2023,
https://arxiv.org/abs/2303.11331): queries and keys are rotated by their positions along the three
axes (Su et al. 2021, https://arxiv.org/abs/2104.09864), the perceptron is gated, its hidden layer
and the output of the attention are normalised, and both branches are scaled channel by channel.

Departures: maps after each quarter of the blocks, as our ViT has them, and positions that are
interpolated to any grid, while rotations count tokens on it.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.networks.vit import NUM_STATES, cut_patches
from volseg.transforms.masking import BlockMask
from volseg.types import Size


class PrimusEncoder(Encoder):
    """A transformer over patches with rotary positions, with four maps at the stride of the patch.

    A mask replaces the tokens of hidden voxels by one learned vector.

    Args:
        in_channels: Channels of the input volume.
        size: Voxels along each axis for which the positions are learned; other sizes interpolate.
        patch: Voxels of a patch along each axis.
        width: Channels of a token, six times a multiple of the heads.
        depth: Blocks, a multiple of 4.
        heads: Attention heads.
        hidden: Channels within a perceptron; `None`: eight thirds of the width.

    Raises:
        GeometryError: If the depth is no multiple of 4, or the heads do not fit the width.
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
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if depth < NUM_STATES or depth % NUM_STATES or width % (6 * heads):
            raise GeometryError(
                f"depth {depth} and {heads} heads of {width} channels do not fit; use a depth that"
                f" is a multiple of {NUM_STATES} and a width that is one of 6 times the heads"
            )
        stride = (patch, patch, patch)
        self.spec = FeatureSpec(
            in_channels, (width,) * NUM_STATES, (stride,) * NUM_STATES, "replace", stride
        )
        depth_size, height_size, width_size = size
        self.require_divisible((depth_size, height_size, width_size))
        grid = (depth_size // patch, height_size // patch, width_size // patch)
        embedding = nn.Conv3d(in_channels, width, patch, patch)
        self.weight, self.bias = embedding.weight, embedding.bias
        # Five axes, or a network could not be put into torch.channels_last_3d.
        self.position = nn.Parameter(torch.empty(1, width, *grid))
        self.mask_token = nn.Parameter(torch.empty(width))
        for parameter in (self.position, self.mask_token):
            nn.init.trunc_normal_(parameter, std=0.02)
        self.head_width = width // heads
        hidden = width * 8 // 3 if hidden is None else hidden
        self.blocks = nn.ModuleList(PrimusBlock(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: BlockMask | None = None) -> list[Tensor]:
        """Compute the feature maps of a batch of volumes.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of ``spec.divisor``.
            mask: Voxels whose tokens are replaced; `None` shows everything.

        Returns:
            Four maps, ``(B, width, D / patch, H / patch, W / patch)``; shallowest first.
        """
        depth, height, width = x.shape[2:]
        self.require_divisible((depth, height, width))
        patch = self.spec.divisor[0]
        grid = (depth // patch, height // patch, width // patch)
        tokens = functional.linear(cut_patches(x, patch), self.weight.flatten(1), self.bias)
        if mask is not None:
            hidden = mask.to(self.spec.divisor).flatten(1)[..., None]
            tokens = torch.where(hidden, self.mask_token.to(tokens.dtype), tokens)
        position: Tensor = self.position
        if tuple(position.shape[2:]) != grid:
            position = functional.interpolate(position, grid, mode="trilinear")
        tokens = tokens + position[0].flatten(1).t()
        turns = rotary_angles(grid, self.head_width, x.device)
        maps = []
        for index, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, turns)
            if index * NUM_STATES % len(self.blocks) == 0:
                state = self.norm(tokens) if index == len(self.blocks) else tokens
                maps.append(state.transpose(1, 2).reshape(len(x), -1, *grid))
        return maps

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once: the embedding, then a group a block, the norm in the last."""
        blocks = [list(block.parameters()) for block in self.blocks]
        blocks[-1] += list(self.norm.parameters())
        return [[p for p in self._parameters.values() if p is not None], *blocks]


class PrimusBlock(nn.Module):
    """Rotated attention and a gated perceptron, each after a LayerNorm and beside a shortcut.

    Args:
        width: Channels of a token.
        heads: Attention heads.
        hidden: Channels within the perceptron.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.inner_norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.scale1 = nn.Parameter(torch.full((width,), 0.1))
        self.norm2 = nn.LayerNorm(width)
        self.gate, self.expand = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.hidden_norm = nn.LayerNorm(hidden)
        self.shrink = nn.Linear(hidden, width)
        self.scale2 = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, tokens: Tensor, turns: Tensor) -> Tensor:
        """Transform tokens.

        Args:
            tokens: Tokens, ``(B, n, C)``.
            turns: Sine and cosine of each token's angles, ``(2, n, C / heads)``.

        Returns:
            Tokens, ``(B, n, C)``.
        """
        normed = self.norm1(tokens)
        query, key, value = (
            layer(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        query, key = (rotate(part, turns).to(value.dtype) for part in (query, key))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = self.project(self.inner_norm(mixed.transpose(1, 2).flatten(2)))
        tokens = tokens + self.scale1 * mixed
        normed = self.norm2(tokens)
        inner = functional.silu(self.gate(normed)) * self.expand(normed)
        transformed: Tensor = tokens + self.scale2 * self.shrink(self.hidden_norm(inner))
        return transformed


def rotary_angles(grid: Size, width: int, device: torch.device) -> Tensor:
    """Give sine and cosine by which each token's pairs of channels are turned.

    Args:
        grid: Tokens along each axis.
        width: Channels of a head, a multiple of 6; a third of them turns along each axis.
        device: Where they shall lie.

    Returns:
        Sine and cosine, ``(2, tokens, width)``, each twice in a row.

    Examples:
        >>> rotary_angles((1, 1, 2), 6, torch.device("cpu"))[0, 1]
        tensor([0.0000, 0.0000, 0.0000, 0.0000, 0.8415, 0.8415])
    """
    rates = 10000 ** -(torch.arange(width // 6, device=device) / (width // 6))
    axes = torch.meshgrid(*(torch.arange(n, device=device) for n in grid), indexing="ij")
    angles = torch.cat([axis.flatten()[:, None] * rates for axis in axes], dim=1)
    return torch.stack([angles.sin(), angles.cos()]).repeat_interleave(2, dim=-1)


def rotate(rows: Tensor, turns: Tensor) -> Tensor:
    """Turn pairs of channels by the angles of `rotary_angles`.

    Args:
        rows: Queries or keys, ``(B, heads, n, width)``.
        turns: Sine and cosine, ``(2, n, width)``.

    Returns:
        Turned rows.
    """
    sine, cosine = turns
    crossed = torch.stack([-rows[..., 1::2], rows[..., ::2]], dim=-1).flatten(-2)
    turned: Tensor = rows * cosine + crossed * sine
    return turned


def medium(in_channels: int = 1, size: Size = (160, 160, 160)) -> PrimusEncoder:
    """Build 16 blocks of 864 channels, Primus-M's: 151.0 million parameters."""
    return PrimusEncoder(in_channels, size, 8, 864, 16, 12)
