"""What tasks with an answer for every voxel have in common: the network, its health, its loss."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from volseg.networks.decoder import Decoder
from volseg.networks.encoder import FeatureSpec
from volseg.pretext.collapse import effective_rank, feature_spread

SMOOTH = 1e-5
"""Keeps a Dice without voxels from being 0 / 0."""


class VoxelHead(nn.Module):
    """A pyramid decoder, which is worth keeping, and a linear layer, which is not.

    Args:
        spec: What the encoder gives.
        decoder: Makes the decoder; refuses an encoder that it does not fit.
        out_channels: Values for each voxel.
    """

    def __init__(
        self, spec: FeatureSpec, decoder: Callable[[FeatureSpec], Decoder], out_channels: int
    ) -> None:
        super().__init__()
        self.decoder = decoder(spec)
        self.predict = nn.Conv3d(self.decoder.channels[0], out_channels, kernel_size=1)

    def forward(self, image: Tensor, features: list[Tensor]) -> Tensor:
        """Predict ``(B, out_channels, D, H, W)`` from volumes and their feature maps."""
        values: Tensor = self.predict(self.decoder(image, features)[0])
        return values


def deepest_figures(features: list[Tensor]) -> dict[str, Tensor]:
    """Measure spread and rank of an encoder's deepest map.

    Args:
        features: The encoder's maps, finest first.

    Returns:
        ``feature_spread`` and ``effective_rank``.
    """
    vectors = rearrange(features[-1].detach(), "b c d h w -> (b d h w) c")
    return {"feature_spread": feature_spread(vectors), "effective_rank": effective_rank(vectors)}


def balanced_losses(logits: Tensor, label: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """Compare logits with labels so that a rare class weighs as much as a common one.

    Args:
        logits: ``(B, K, D, H, W)``.
        label: Class of each voxel, ``(B, 1, D, H, W)``.
        counted: Voxels that count, boolean ``(B, 1, D, H, W)``.

    Returns:
        ``cross_entropy``: its mean over the voxels of each class, averaged over classes; ``dice``:
        1 minus the soft Dice of each class over the batch, averaged over classes. Classes that do
        not occur are left out; both are 0 if no voxel counts.

    Examples:
        >>> logits = torch.zeros(1, 2, 1, 1, 4)
        >>> label = torch.tensor([1, 0, 0, 0]).view(1, 1, 1, 1, 4)
        >>> losses = balanced_losses(logits, label, label >= 0)
        >>> [round(loss.item(), 4) for loss in losses.values()]
        [0.6931, 0.5333]
    """
    truth = torch.zeros_like(logits).scatter_(1, label.long(), 1.0) * counted
    surprise = -functional.log_softmax(logits, dim=1)
    voxels = (0, 2, 3, 4)
    sizes = truth.sum(voxels)
    is_there = sizes > 0
    number = is_there.sum().clamp(min=1)
    entropies = (surprise * truth).sum(voxels) / sizes.clamp(min=1)
    share = logits.softmax(dim=1) * counted
    overlap = 2 * (share * truth).sum(voxels) + SMOOTH
    dice = 1 - overlap / (share.sum(voxels) + sizes + SMOOTH)
    return {
        "cross_entropy": entropies.sum() / number,
        "dice": torch.where(is_there, dice, 0).sum() / number,
    }
