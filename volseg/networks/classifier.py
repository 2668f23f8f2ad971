"""An encoder and a head over its pooled features: the network that classifies whole volumes."""

from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.embedder import Embedder
from volseg.networks.encoder import Encoder


class Classifier(nn.Module):
    """A classifier of volumes over any encoder.

    The features are pooled by `Encoder.embed`, so that a volume may have any size; they are brought
    to one scale before the linear layer, since means and maxima of channels differ by orders.

    Args:
        encoder: The network to the feature pyramid.
        num_classes: Classes of the output.
        pool: As for `Encoder.embed`.
        dropout: Share of the pooled features that is dropped in training.

    Raises:
        GeometryError: If there are fewer than two classes.
    """

    def __init__(
        self, encoder: Encoder, num_classes: int, pool: str = "mean_std", dropout: float = 0.2
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise GeometryError(f"{num_classes} class tells nothing apart; use at least 2")
        self.encoder = encoder
        self.num_classes = num_classes
        self.pool = pool
        channels = encoder.spec.channels
        width = 2 * channels[-1] if pool == "mean_std" else sum(channels)
        self.heads = nn.Sequential(
            nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits.

        Args:
            x: Volumes, ``(B, C, D, H, W)``.

        Returns:
            Logits, ``(B, K)``.
        """
        logits: Tensor = self.heads(Embedder(self.encoder, self.pool)(x))
        return logits

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once: the encoder's groups, then the head."""
        return [*self.encoder.layer_groups(), list(self.heads.parameters())]
