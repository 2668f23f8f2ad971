"""Heads that turn features into the vectors that are compared; they are not kept."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Projector(nn.Module):
    """A perceptron of one hidden layer from image vectors to compared vectors.

    SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709) found that comparing behind such a
    head leaves better features before it. It is normalised a vector at a time, since batches of
    volumes are small.

    Args:
        width: Entries of an image vector.
        projection: Entries of a compared vector.
    """

    def __init__(self, width: int, projection: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * projection),
            nn.GELU(),
            nn.Linear(2 * projection, projection),
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """Project ``(N, width)`` to ``(N, projection)``."""
        projected: Tensor = self.layers(vectors)
        return projected


class PrototypeHead(nn.Module):
    """Compare vectors with learned prototypes by their cosine.

    The head of DINO (Caron et al. 2021, https://arxiv.org/abs/2104.14294): a perceptron, a narrow
    unit vector, and prototypes that are unit vectors too.

    Args:
        width: Entries of a vector.
        prototypes: Prototypes to compare with.
        bottleneck: Entries of the narrow vector.
    """

    def __init__(self, width: int, prototypes: int, bottleneck: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * bottleneck),
            nn.GELU(),
            nn.Linear(4 * bottleneck, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, vectors: Tensor) -> Tensor:
        """Give cosines, ``(N, prototypes)``, of vectors ``(N, width)``."""
        narrow = functional.normalize(self.layers(vectors).float(), dim=-1)
        return narrow @ functional.normalize(self.prototypes, dim=-1).t()
