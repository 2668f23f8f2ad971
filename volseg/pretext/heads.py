"""Light heads that turn an encoder's deepest features into voxels, for pretraining only."""

from math import prod

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from volseg.networks.encoder import FeatureSpec


class LinearHead(nn.Sequential):
    """Predict the voxels of each deepest feature from that feature alone.

    A linear head is what SimMIM (Xie et al. 2022, https://arxiv.org/abs/2111.09886) found enough.

    Args:
        spec: What the encoder gives.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        """Build the layers."""
        depth, height, width = spec.strides[-1]
        voxels = spec.in_channels * prod(spec.strides[-1])
        super().__init__(
            nn.Conv3d(spec.channels[-1], voxels, kernel_size=1),
            Rearrange("b (c i j k) d h w -> b c (d i) (h j) (w k)", i=depth, j=height, k=width),
        )


class TokenDecoder(nn.Module):
    """Predict hidden patches from visible tokens: the light decoder of a masked autoencoder.

    The idea is MAE's (He et al. 2022, https://arxiv.org/abs/2111.06377): hidden places hold one
    learned token, a small transformer mixes them with what the encoder saw.

    Args:
        spec: What the encoder gives; tokens are those of its last map.
        width: Channels within the decoder, a multiple of six times the heads.
        depth: Transformer blocks.
        heads: Attention heads.
    """

    def __init__(self, spec: FeatureSpec, width: int = 384, depth: int = 2, heads: int = 8) -> None:
        """Build the layers."""
        super().__init__()
        self.project = nn.Linear(spec.channels[-1], width)
        self.token = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.token, std=0.02)
        block = nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            block, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.stride = spec.strides[-1]
        self.predict = nn.Linear(width, spec.in_channels * prod(self.stride))

    def forward(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Predict every patch.

        Args:
            features: Tokens, ``(B, C, d, h, w)``; those of hidden places are not read.
            hidden: `True` where a token is hidden, ``(B, d, h, w)``.

        Returns:
            Voxels, ``(B, C, D, H, W)``.
        """
        size = tuple(hidden.shape[1:])
        tokens = self.project(features.movedim(1, -1).flatten(1, 3))
        tokens = torch.where(hidden.flatten(1)[..., None], self.token.to(tokens.dtype), tokens)
        positions = sine_positions(size, tokens.shape[-1]).to(tokens)
        patches = self.predict(self.blocks(tokens + positions))
        shape = dict(zip("dhwijk", (*size, *self.stride), strict=True))
        return rearrange(patches, "b (d h w) (c i j k) -> b c (d i) (h j) (w k)", **shape)


def sine_positions(size: tuple[int, ...], width: int) -> Tensor:
    """Encode the places of a grid by sines and cosines, a third of the channels an axis.

    Args:
        size: Cells along each axis.
        width: Channels, a multiple of six.

    Returns:
        Encodings, ``(cells, width)``.
    """
    count = width // 6
    rates = 1e4 ** (-torch.arange(count) / count)
    grids = torch.meshgrid(*(torch.arange(cells) for cells in size), indexing="ij")
    angles = [grid.flatten()[:, None] * rates for grid in grids]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
