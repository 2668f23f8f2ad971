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
from volseg.pretext.collapse import effective_rank, feature_spread
from volseg.pretext.crops import MaskedCrop
from volseg.pretext.heads import LinearHead, TokenDecoder
from volseg.pretext.task import PretextResult, PretextTask
from volseg.transforms.masking import BlockMask
from volseg.types import Size

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l1": torch.abs, "l2": torch.square}


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
        is_target_normalized: Whether each block of the target is given mean 0 and SD 1 first.

    Raises:
        GeometryError: If the encoder cannot be masked so.
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
        """Check that the encoder can be masked so, and build the head."""
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
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``mask`` and ``valid``.

        Raises:
            GeometryError: If the encoder or the block does not divide the crop.
        """
        patch_size = as_size(patch_size)
        self.encoder.require_divisible(patch_size)
        if any(length % edge for length, edge in zip(patch_size, self.block, strict=True)):
            raise GeometryError(
                f"patch size {patch_size} is not a multiple of the mask's block {self.block};"
                " change one of the two"
            )
        return MaskedCrop(patch_size, self.block, self.ratio, self.flip_axes)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the error over hidden, valid voxels.

        Args:
            batch: ``image`` ``(B, C, D, H, W)``, ``mask`` ``(B, d, h, w)``, ``valid``
                ``(B, 1, D, H, W)``.
            panels: Whether to return the clean, the masked and the reconstructed volume.

        Returns:
            The loss with its monitors: spread and effective rank of the deepest features, and the
            fraction of voxels that count.
        """
        image, mask = batch["image"], BlockMask(batch["mask"], self.block)
        hidden = mask.to((1, 1, 1))[:, None]
        counted = (hidden & batch["valid"]).expand_as(image)
        features = self.encoder(image, mask)
        prediction = self._predict(image, mask, features).float()
        target = self._normalize(image) if self.is_target_normalized else image.float()
        with torch.autocast(image.device.type, enabled=False):
            errors = LOSSES[self.loss](prediction - target)
            loss = torch.where(counted, errors, 0).sum() / counted.sum().clamp(min=1)
        monitors = {
            "feature_spread": feature_spread(features[-1]),
            "effective_rank": effective_rank(features[-1]),
            "counted_fraction": counted.float().mean(),
        }
        pictures = _panels(image, target, hidden, prediction) if panels else {}
        return PretextResult(loss, {"reconstruction": loss.detach()}, monitors, pictures)

    def trained(self) -> dict[str, nn.Module]:
        """Name the encoder and, if a pyramid decoder was trained along, that too."""
        return super().trained() | ({} if self.decoder is None else {"decoder": self.decoder})

    def settings(self) -> dict[str, Any]:
        """Give what the card of the weights must say."""
        return {
            "block": list(self.block),
            "ratio": self.ratio,
            "loss": self.loss,
            "flip_axes": list(self.flip_axes),
            "is_target_normalized": self.is_target_normalized,
        }

    def _predict(self, image: Tensor, mask: BlockMask, features: list[Tensor]) -> Tensor:
        prediction: Tensor
        if self.decoder is not None:
            visible = fill_hidden(image, mask.to((1, 1, 1)))
            prediction = self.head(self.decoder(visible, features)[0])
        elif isinstance(self.head, TokenDecoder):
            prediction = self.head(features[-1], mask.to(self.encoder.spec.strides[-1]))
        else:
            prediction = self.head(features[-1])
        return prediction

    def _normalize(self, image: Tensor) -> Tensor:
        """Give each block mean 0 and SD 1."""
        edges = dict(zip("ijk", self.block, strict=True))
        blocks = rearrange(image.float(), "b c (d i) (h j) (w k) -> b c d h w i j k", **edges)
        mean = reduce(blocks, "b c d h w i j k -> b c d h w 1 1 1", "mean")
        variance = reduce((blocks - mean).square(), "b c d h w i j k -> b c d h w 1 1 1", "mean")
        normal = (blocks - mean) / (variance + 1e-6).sqrt()
        return rearrange(normal, "b c d h w i j k -> b c (d i) (h j) (w k)")


def as_size(values: int | Sequence[int]) -> Size:
    """Give one number to every axis, or keep one an axis."""
    depth, height, width = (values,) * 3 if isinstance(values, int) else values
    return depth, height, width


def require_maskable(spec: FeatureSpec, block: Size) -> None:
    """Refuse a block that would hide a part of a token.

    Args:
        spec: What the encoder gives, and how it hides voxels.
        block: Voxels of one hidden block along each axis.

    Raises:
        GeometryError: If the block is not a multiple of the tokens that the encoder hides.
    """
    token = (1, 1, 1) if spec.mask_mode == "fill" else spec.strides[0]
    if any(edge < 1 or edge % length for edge, length in zip(block, token, strict=True)):
        raise GeometryError(
            f"block {block} is not a multiple of the tokens {token} that the encoder can"
            f" {spec.mask_mode}; use such a multiple, or an encoder that fills voxels, such as"
            " ResidualEncoder, which takes any block"
        )


def _panels(image: Tensor, target: Tensor, hidden: Tensor, prediction: Tensor) -> dict[str, Tensor]:
    """Show the first channel: clean, masked, and with its hidden blocks filled in."""
    first, target, prediction = image[:, :1], target[:, :1], prediction[:, :1].detach()
    return {
        "clean": first,
        "masked": torch.where(hidden, first.amin(), first),
        "reconstruction": torch.where(hidden, prediction, target),
    }
