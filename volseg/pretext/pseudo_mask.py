"""Segmentation of masks that are found without labels, by thresholds of intensity.

The task is MedSASS (Singh & Cirrone 2024, https://arxiv.org/abs/2402.02367): Otsu's thresholds give
a mask of every image, and a network learns to segment it, encoder and decoder together. The paper
does it for batches of 2D images and two classes. We depart from it in that the thresholds are those
of the whole volume inside the body, so that a class means the same in every crop; in that there may
be more classes; and in that intensities are changed after the mask is made: without that, the task
is no more than a threshold. The paper's loss could not be read; ours is cross-entropy and Dice in
which every class weighs the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, Decoder
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.pretext.reconstruction import as_size
from volseg.pretext.targets import TargetCrop
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.voxels import VoxelHead, balanced_losses, deepest_figures
from volseg.transforms.thresholds import otsu_thresholds
from volseg.types import Size

MAXIMUM_VOXELS = 2**20
"""Of a larger body so many voxels, always the same ones, give the thresholds."""


@dataclass(frozen=True)
class ThresholdMask:
    """Classes of intensity inside the body of a volume.

    Args:
        num_classes: Classes, the darkest first.
        channel: The channel whose intensities are split.
    """

    num_classes: int
    channel: int = 0

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        """Classify the voxels of a volume.

        Args:
            image: Volume, ``(C, X, Y, Z)``.
            valid: Voxels of the body, ``(1, X, Y, Z)``; the others do not move the thresholds.

        Returns:
            Class of each voxel, ``(1, X, Y, Z)``, 8-bit; 0 outside the body.
        """
        intensities = image[self.channel : self.channel + 1]
        values = intensities[valid]
        if len(values) > MAXIMUM_VOXELS:
            generator = torch.Generator().manual_seed(0)
            values = values[torch.randint(len(values), (MAXIMUM_VOXELS,), generator=generator)]
        thresholds = otsu_thresholds(values, self.num_classes)
        return (torch.bucketize(intensities, thresholds, right=True) * valid).to(torch.uint8)


class PseudoMaskSegmentation(PretextTask):
    """Segment classes of intensity that Otsu's thresholds found.

    Args:
        encoder: The network to train.
        num_classes: Classes, 2 or more; two is the paper's.
        decoder: Makes the pyramid decoder, which is trained along and kept.
        channel: The channel of the image that the masks are made from.
        flip_axes: Axes that may be flipped.
        is_augmented: Whether intensities are changed after the mask is made.

    Raises:
        GeometryError: If there are less than two classes, or the channel is not there.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int = 3,
        decoder: Callable[[FeatureSpec], Decoder] = ConvolutionalDecoder,
        channel: int = 0,
        flip_axes: Sequence[int] = (),
        *,
        is_augmented: bool = True,
    ) -> None:
        super().__init__(encoder)
        if num_classes < 2 or not 0 <= channel < encoder.spec.in_channels:
            raise GeometryError(
                f"{num_classes} classes of channel {channel} are no mask; use 2 or more classes of"
                f" a channel from 0 to {encoder.spec.in_channels - 1}"
            )
        self.target = ThresholdMask(num_classes, channel)
        self.flip_axes = tuple(flip_axes)
        self.is_augmented = is_augmented
        self.head = VoxelHead(encoder.spec, decoder, num_classes)

    def views(self, patch_size: Size) -> TargetCrop:
        """Make the transform that crops a case and its mask.

        Args:
            patch_size: Voxels of a crop along each axis, multiples of the encoder's stride.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``valid`` and ``mask``.
        """
        patch_size = as_size(patch_size)
        self.encoder.require_divisible(patch_size)
        targets = {"mask": self.target}
        return TargetCrop(patch_size, targets, self.flip_axes, is_augmented=self.is_augmented)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compare the segmentation with the mask, inside the body.

        Args:
            batch: ``image`` ``(B, C, D, H, W)``; ``mask`` and ``valid`` ``(B, 1, D, H, W)``.
            panels: Whether to return the image, its mask and the segmentation.

        Returns:
            The sum of cross-entropy and Dice, in single precision; as monitors the share of voxels
            that are right, and spread and rank of the deepest features.
        """
        image, mask, valid = batch["image"], batch["mask"], batch["valid"]
        features = self.encoder(image)
        logits = self.head(image, features)
        with torch.autocast(image.device.type, enabled=False):
            losses = balanced_losses(logits.float(), mask, valid)
            said = logits.detach().argmax(dim=1, keepdim=True)
            right = ((said == mask) & valid).sum() / valid.sum().clamp(min=1)
            monitors = {"mask_accuracy": right, **deepest_figures(features)}
        pictures = {}
        if panels:
            pictures = {"image": image[:, :1], "mask": mask.float(), "segmentation": said.float()}
        parts = {name: loss.detach() for name, loss in losses.items()}
        return PretextResult(torch.stack(list(losses.values())).sum(), parts, monitors, pictures)

    def trained(self) -> dict[str, nn.Module]:
        """Name the encoder and the decoder."""
        return super().trained() | {"decoder": self.head.decoder}
