"""Networks that rebuild an encoder's finer maps from its deepest one.

After Hetero-AE (Lu et al. 2024, IEEE TIP 33): an encoder of convolutions and a partner that is half
a transformer, so that the two cannot easily agree on copying. Its attention is sparse: every
position asks, patches answer. The public re-implementations of it disagree in detail; ours follows
their common idea, in 3D and for any pyramid.
"""

from abc import ABC
from itertools import pairwise

import torch
from einops import rearrange
from monai.networks.blocks import UnetResBlock
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.encoder import FeatureSpec
from volseg.networks.residual import instance_norm

HEAD_WIDTH = 16
"""Channels of an attention head, as far as the width allows."""


class Partner(nn.Module, ABC):
    """Rebuilds every map of a pyramid but the deepest, from the deepest.

    Args:
        spec: What the encoder gives.
        steps: One network a step, deepest first, from one map's channels to the next finer one's.
    """

    def __init__(self, spec: FeatureSpec, steps: list[nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        self.steps = nn.ModuleList(steps)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Rebuild ``features[:-1]``, finest first, reading ``features[-1]`` alone."""
        maps = [features[-1]]
        for step, finer in zip(self.steps, reversed(features[:-1]), strict=True):
            size = tuple(finer.shape[2:])
            enlarged = functional.interpolate(maps[-1], size, mode="trilinear")
            maps.append(step(enlarged))
        return maps[:0:-1]


class ConvolutionalPartner(Partner):
    """Rebuilds maps by residual convolutions: the homogeneous pair, with a convolutional encoder.

    Args:
        spec: What the encoder gives.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__(spec, [_convolution(*pair) for pair in _channels(spec)])


class TransformerPartner(Partner):
    """Rebuilds maps half by convolution, half by sparse attention: the heterogeneous pair.

    Args:
        spec: What the encoder gives; it is convolutional.
        patch: Edge of the patches that answer, in cells of each map.

    Raises:
        GeometryError: If the encoder is a transformer itself.
    """

    def __init__(self, spec: FeatureSpec, patch: int = 2) -> None:
        if spec.mask_mode != "fill":
            raise GeometryError(
                "the encoder is a transformer, and so is its partner; use ResidualEncoder, or"
                " ConvolutionalPartner"
            )
        super().__init__(spec, [_HybridStep(*pair, patch) for pair in _channels(spec)])


class _HybridStep(nn.Module):
    """Rebuild a finer map from an enlarged one by two branches of half its channels each."""

    def __init__(self, deep: int, fine: int, patch: int) -> None:
        super().__init__()
        half = max(1, fine // 2)
        self.split = nn.ModuleList(nn.Conv3d(deep, half, kernel_size=1) for _ in range(2))
        self.convolution = _convolution(half, half)
        self.attention = SparseRegionAttention(half, patch)
        self.join = nn.Conv3d(2 * half, fine, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (layer(x) for layer in self.split)
        branches = [self.convolution(first), self.attention(second)]
        joined: Tensor = self.join(torch.cat(branches, dim=1))
        return joined


class SparseRegionAttention(nn.Module):
    """Attention of every position to the means of patches: N x N / patch^3 comparisons.

    Args:
        width: Channels.
        patch: Edge of a patch, in cells; one that does not divide the map is cut at its end.
    """

    def __init__(self, width: int, patch: int = 2) -> None:
        super().__init__()
        self.patch = patch
        self.heads = next(n for n in range(max(1, width // HEAD_WIDTH), 0, -1) if width % n == 0)
        self.norm = nn.GroupNorm(1, width)
        self.query = nn.Conv3d(width, width, kernel_size=1)
        self.answer = nn.Conv3d(width, 2 * width, kernel_size=1)
        self.leave = nn.Conv3d(width, width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within maps ``(B, C, D, H, W)``, and add the answer to them."""
        calm = self.norm(x)
        regions = functional.avg_pool3d(calm, self.patch, ceil_mode=True)
        pattern = "b (n c) d h w -> b n (d h w) c"
        query = rearrange(self.query(calm), pattern, n=self.heads)
        key, value = (
            rearrange(half, pattern, n=self.heads) for half in self.answer(regions).chunk(2, dim=1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        rows = rearrange(mixed, "b n p c -> b (n c) p").reshape(x.shape)
        attended: Tensor = x + self.leave(rows)
        return attended


def _channels(spec: FeatureSpec) -> list[tuple[int, int]]:
    return list(pairwise(reversed(spec.channels)))


def _convolution(deep: int, fine: int) -> UnetResBlock:
    return UnetResBlock(3, deep, fine, kernel_size=3, stride=1, norm_name=instance_norm(fine))
