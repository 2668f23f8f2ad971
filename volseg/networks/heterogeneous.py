"""An autoencoder of two kinds of layers, for what normal volumes do not look like.

After Lu et al. 2024, Hetero-AE (IEEE TIP 33): encoder and decoder of different kinds cannot easily
learn to copy, and features of several stages are compared instead of voxels. Here convolutions
encode and decode, and a transformer stands between them; the plain control has convolutions there,
too. There is no way around the bottleneck. The decoder gives the volume and the encoder's features
of each finer stage. Departures: no pretrained encoder, the transformer is in the bottleneck and
dense, and both kinds of comparison come from one network, so that they can be told apart.

Batch normalisation is meant: instance normalisation would take out of each crop the very contrast
that an anomaly is seen by.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.vit import TransformerBlock, wave_positions

SLOPE = 0.1
"""Below zero: with none, a place may have no feature at all, and no direction to compare."""

BOTTLENECKS = ("transformer", "convolution")


class Reconstruction(NamedTuple):
    """What the decoder says, and what the encoder had said.

    Args:
        volume: The volume, ``(B, 1, D, H, W)``.
        features: The decoder's features of each stage but the deepest, finest first.
        targets: The encoder's of the same stages.
    """

    volume: Tensor
    features: list[Tensor]
    targets: list[Tensor]


class HeterogeneousAutoencoder(nn.Module):
    """Convolutions, a bottleneck of another kind, convolutions.

    Args:
        widths: Channels of each stage; each halves the grid, the first one, too.
        bottleneck: ``transformer`` or ``convolution``, the plain control.
        blocks: Transformer blocks, or pairs of convolutions.
        heads: Attention heads; they divide the deepest width.

    Raises:
        GeometryError: If the bottleneck is neither, or the heads do not divide its width.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64),
        bottleneck: str = "transformer",
        blocks: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if bottleneck not in BOTTLENECKS or widths[-1] % heads:
            raise GeometryError(
                f"bottleneck is {bottleneck!r} with {heads} heads of {widths[-1]} channels; use"
                f" {' or '.join(BOTTLENECKS)}, and heads that divide the width"
            )
        self.divisor = 2 ** len(widths)
        self.encoder = nn.ModuleList(_down(*pair) for pair in pairwise([1, *widths]))
        self.bottleneck = (
            _Transformer(widths[-1], blocks, heads)
            if bottleneck == "transformer"
            else nn.Sequential(*(_convolutions(widths[-1], widths[-1]) for _ in range(blocks)))
        )
        upward = list(reversed(widths))
        self.decoder = nn.ModuleList(_convolutions(*pair) for pair in pairwise(upward))
        self.rebuild = nn.ModuleList(nn.Conv3d(width, width, 1) for width in upward[1:])
        self.volume = nn.Sequential(
            _convolutions(widths[0], widths[0]), nn.Conv3d(widths[0], 1, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Reconstruction:
        """Encode and decode a batch.

        Args:
            x: Volumes, ``(B, 1, D, H, W)``; each size a multiple of ``divisor``.

        Returns:
            The volume and the features that were rebuilt.

        Raises:
            GeometryError: If a size is no multiple of ``divisor``.
        """
        if any(size % self.divisor for size in x.shape[2:]):
            raise GeometryError(
                f"size {tuple(x.shape[2:])} is not a multiple of {self.divisor}; pad it"
            )
        encoded = []
        for stage in self.encoder:
            x = stage(x)
            encoded.append(x)
        x = self.bottleneck(x)
        features = []
        for stage, head in zip(self.decoder, self.rebuild, strict=True):
            x = stage(_twice(x))
            features.insert(0, head(x))
        return Reconstruction(self.volume(_twice(x)), features, encoded[:-1])


def reconstruction_loss(found: Reconstruction, x: Tensor, alpha: float = 0.7) -> Tensor:
    """Ask for the volume and for the encoder's features, whose gradient is stopped.

    Args:
        found: What the network gave.
        x: The volumes, ``(B, 1, D, H, W)``.
        alpha: Weight of the angle between features; the rest is that of their distance.

    Returns:
        The loss.
    """
    loss = functional.l1_loss(found.volume, x)
    for feature, target in zip(found.features, found.targets, strict=True):
        fixed = target.detach()
        angle = 1 - functional.cosine_similarity(feature, fixed, dim=1).mean()
        loss = loss + alpha * angle + (1 - alpha) * functional.mse_loss(feature, fixed)
    return loss


def anomaly_maps(network: HeterogeneousAutoencoder, x: Tensor) -> Tensor:
    """Tell where a volume is not what the network expects.

    Args:
        network: The network, in evaluation mode.
        x: Volumes, ``(B, 1, D, H, W)``.

    Returns:
        Two maps, ``(B, 2, D, H, W)``: the size of the voxels' residual, and the sum over stages of
        one minus the cosine between features that were expected and found.
    """
    found = network(x)
    residual = (found.volume - x).abs()
    total = torch.zeros_like(residual)
    for feature, target in zip(found.features, found.targets, strict=True):
        angle = 1 - functional.cosine_similarity(feature, target, dim=1)[:, None]
        total = total + functional.interpolate(
            angle, x.shape[2:], mode="trilinear", align_corners=False
        )
    return torch.cat([residual, total], dim=1)


class _Transformer(nn.Module):
    """Attention between all places of a feature map."""

    def __init__(self, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Let every place look at every other."""
        depth, height, width = x.shape[2:]
        place = wave_positions(x.shape[1], (depth, height, width)).to(x)
        tokens = (x + place).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens).transpose(1, 2).reshape(x.shape)
        return found


def _down(inputs: int, width: int) -> nn.Sequential:
    halved = nn.Conv3d(inputs, width, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(
        halved, nn.BatchNorm3d(width), nn.LeakyReLU(SLOPE), _convolutions(width, width)
    )


def _convolutions(inputs: int, width: int) -> nn.Sequential:
    convolution = nn.Conv3d(inputs, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(width), nn.LeakyReLU(SLOPE))


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)
