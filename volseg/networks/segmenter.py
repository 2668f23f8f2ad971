"""An encoder, a decoder and heads: the network that segments.

Deep supervision is UNetFormer's (Hatamizadeh et al. 2022, https://arxiv.org/abs/2204.00631): the
coarser outputs are enlarged to full size and compared with the full-size label, so that small
lesions are not lost by shrinking the label.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, Decoder
from volseg.networks.encoder import Encoder, FeatureSpec


class Segmenter(nn.Module):
    """A segmentation network over any encoder.

    Args:
        encoder: The network to the feature pyramid.
        num_classes: Classes of the output, background included.
        decoder: Makes the decoder from the encoder's ``spec``: a class, or a partial of one.
        num_heads: Outputs for deep supervision, the finest included; fewer if the decoder has
            fewer maps.

    Raises:
        GeometryError: If there would be no output.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        decoder: Callable[[FeatureSpec], Decoder] = ConvolutionalDecoder,
        num_heads: int = 3,
    ) -> None:
        super().__init__()
        if num_classes < 2 or num_heads < 1:
            raise GeometryError(
                f"{num_classes} classes with {num_heads} heads segment nothing; use at least 2"
                " classes, background included, and 1 head"
            )
        self.encoder = encoder
        self.decoder = decoder(encoder.spec)
        self.num_classes = num_classes
        self.heads = nn.ModuleList(
            nn.Conv3d(width, num_classes, kernel_size=1)
            for width in self.decoder.channels[:num_heads]
        )

    def forward(self, x: Tensor, *, is_deep: bool = False) -> Tensor | list[Tensor]:
        """Compute logits.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of the encoder's divisor.
            is_deep: Whether to give the coarser outputs too.

        Returns:
            Logits, ``(B, K, D, H, W)``; if deep, a list of them, finest first, the coarser ones
            enlarged to full size.
        """
        maps = self.decoder(x, self.encoder(x))
        finest: Tensor = self.heads[0](maps[0])
        if not is_deep:
            return finest
        coarse = (head(level) for head, level in zip(self.heads[1:], maps[1:], strict=False))
        return [finest, *(_enlarge(logits, finest.shape[2:]) for logits in coarse)]

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once: the encoder's groups, then the decoder with the heads."""
        top = [*self.decoder.parameters(), *self.heads.parameters()]
        return [*self.encoder.layer_groups(), top]


def _enlarge(logits: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(logits, tuple(size), mode="trilinear", align_corners=False)
