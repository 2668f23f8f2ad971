"""Autoencoders: rebuild a volume, or an encoder's own features, from the deepest map alone.

The plain autoencoder is the control of every comparison: it sees what the other tasks see, for as
many steps, with no idea behind it. With a partner it is the feature autoencoder of Hetero-AE (Lu et
al. 2024, IEEE TIP 33): the partner rebuilds the encoder's finer maps, and where it fails on a new
volume, something is unlike what it was trained on. We depart from it in that encoder and partner
learn together, the encoder held by the reconstruction of the image, since there is no 3D network
trained on natural images to start from; and in that features that are rebuilt do not chase those
that rebuild them.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, Decoder
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.pretext.partners import Partner
from volseg.pretext.reconstruction import LOSSES, as_size, masked_error
from volseg.pretext.targets import TargetCrop, clean_image
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.voxels import VoxelHead, deepest_figures
from volseg.types import Size

COSINE = 0.7
"""Share of the direction in the distance of features; the rest is squared error."""


class Autoencoder(PretextTask):
    """Rebuild a volume from the encoder's deepest map.

    The decoder is an ordinary pyramid decoder, but the image and the finer maps that it is given
    are zero: else it would copy.

    Args:
        encoder: The network to train.
        decoder: Makes the pyramid decoder, which is trained along and kept.
        partner: Makes a network that rebuilds the finer maps: ``ConvolutionalPartner``, or
            ``TransformerPartner`` for a convolutional encoder; `None`: none.
        loss: ``l2``, for z-scored MRI, or ``l1``, for windowed CT.
        flip_axes: Axes that may be flipped.
        is_augmented: Whether intensities of what the network sees are changed; the target is the
            volume as it was.

    Raises:
        GeometryError: If the loss is unknown.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Callable[[FeatureSpec], Decoder] = ConvolutionalDecoder,
        partner: Callable[[FeatureSpec], Partner] | None = None,
        loss: str = "l2",
        flip_axes: Sequence[int] = (),
        *,
        is_augmented: bool = False,
    ) -> None:
        super().__init__(encoder)
        if loss not in LOSSES:
            raise GeometryError(f"loss is {loss!r}; use one of {list(LOSSES)}")
        self.loss = loss
        self.flip_axes = tuple(flip_axes)
        self.is_augmented = is_augmented
        self.head = VoxelHead(encoder.spec, decoder, encoder.spec.in_channels)
        self.partner = None if partner is None else partner(encoder.spec)

    def views(self, patch_size: Size) -> TargetCrop:
        """Make the transform that crops a case.

        Args:
            patch_size: Voxels of a crop along each axis, multiples of the encoder's stride.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``clean`` and ``valid``.
        """
        patch_size = as_size(patch_size)
        self.encoder.require_divisible(patch_size)
        targets = {"clean": clean_image}
        return TargetCrop(patch_size, targets, self.flip_axes, is_augmented=self.is_augmented)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the error of what is rebuilt.

        Args:
            batch: ``image`` and ``clean`` ``(B, C, D, H, W)``; ``valid`` ``(B, 1, D, H, W)``.
            panels: Whether to return the volume and what was rebuilt.

        Returns:
            The error over valid voxels, plus the distance of rebuilt features if there is a
            partner, in single precision; as monitors spread and rank of the deepest features.
        """
        image, clean = batch["image"], batch["clean"]
        features = self.encoder(image)
        rebuilt = self._rebuild(image, features)
        maps = [] if self.partner is None else self.partner(features)
        with torch.autocast(image.device.type, enabled=False):
            terms = {"image": masked_error(rebuilt.float(), clean, batch["valid"], self.loss)}
            if maps:
                pairs = zip(features[:-1], maps, strict=True)
                distances = [_distance(own.detach().float(), m.float()) for own, m in pairs]
                terms["features"] = torch.stack(distances).mean()
            monitors = deepest_figures(features)
        pictures = {}
        if panels:
            pictures = {"clean": clean[:, :1], "rebuilt": rebuilt[:, :1].detach().float()}
        parts = {name: term.detach() for name, term in terms.items()}
        return PretextResult(torch.stack(list(terms.values())).sum(), parts, monitors, pictures)

    @torch.no_grad()
    def anomaly(self, image: Tensor) -> Tensor:
        """Show where a volume is unlike those that the task was trained on.

        Args:
            image: Volumes, ``(B, C, D, H, W)``.

        Returns:
            With a partner the sum over levels of 1 minus the cosine of a feature and its rebuilt
            self, enlarged to full size; without one the error of the image, averaged over channels.
            ``(B, 1, D, H, W)``.
        """
        features = self.encoder(image)
        if self.partner is None:
            rebuilt = self._rebuild(image, features)
            return LOSSES[self.loss](rebuilt - image).mean(dim=1, keepdim=True)
        total = torch.zeros_like(image[:, :1])
        for own, rebuilt in zip(features[:-1], self.partner(features), strict=True):
            unlike = 1 - functional.cosine_similarity(own, rebuilt, dim=1)
            size = tuple(image.shape[2:])
            total += functional.interpolate(unlike[:, None], size, mode="trilinear")
        return total

    def trained(self) -> dict[str, nn.Module]:
        """Name the encoder and the pyramid decoder."""
        return super().trained() | {"decoder": self.head.decoder}

    def _rebuild(self, image: Tensor, features: list[Tensor]) -> Tensor:
        blind = [torch.zeros_like(level) for level in features[:-1]]
        rebuilt: Tensor = self.head(torch.zeros_like(image), [*blind, features[-1]])
        return rebuilt


def _distance(own: Tensor, rebuilt: Tensor) -> Tensor:
    """Measure how far rebuilt features are from the encoder's own."""
    turned = 1 - functional.cosine_similarity(own, rebuilt, dim=1).mean()
    return COSINE * turned + (1 - COSINE) * (own - rebuilt).square().mean()
