"""Restoration of spoilt volumes.

The task is Models Genesis (Zhou et al. 2021, https://doi.org/10.1016/j.media.2020.101840): a crop
is bent in intensity, shuffled in small windows and painted over, and an encoder with a decoder
restores it. How it is spoilt, and where we depart from the paper there, stands in
`volseg.transforms.corruption`. Crops are flipped only along axes that are given, and voxels without
signal do not count.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, Decoder
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.pretext.reconstruction import LOSSES, as_size, masked_error
from volseg.pretext.targets import TargetCrop, clean_image
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.voxels import VoxelHead, deepest_figures
from volseg.transforms.corruption import corrupt, draw_corruption
from volseg.types import Size


class Restoration(PretextTask):
    """Restore a spoilt volume.

    Args:
        encoder: The network to train.
        decoder: Makes the pyramid decoder, which is trained along and kept.
        loss: ``l2``, for z-scored MRI, or ``l1``, for windowed CT.
        flip_axes: Axes that may be flipped.

    Raises:
        GeometryError: If the loss is unknown.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Callable[[FeatureSpec], Decoder] = ConvolutionalDecoder,
        loss: str = "l2",
        flip_axes: Sequence[int] = (),
    ) -> None:
        super().__init__(encoder)
        if loss not in LOSSES:
            raise GeometryError(f"loss is {loss!r}; use one of {list(LOSSES)}")
        self.loss = loss
        self.flip_axes = tuple(flip_axes)
        self.head = VoxelHead(encoder.spec, decoder, encoder.spec.in_channels)

    def views(self, patch_size: Size) -> "SpoiltCrop":
        """Make the transform that crops a case and spoils the crop.

        Args:
            patch_size: Voxels of a crop along each axis, multiples of the encoder's stride.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``clean`` and ``valid``.
        """
        patch_size = as_size(patch_size)
        self.encoder.require_divisible(patch_size)
        return SpoiltCrop(patch_size, {"clean": clean_image}, self.flip_axes, is_augmented=False)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the error over all valid voxels.

        Args:
            batch: ``image`` and ``clean`` ``(B, C, D, H, W)``; ``valid`` ``(B, 1, D, H, W)``.
            panels: Whether to return the clean, the spoilt and the restored volume.

        Returns:
            The loss, in single precision; as monitors the error of the spoilt volume itself, to be
            beaten, and spread and rank of the deepest features.
        """
        image, clean, valid = batch["image"], batch["clean"], batch["valid"]
        features = self.encoder(image)
        restored = self.head(image, features)
        with torch.autocast(image.device.type, enabled=False):
            loss = masked_error(restored.float(), clean, valid, self.loss)
            monitors = {
                "spoilt_error": masked_error(image, clean, valid, self.loss),
                **deepest_figures(features),
            }
        pictures = {}
        if panels:
            volumes = {"clean": clean, "spoilt": image, "restored": restored.detach().float()}
            pictures = {name: volume[:, :1] for name, volume in volumes.items()}
        return PretextResult(loss, {"restoration": loss.detach()}, monitors, pictures)

    def trained(self) -> dict[str, nn.Module]:
        """Name the encoder and the decoder."""
        return super().trained() | {"decoder": self.head.decoder}


class SpoiltCrop(TargetCrop):
    """Crop a volume and spoil the crop; the arguments are those of `TargetCrop`."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Make the view of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; other keys are left out.

        Returns:
            ``image``, spoilt, ``clean`` and ``valid``.
        """
        crops = super().__call__(data)
        corruption = draw_corruption(self.views.R, self.views.patch_size)
        return {**crops, "image": corrupt(crops["image"], corruption)}
