"""Contrast: views of one volume resemble each other more than views of other volumes.

The task is SimCLR's (Chen et al. 2020, https://arxiv.org/abs/2002.05709), with the choices of
cropping and augmentation that Dmitrenko et al. 2022 (https://arxiv.org/abs/2203.04107) compare.
With more than two views the loss is averaged over all pairs of one volume, as in supervised
contrast (Khosla et al. 2020, https://arxiv.org/abs/2004.11362). Batches of volumes are small, so
views of past steps are contrasted with as well.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.encoder import Encoder
from volseg.pretext.memory import EmbeddingFigures, Memory
from volseg.pretext.projection import Projector
from volseg.pretext.reconstruction import as_size
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.views import RandomViews
from volseg.types import Size

CROPS = ("pair", "same", "multi")


class Contrastive(PretextTask):
    """Tell the views of a volume from those of other volumes.

    Args:
        encoder: The network to train.
        crops: ``pair``, two crops that share at least half their volume; ``same``, one crop twice,
            which differs by augmentation alone; ``multi``, a full crop and four smaller ones in it.
        temperature: Of the cosines; lower looks harder at the nearest others.
        projection: Entries of a compared vector.
        memory: Vectors of past steps to contrast with; choose fewer than the cases of about two
            rounds through the data, since a case's own past counts as another volume.
        flip_axes: Axes that may be flipped, view by view.
        is_augmented: Whether the intensities of each view are changed.

    Raises:
        GeometryError: If the crops are unknown or two views of a volume would be equal.
    """

    def __init__(
        self,
        encoder: Encoder,
        crops: str = "pair",
        temperature: float = 0.2,
        projection: int = 64,
        memory: int = 64,
        flip_axes: Sequence[int] = (),
        *,
        is_augmented: bool = True,
    ) -> None:
        super().__init__(encoder)
        if crops not in CROPS:
            raise GeometryError(f"crops are {crops!r}; use one of {list(CROPS)}")
        if crops == "same" and not is_augmented:
            raise GeometryError(
                "the same crop twice without augmentation is no task; use crops 'pair' or 'multi',"
                " or is_augmented true"
            )
        if temperature <= 0:
            raise GeometryError(f"temperature is {temperature}; use a value above 0, such as 0.2")
        self.crops = crops
        self.temperature = temperature
        self.flip_axes = tuple(flip_axes)
        self.is_augmented = is_augmented
        self.head = Projector(2 * encoder.spec.channels[-1], projection)
        self.memory = Memory(memory, projection)
        self.figures = EmbeddingFigures(projection)

    def views(self, patch_size: Size) -> RandomViews:
        """Make the transform that draws the views of a case.

        Args:
            patch_size: Voxels of a view along each axis, multiples of the encoder's stride.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``(V, C, D, H, W)``.
        """
        patch_size = as_size(patch_size)
        self.encoder.require_divisible(patch_size)
        return RandomViews(patch_size, self.crops, self.flip_axes, is_augmented=self.is_augmented)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the loss of all pairs of views.

        Args:
            batch: ``image``, ``(B, V, C, D, H, W)``.
            panels: Whether to return the first two views.

        Returns:
            The loss, in single precision; as monitors the share of views whose most similar vector
            is a view of the same volume, and spread and rank of the vectors.

        Raises:
            GeometryError: If there is nothing to contrast with.
        """
        image = batch["image"]
        count, views = image.shape[:2]
        if count < 2 and self.memory.size == 0:
            raise GeometryError(
                "a batch of 1 volume without a memory has nothing to contrast with; use batch_size"
                " 2 or more, or a memory"
            )
        vectors = self.head(self.encoder.embed(image.flatten(0, 1)))
        with torch.autocast(image.device.type, enabled=False):
            vectors = vectors.float()
            directions = functional.normalize(vectors, dim=1)
            owner = torch.arange(count, device=image.device).repeat_interleave(views)
            loss, found = contrast(directions, owner, self.memory.recall(), self.temperature)
            firsts = vectors.view(count, views, -1)[:, 0]
            monitors = {"retrieval": found}
            if count > 1:
                monitors |= self.figures(firsts)
        self.memory.note(directions)
        panel = {f"view {i + 1}": image[:, i, :1] for i in range(2)} if panels else {}
        return PretextResult(loss, {"contrast": loss.detach()}, monitors, panel)

    def after_step(self, step: int, total: int) -> None:  # noqa: ARG002 - the contract's
        """Remember the vectors of this step.

        Args:
            step: Steps done.
            total: Steps in all.
        """
        self.memory.commit()
        self.figures.commit()


def contrast(
    directions: Tensor, owner: Tensor, others: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Compute the contrastive loss of views.

    Args:
        directions: Unit vectors of views, ``(N, C)``.
        owner: Number of the volume of each view, ``(N,)``.
        others: Unit vectors of other volumes, ``(M, C)``; they do not learn.
        temperature: Of the cosines.

    Returns:
        For each pair of views of one volume, minus the logarithm of the second's share among all
        that the first is compared with, averaged; and the share of views whose most similar vector
        is of the same volume.
    """
    cosines = directions @ torch.cat([directions, others]).t()
    itself = torch.eye(*cosines.shape, dtype=torch.bool, device=cosines.device)
    logits = (cosines / temperature).masked_fill(itself, float("-inf"))
    is_same = torch.zeros_like(itself)
    is_same[:, : len(owner)] = owner[:, None] == owner
    is_same &= ~itself
    surprise = -functional.log_softmax(logits, dim=1)
    nearest = logits.argmax(dim=1, keepdim=True)
    return surprise[is_same].mean(), is_same.gather(1, nearest).float().mean()
