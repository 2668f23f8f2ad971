"""Light heads that turn an encoder's deepest map into voxels; they are not kept."""

from math import prod

import torch
from einops import rearrange
from torch import Tensor, nn

from volseg.networks.encoder import FeatureSpec
from volseg.networks.vit import TransformerBlock, wave_positions
from volseg.types import Size

HEAD_WIDTH = 48
"""Channels of an attention head; six divides it, as the waves of the positions need."""


class LinearHead(nn.Module):
    """Predict the voxels of each deepest feature from that feature alone.

    A linear head is what SimMIM (Xie et al. 2022, https://arxiv.org/abs/2111.09886) found enough.

    Args:
        spec: What the encoder gives.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.stride = spec.strides[-1]
        self.project = nn.Conv3d(spec.channels[-1], spec.in_channels * prod(self.stride), 1)

    def forward(self, features: Tensor) -> Tensor:
        """Predict volumes.

        Args:
            features: The encoder's deepest map, ``(B, C, d, h, w)``.

        Returns:
            Volumes, ``(B, in_channels, D, H, W)``.
        """
        return spread_voxels(self.project(features), self.stride)


class TokenDecoder(nn.Module):
    """Predict hidden patches from visible tokens: the light decoder of a masked autoencoder.

    The idea is MAE's (He et al. 2022, https://arxiv.org/abs/2111.06377): hidden places hold one
    learned token, a small transformer mixes them with what the encoder saw. It is about half as
    wide as the encoder.

    Args:
        spec: What the encoder gives; tokens are those of its last map.
        depth: Transformer blocks.
    """

    def __init__(self, spec: FeatureSpec, depth: int = 2) -> None:
        super().__init__()
        self.stride = spec.strides[-1]
        heads = max(1, round(spec.channels[-1] / (2 * HEAD_WIDTH)))
        width = heads * HEAD_WIDTH
        self.project = nn.Linear(spec.channels[-1], width)
        self.token = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.token, std=0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(depth)))
        self.predict = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, spec.in_channels * prod(self.stride))
        )

    def forward(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Predict volumes.

        Args:
            features: Tokens, ``(B, C, d, h, w)``; those of hidden places are not read.
            hidden: `True` where a token is hidden, ``(B, d, h, w)``.

        Returns:
            Volumes, ``(B, in_channels, D, H, W)``.
        """
        depth, height, width = features.shape[2:]
        tokens = self.project(rearrange(features, "b c d h w -> b (d h w) c"))
        tokens = torch.where(hidden.flatten(1)[..., None], self.token.to(tokens.dtype), tokens)
        positions = wave_positions(tokens.shape[-1], (depth, height, width))
        tokens = tokens + positions.flatten(1).t().to(tokens)
        values = self.predict(self.blocks(tokens))
        cells = rearrange(values, "b (d h w) c -> b c d h w", d=depth, h=height, w=width)
        return spread_voxels(cells, self.stride)


def spread_voxels(values: Tensor, stride: Size) -> Tensor:
    """Lay the channels of each cell out as its voxels.

    Args:
        values: Values of each cell, ``(B, C * i * j * k, d, h, w)``: the image's channel slowest,
            then depth, height and width within the cell.
        stride: Voxels of a cell along each axis, ``(i, j, k)``.

    Returns:
        Volumes, ``(B, C, d * i, h * j, w * k)``.

    Examples:
        >>> spread_voxels(torch.arange(8).view(1, 4, 1, 1, 2), (1, 2, 2))[0, 0, 0]
        tensor([[0, 2, 1, 3],
                [4, 6, 5, 7]])
    """
    i, j, k = stride
    pattern = "b (c i j k) d h w -> b c (d i) (h j) (w k)"
    volumes: Tensor = rearrange(values, pattern, i=i, j=j, k=k)
    return volumes
