"""Masked-volume prediction: hide blocks of a scan, learn to fill them in.

The task is that of MAE (He et al. 2022, https://arxiv.org/abs/2111.06377) for encoders that drop
hidden tokens, of SimMIM (Xie et al. 2022, https://arxiv.org/abs/2111.09886) and UNetFormer
(Hatamizadeh et al. 2022, https://arxiv.org/abs/2204.00631) for those that replace them, and of the
convolutional masked autoencoders of OpenMind (Wald et al. 2024, https://arxiv.org/abs/2412.17041)
for those that fill voxels. We depart from them in that blocks without signal are never hidden and
voxels without signal never count, and in that a pyramid decoder may be trained along and kept.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.decoder import Decoder
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.networks.residual import fill_hidden
from volseg.pretext.collapse import VARIANCE_FLOOR, effective_rank, feature_spread
from volseg.pretext.crops import MaskedCrop
from volseg.pretext.heads import LinearHead, TokenDecoder
from volseg.pretext.reconstruction import (
    FULL,
    LOSSES,
    as_size,
    masked_error,
    masked_panels,
    require_crop,
    require_maskable,
)
from volseg.pretext.task import PretextResult, PretextTask
from volseg.transforms.masking import BlockMask
from volseg.types import Size


class MaskedReconstruction(PretextTask):
    """Predict the hidden voxels of a volume from the visible ones.

    Args:
        encoder: The network to train; how it hides voxels is its own business.
        block: Edge of a hidden block in voxels, one number or one an axis.
        ratio: Fraction of the blocks to hide.
        decoder: Makes a pyramid decoder that is trained along and kept; `None`: a light head,
            which is thrown away.
        loss: ``l2``, for z-scored MRI, or ``l1``, for windowed CT.
        flip_axes: Axes that may be flipped.
        is_target_normalized: Whether the valid voxels of each block of the target are given mean 0
            and SD 1 first.

    Raises:
        GeometryError: If the encoder cannot be masked so, or the loss or ratio is unknown.
    """

    def __init__(
        self,
        encoder: Encoder,
        block: int | Sequence[int] = 16,
        ratio: float = 0.6,
        decoder: Callable[[FeatureSpec], Decoder] | None = None,
        loss: str = "l2",
        *,
        flip_axes: Sequence[int] = (),
        is_target_normalized: bool = False,
    ) -> None:
        super().__init__(encoder)
        if loss not in LOSSES or not 0 < ratio < 1:
            raise GeometryError(
                f"loss {loss!r} with ratio {ratio} is no masked prediction; use loss 'l1' or 'l2'"
                " and a ratio between 0 and 1"
            )
        self.block = as_size(block)
        self.ratio = ratio
        self.loss = loss
        self.flip_axes = tuple(flip_axes)
        self.is_target_normalized = is_target_normalized
        require_maskable(encoder.spec, self.block)
        spec = encoder.spec
        self.decoder = None if decoder is None else decoder(spec)
        self.head: nn.Module
        if self.decoder is not None:
            self.head = nn.Conv3d(self.decoder.channels[0], spec.in_channels, kernel_size=1)
        else:
            self.head = TokenDecoder(spec) if spec.mask_mode == "drop" else LinearHead(spec)

    def views(self, patch_size: Size) -> MaskedCrop:
        """Make the transform that crops a case and draws its mask.

        Args:
            patch_size: Voxels of a crop along each axis.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``mask`` and ``valid``; a crop
            that does not fit the encoder and the mask is refused.
        """
        patch_size = as_size(patch_size)
        require_crop(self.encoder, patch_size, self.block, self.ratio)
        return MaskedCrop(patch_size, self.block, self.ratio, self.flip_axes)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the error over hidden, valid voxels.

        Args:
            batch: ``image`` ``(B, C, D, H, W)``, ``mask`` ``(B, d, h, w)``, ``valid``
                ``(B, 1, D, H, W)``.
            panels: Whether to return the clean, the masked and the reconstructed volume.

        Returns:
            The loss, in single precision, with its monitors: spread and effective rank of the
            deepest features, and the fraction of the valid voxels that was hidden.
        """
        image, valid = batch["image"], batch["valid"]
        mask = BlockMask(batch["mask"], self.block)
        hidden = mask.to(FULL)[:, None]
        features = self.encoder(image, mask)
        prediction = self._predict(image, mask, features)
        with torch.autocast(image.device.type, enabled=False):
            prediction, clean = prediction.float(), image.float()
            mean, spread = torch.zeros_like(clean), torch.ones_like(clean)
            if self.is_target_normalized:
                mean, spread = block_statistics(clean, valid, self.block)
            loss = masked_error(prediction, (clean - mean) / spread, hidden & valid, self.loss)
            vectors = self._vectors(features[-1], mask)
            monitors = {
                "feature_spread": feature_spread(vectors),
                "effective_rank": effective_rank(vectors),
                "masked_fraction": (hidden & valid).sum() / valid.sum().clamp(min=1),
            }
            pictures = masked_panels(clean, hidden, prediction * spread + mean) if panels else {}
        return PretextResult(loss, {"reconstruction": loss.detach()}, monitors, pictures)

    def trained(self) -> dict[str, nn.Module]:
        """Name the encoder and, if a pyramid decoder was trained along, that too."""
        return super().trained() | ({} if self.decoder is None else {"decoder": self.decoder})

    def settings(self) -> dict[str, Any]:
        """Give what the card of the weights must say: the task's config, without the encoder."""
        return {
            "_target_": _dotted_path(self),
            "decoder": None if self.decoder is None else _dotted_path(self.decoder),
            "block": list(self.block),
            "ratio": self.ratio,
            "loss": self.loss,
            "flip_axes": list(self.flip_axes),
            "is_target_normalized": self.is_target_normalized,
        }

    def _predict(self, image: Tensor, mask: BlockMask, features: list[Tensor]) -> Tensor:
        prediction: Tensor
        if self.decoder is not None:
            # a decoder may look at the image, so it is given one without the hidden voxels
            visible = fill_hidden(image, mask.to(FULL))
            prediction = self.head(self.decoder(visible, features)[0])
        elif isinstance(self.head, TokenDecoder):
            prediction = self.head(features[-1], mask.to(self.encoder.spec.strides[-1]))
        else:
            prediction = self.head(features[-1])
        return prediction

    def _vectors(self, deepest: Tensor, mask: BlockMask) -> Tensor:
        """List the feature vectors that were computed, ``(N, C)``; dropped tokens were not."""
        vectors = rearrange(deepest.detach(), "b c d h w -> b d h w c")
        if self.encoder.spec.mask_mode == "drop":
            return vectors[~mask.to(self.encoder.spec.strides[-1])]
        return vectors.flatten(0, 3)


def block_statistics(volume: Tensor, valid: Tensor, block: Size) -> tuple[Tensor, Tensor]:
    """Compute the mean and spread of the valid voxels of each block and channel.

    Args:
        volume: Volumes, ``(B, C, D, H, W)``.
        valid: Voxels that count, boolean ``(B, 1, D, H, W)``.
        block: Voxels of one block along each axis.

    Returns:
        Mean, and root of the variance, of the block in which each voxel lies; ``(B, C, D, H, W)``.
    """
    edges = dict(zip("ijk", block, strict=True))

    def total(values: Tensor) -> Tensor:
        sums = reduce(values, "b c (d i) (h j) (w k) -> b c d h w", "sum", **edges)
        for axis, edge in enumerate(block, start=2):
            sums = sums.repeat_interleave(edge, dim=axis)
        return sums

    count = total(valid.to(volume.dtype)).clamp(min=1)
    mean = total(torch.where(valid, volume, 0)) / count
    variance = total(torch.where(valid, volume - mean, 0).square()) / count
    return mean, (variance + VARIANCE_FLOOR).sqrt()


def _dotted_path(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
