"""One vector a volume from a pretrained encoder."""

from math import ceil

from torch import Tensor, nn
from torch.nn import functional

from volseg.networks.encoder import Encoder


class Embedder(nn.Module):
    """Describes volumes of any size by vectors.

    A volume whose size the encoder's strides do not divide is padded at its ends with its own
    border voxels.

    Args:
        encoder: The encoder.
        pool: How its maps become a vector: ``mean_std`` or ``max``, see `Encoder.embed`.
    """

    def __init__(self, encoder: Encoder, pool: str = "mean_std") -> None:
        super().__init__()
        self.encoder = encoder
        self.pool = pool

    def forward(self, x: Tensor, region: Tensor | None = None) -> Tensor:
        """Embed a batch.

        Args:
            x: Volumes, ``(B, C, D, H, W)``.
            region: Which voxels count, ``(B, 1, D, H, W)``; what is padded never does. `None`: all.

        Returns:
            Vectors, ``(B, F)``.
        """
        padding: list[int] = []
        for length, step in zip(x.shape[2:], self.encoder.spec.divisor, strict=True):
            padding = [0, ceil(length / step) * step - length, *padding]
        if any(padding):
            x = functional.pad(x, padding, mode="replicate")
            region = None if region is None else functional.pad(region, padding)
        return self.encoder.embed(x, self.pool, region)
