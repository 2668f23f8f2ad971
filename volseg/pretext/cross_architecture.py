"""A convolutional network and a transformer that learn from each other on the same view.

The task is CASS (Singh, Sizikova & Cirrone 2022, https://arxiv.org/abs/2206.04170): both networks
see the same crop, and the two descriptions of it are brought together, with gradient into both. The
paper starts from networks trained on natural images, of which there are none in 3D. From random
weights its cosine loss is met best by two constants, and is: the features collapse. So the default
here is another objective, after Barlow Twins (Zbontar et al. 2021,
https://arxiv.org/abs/2103.03230), over the pair of networks instead of a pair of views: entry i of
one description must correlate with entry i of the other, and with no other entry. The mean over the
volumes, rough with few of them, is not taken away; what all volumes have in common then passes for
agreement, so we add a term that keeps it small.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, lcm
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.encoder import Encoder
from volseg.pretext.collapse import VARIANCE_FLOOR
from volseg.pretext.memory import EmbeddingFigures, Memory
from volseg.pretext.projection import Projector
from volseg.pretext.reconstruction import as_size
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.views import RandomViews
from volseg.types import Size

OBJECTIVES = ("decorrelated", "cosine")
OFF_DIAGONAL = 0.1
"""Weight of the correlation of unlike entries, beside 1 for like ones."""


class CrossArchitecture(PretextTask):
    """Bring the descriptions together that two unlike networks give of the same crop.

    Args:
        encoder: The network to train.
        partner: The other one, a transformer if the first is convolutional and the other way round;
            it is trained and kept as well.
        objective: ``decorrelated``, or ``cosine``, the paper's, which collapses from random
            weights.
        projection: Entries of a description.
        memory: Descriptions of past steps that correlations are computed over, beside those of the
            batch; with less than 64 in all, correlations are mostly chance.
        flip_axes: Axes that may be flipped.
        is_augmented: Whether the intensities of the crop are changed, alike for both networks.

    Raises:
        GeometryError: If the two networks are of one kind or read unlike channels, or the objective
            is unknown.
    """

    def __init__(
        self,
        encoder: Encoder,
        partner: Encoder,
        objective: str = "decorrelated",
        projection: int = 64,
        memory: int = 64,
        flip_axes: Sequence[int] = (),
        *,
        is_augmented: bool = True,
    ) -> None:
        super().__init__(encoder)
        if objective not in OBJECTIVES:
            raise GeometryError(f"objective is {objective!r}; use one of {list(OBJECTIVES)}")
        require_unlike(encoder, partner)
        self.partner = partner
        self.objective = objective
        self.flip_axes = tuple(flip_axes)
        self.is_augmented = is_augmented
        widths = (2 * net.spec.channels[-1] for net in (encoder, partner))
        self.heads = nn.ModuleList(Projector(width, projection) for width in widths)
        self.memories = nn.ModuleList(Memory(memory, projection) for _ in range(2))
        self.figures = nn.ModuleList(EmbeddingFigures(projection) for _ in range(2))

    def views(self, patch_size: Size) -> RandomViews:
        """Make the transform that crops a case.

        Args:
            patch_size: Voxels of a crop along each axis.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``(1, C, D, H, W)``.

        Raises:
            GeometryError: If the crop does not fit both networks.
        """
        patch_size = as_size(patch_size)
        divisors = zip(self.encoder.spec.divisor, self.partner.spec.divisor, strict=True)
        steps = [lcm(*pair) for pair in divisors]
        if any(n < 1 or n % step for n, step in zip(patch_size, steps, strict=True)):
            nearest = tuple(s * max(1, ceil(n / s)) for n, s in zip(patch_size, steps, strict=True))
            raise GeometryError(
                f"patch size {patch_size} is not a multiple of the strides of both networks,"
                f" {self.encoder.spec.divisor} and {self.partner.spec.divisor}; use {nearest}"
            )
        for network in (self.encoder, self.partner):
            network.require_divisible(patch_size)
        return RandomViews(patch_size, "one", self.flip_axes, is_augmented=self.is_augmented)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compare the two descriptions.

        Args:
            batch: ``image``, ``(B, 1, C, D, H, W)``, at least two volumes.
            panels: Whether to return the view.

        Returns:
            The loss, in single precision; as a part the mean cosine of the pairs, whatever the
            objective; as monitors spread and rank of both descriptions.

        Raises:
            GeometryError: If there is one volume only.
        """
        image = batch["image"][:, 0]
        if len(image) < 2:
            raise GeometryError("a batch of 1 volume has no correlation; use batch_size 2 or more")
        networks = zip((self.encoder, self.partner), self.heads, strict=True)
        said = [head(network.embed(image)) for network, head in networks]
        with torch.autocast(image.device.type, enabled=False):
            own, other = (rows.float() for rows in said)
            agreement = functional.cosine_similarity(own, other).mean()
            if self.objective == "cosine":
                loss = 2 - 2 * agreement
                parts = {"cosine": agreement.detach()}
            else:
                joined = self._with_past((own, other))
                same, unlike = correlate(*joined)
                offset = sum_offsets(joined)
                loss = same + OFF_DIAGONAL * unlike + offset
                terms = {"same": same, "unlike": unlike, "offset": offset}
                parts = {name: term.detach() for name, term in terms.items()}
            monitors = {"agreement": agreement.detach()}
            for name, measure, rows in zip(
                ("encoder", "partner"), self.figures, (own, other), strict=True
            ):
                monitors |= measure(rows, name)
        return PretextResult(loss, parts, monitors, {"view": image[:, :1]} if panels else {})

    def after_step(self, step: int, total: int) -> None:  # noqa: ARG002 - the contract's
        """Remember the descriptions of this step.

        Args:
            step: Steps done.
            total: Steps in all.
        """
        for part in (*self.memories, *self.figures):
            cast(Memory | EmbeddingFigures, part).commit()

    def trained(self) -> dict[str, nn.Module]:
        """Name both encoders."""
        return super().trained() | {"partner": self.partner}

    def _with_past(self, pair: Sequence[Tensor]) -> list[Tensor]:
        """Put the remembered descriptions below those of the batch, which alone learn."""
        joined = []
        for rows, memory in zip(pair, cast(Iterable[Memory], self.memories), strict=True):
            joined.append(torch.cat([rows, memory.recall()]))
            memory.note(rows)
        return joined


def require_unlike(encoder: Encoder, partner: Encoder) -> None:
    """Refuse two networks that have nothing to teach each other.

    Args:
        encoder: The one.
        partner: The other.

    Raises:
        GeometryError: If both are convolutional or both transformers, or they read unlike channels.
    """
    kinds = [
        "convolutional" if net.spec.mask_mode == "fill" else "a transformer"
        for net in (encoder, partner)
    ]
    if kinds[0] == kinds[1]:
        raise GeometryError(
            f"encoder {type(encoder).__name__} and partner {type(partner).__name__} are both"
            f" {kinds[0]}; use ResidualEncoder with ViTEncoder or SwinEncoder"
        )
    channels = encoder.spec.in_channels, partner.spec.in_channels
    if channels[0] != channels[1]:
        raise GeometryError(
            f"the encoder reads {channels[0]} channels and its partner {channels[1]}; use as many"
        )


def correlate(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Measure how far the correlations of two descriptions are from the identity.

    Args:
        own: One description a row, ``(N, C)``.
        other: The other description of the same volumes, ``(N, C)``.

    Returns:
        Squared distance of the correlations, about zero, of like entries from 1, and of unlike
        entries from 0; each is a sum over entries, divided by C.

    Examples:
        >>> rows = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        >>> [round(part.item(), 4) for part in correlate(rows, rows.flip(1))]
        [1.0, 1.0]
    """
    first, second = (
        rows / (rows.square().mean(dim=0) + VARIANCE_FLOOR).sqrt() for rows in (own, other)
    )
    correlation = first.t() @ second / len(own)
    like = correlation.diagonal()
    unlike = correlation - torch.diag(like)
    return (1 - like).square().mean(), unlike.square().sum() / len(like)


def sum_offsets(descriptions: Sequence[Tensor]) -> Tensor:
    """Measure how much of descriptions is the same for all volumes.

    Args:
        descriptions: One description a row, ``(N, C)``, of each network.

    Returns:
        The squared mean of each entry as a share of its mean square, averaged over entries and
        summed over networks: 0 if means are 0, 1 a network that says a constant.

    Examples:
        >>> sum_offsets([torch.tensor([[3.0, -1.0], [3.0, 1.0]])])
        tensor(0.5000)
    """
    shares = [
        (rows.mean(dim=0).square() / (rows.square().mean(dim=0) + VARIANCE_FLOOR)).mean()
        for rows in descriptions
    ]
    return torch.stack(shares).sum()
