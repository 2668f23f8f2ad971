"""Volume fusion: tell voxel by voxel how two volumes were mixed.

The task is that of Wang et al. 2023 (https://arxiv.org/abs/2306.16925): boxes of a volume are mixed
with another volume in a few fixed proportions, and a segmentation network says for each voxel which
proportion it was. Encoder and decoder learn together, as in segmentation with labels. We depart
from it in that the second volume is the next one of the batch, and in that every proportion weighs
the same in the loss.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.random import RandomState
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, Decoder
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.pretext.reconstruction import as_size
from volseg.pretext.targets import TargetCrop
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.voxels import VoxelHead, balanced_losses, deepest_figures
from volseg.types import Size

BOXES = (10, 40)
"""Range of the number of boxes, the second number excluded, as in the paper's code."""

SHORTEST, LONGEST = 8, 0.625
"""Edge of a box: at least 8 voxels, or all if there are fewer, at most 62.5 % of the crop's."""


class VolumeFusion(PretextTask):
    """Segment how much of another volume was mixed into each voxel.

    Args:
        encoder: The network to train.
        levels: Proportions, evenly spaced from none of the first volume to all of it.
        decoder: Makes the pyramid decoder, which is trained along and kept.
        flip_axes: Axes that may be flipped.
        is_augmented: Whether intensities of each volume are changed before they are mixed.

    Raises:
        GeometryError: If there are less than two proportions.
    """

    def __init__(
        self,
        encoder: Encoder,
        levels: int = 5,
        decoder: Callable[[FeatureSpec], Decoder] = ConvolutionalDecoder,
        flip_axes: Sequence[int] = (),
        *,
        is_augmented: bool = True,
    ) -> None:
        super().__init__(encoder)
        if levels < 2:
            raise GeometryError(f"{levels} proportions are no task; use 2 or more, such as 5")
        self.levels = levels
        self.flip_axes = tuple(flip_axes)
        self.is_augmented = is_augmented
        self.head = VoxelHead(encoder.spec, decoder, levels)

    def views(self, patch_size: Size) -> "FusionCrop":
        """Make the transform that crops a case and draws where it is mixed.

        Args:
            patch_size: Voxels of a crop along each axis, multiples of the encoder's stride.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``valid`` and ``levels``.
        """
        patch_size = as_size(patch_size)
        self.encoder.require_divisible(patch_size)
        crop = FusionCrop(patch_size, {}, self.flip_axes, is_augmented=self.is_augmented)
        crop.levels = self.levels
        return crop

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Mix each volume with the next one and segment the proportions.

        Args:
            batch: ``image`` ``(B, C, D, H, W)``, at least two volumes; ``levels`` and ``valid``
                ``(B, 1, D, H, W)``.
            panels: Whether to return the mixture, the proportions and the segmentation.

        Returns:
            The sum of cross-entropy and Dice over voxels with signal in either volume, in single
            precision; as monitors the share of voxels that are right, and spread and rank of the
            deepest features.

        Raises:
            GeometryError: If there is one volume only.
        """
        image, levels = batch["image"], batch["levels"]
        if len(image) < 2:
            raise GeometryError("a batch of 1 volume cannot be fused; use batch_size 2 or more")
        fused = fuse(image, image.roll(1, dims=0), levels, self.levels)
        counted = batch["valid"] | batch["valid"].roll(1, dims=0)
        features = self.encoder(fused)
        logits = self.head(fused, features)
        with torch.autocast(image.device.type, enabled=False):
            losses = balanced_losses(logits.float(), levels, counted)
            said = logits.detach().argmax(dim=1, keepdim=True)
            right = ((said == levels) & counted).sum() / counted.sum().clamp(min=1)
            monitors = {"level_accuracy": right, **deepest_figures(features)}
        pictures = {}
        if panels:
            pictures = {"fused": fused[:, :1], "level": levels.float(), "said": said.float()}
        parts = {name: loss.detach() for name, loss in losses.items()}
        return PretextResult(torch.stack(list(losses.values())).sum(), parts, monitors, pictures)

    def trained(self) -> dict[str, nn.Module]:
        """Name the encoder and the decoder."""
        return super().trained() | {"decoder": self.head.decoder}


class FusionCrop(TargetCrop):
    """Crop a volume and draw in which proportion each voxel is to be mixed.

    The arguments are those of `TargetCrop`.
    """

    levels = 5

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Make the view of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; other keys are left out.

        Returns:
            ``image``, ``valid``, and ``levels``, ``(1, D, H, W)``, 8-bit.
        """
        crops = super().__call__(data)
        levels = draw_levels(self.views.R, self.views.patch_size, self.levels)
        return {**crops, "levels": levels[None]}


def draw_levels(random: RandomState, size: Size, levels: int) -> Tensor:
    """Draw boxes of random proportions, later ones over earlier ones.

    Args:
        random: The source of randomness.
        size: Voxels along each axis.
        levels: Proportions.

    Returns:
        Number of the proportion of each voxel, ``(D, H, W)``, 8-bit; 0 outside the boxes.
    """
    grid = torch.zeros(size, dtype=torch.uint8)
    for _ in range(random.randint(*BOXES)):
        edges = []
        for length in size:
            shortest = min(SHORTEST, length)
            edges.append(int(random.randint(shortest, max(shortest, int(LONGEST * length)) + 1)))
        starts = [int(random.randint(n - e + 1)) for n, e in zip(size, edges, strict=True)]
        place = tuple(slice(s, s + e) for s, e in zip(starts, edges, strict=True))
        grid[place] = int(random.randint(1, levels))
    return grid


def fuse(front: Tensor, back: Tensor, number: Tensor, levels: int) -> Tensor:
    """Mix two batches of volumes.

    Args:
        front: Volumes, ``(B, C, D, H, W)``.
        back: Volumes, ``(B, C, D, H, W)``.
        number: Proportion of each voxel, ``(B, 1, D, H, W)``: 0 shows the back alone, ``levels -
            1`` the front alone.
        levels: Proportions.

    Returns:
        The mixture, ``(B, C, D, H, W)``.

    Examples:
        >>> number = torch.tensor([0, 1, 4]).view(1, 1, 1, 1, 3)
        >>> fuse(torch.ones(1, 1, 1, 1, 3), torch.full((1, 1, 1, 1, 3), 5.0), number, 5).flatten()
        tensor([5., 4., 1.])
    """
    return torch.lerp(back, front, number.to(front.dtype) / (levels - 1))
