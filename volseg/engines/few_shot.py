"""A probe of an encoder in training: what a linear layer makes of its features from a few labels.

The loss of a pretext task does not rank checkpoints, so this does. Features are frozen, the layer
is found in closed form (ridge regression), and voxels are drawn once and for all, so that a probe
takes seconds and two of one encoder are equal.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from volseg.errors import DataError
from volseg.networks.encoder import Encoder
from volseg.pretext.crops import crop_padded
from volseg.types import Size

KEY_METRIC = "probe_dice"
VOXELS = 256
"""Voxels of each class that a labelled case teaches with, at most."""

RIDGE = 1e-2
"""Penalty of the squared weights, for features of variance 1."""


class FewShotProbe:
    """Scores an encoder as a trainer's validation does.

    Args:
        encoder: The encoder in training.
        dataset: Preprocessed cases with labels, ``{"image": (C, X, Y, Z), "label": (1, X, Y, Z)}``;
            none that is kept for testing.
        num_classes: Classes, background included.
        patch_size: Voxels of the crop of each case, around the middle of what is labelled;
            multiples of the encoder's stride.
        labelled: Cases that teach, the first ones; the others score.

    Raises:
        DataError: If no case is left to score with, or there is nothing to tell apart.
    """

    def __init__(
        self,
        encoder: Encoder,
        dataset: Sequence[Any] | Dataset[Any],
        num_classes: int,
        patch_size: Sequence[int],
        labelled: int = 4,
    ) -> None:
        self.count = len(dataset)  # type: ignore[arg-type] # datasets in use have a length
        if not 1 <= labelled < self.count or num_classes < 2:
            raise DataError(
                f"{self.count} cases with {labelled} that teach {num_classes} classes are no probe;"
                " give more cases than teach, 1 of these or more, and 2 classes or more"
            )
        depth, height, width = patch_size
        encoder.require_divisible((depth, height, width))
        self.encoder = encoder
        self.dataset = dataset
        self.num_classes = num_classes
        self.patch_size: Size = (depth, height, width)
        self.labelled = labelled
        self.state = SimpleNamespace(metrics={}, key_metric_name=KEY_METRIC)

    @torch.no_grad()
    def run(self, epoch: int = 0) -> None:  # noqa: ARG002 - as an evaluator's
        """Probe the encoder as it is, and put the score into ``state.metrics``.

        Args:
            epoch: Not read.
        """
        was_training = self.encoder.training
        self.encoder.eval()
        rows, classes = zip(*map(self._draw, range(self.labelled)), strict=True)
        layer = fit_ridge(torch.cat(rows), torch.cat(classes), self.num_classes)
        scores = [self._score(case, layer) for case in range(self.labelled, self.count)]
        self.encoder.train(was_training)
        by_class = torch.stack(scores).nanmean(dim=0)
        self.state.metrics = {KEY_METRIC: by_class.nanmean().item()}

    def _read(self, index: int) -> tuple[list[Tensor], Tensor]:
        """Give the feature maps of a case's crop, and its label ``(D, H, W)``."""
        case: Mapping[str, Any] = self.dataset[index]
        image, label = (
            torch.as_tensor(case[key]).as_subclass(Tensor).float() for key in ("image", "label")
        )
        places = label[0].nonzero().float()
        middle = places.mean(dim=0) if len(places) else torch.tensor(label.shape[1:]) / 2
        first = [
            round(m - edge / 2) for m, edge in zip(middle.tolist(), self.patch_size, strict=True)
        ]
        start: Size = (first[0], first[1], first[2])
        image, label = (crop_padded(volume, self.patch_size, start) for volume in (image, label))
        device = next(self.encoder.parameters()).device
        features = self.encoder(image[None].to(device))
        return [level[0].float().cpu() for level in features], label[0].long()

    def _draw(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw labelled voxels of a case, with the features of the cells in which they lie."""
        features, label = self._read(index)
        generator = np.random.default_rng(index)
        chosen = []
        for value in range(self.num_classes):
            places = (label.flatten() == value).nonzero().flatten()
            order = generator.permutation(len(places))[:VOXELS]
            chosen.append(places[torch.from_numpy(order)])
        picked = torch.cat(chosen)
        columns = [_enlarge(level, self.patch_size).flatten(1)[:, picked] for level in features]
        return torch.cat(columns).t(), label.flatten()[picked]

    def _score(self, index: int, layer: tuple[Tensor, Tensor]) -> Tensor:
        """Segment a case and give the Dice of each class but the background."""
        features, label = self._read(index)
        weight, bias = layer
        logits = bias.view(-1, 1, 1, 1).expand(-1, *self.patch_size)
        parts = torch.split(weight, [len(level) for level in features], dim=1)
        for part, level in zip(parts, features, strict=True):
            # a linear layer and a repetition of cells may change places
            own = (part @ level.flatten(1)).view(-1, *level.shape[1:])
            logits = logits + _enlarge(own, self.patch_size)
        said = logits.argmax(dim=0)
        return torch.stack([dice(said == c, label == c) for c in range(1, self.num_classes)])


def fit_ridge(rows: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Find the linear layer that tells classes apart with the smallest squared error.

    Args:
        rows: Features, ``(N, F)``.
        classes: Class of each row, ``(N,)``.
        num_classes: Classes.

    Returns:
        Weight, ``(num_classes, F)``, and bias, ``(num_classes,)``, for features as they are.
    """
    rows = rows.double()
    mean, spread = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp(min=1e-6)
    inputs = (rows - mean) / spread
    wanted = functional.one_hot(classes, num_classes).double()
    offset = wanted.mean(dim=0)
    gram = inputs.t() @ inputs + RIDGE * len(rows) * torch.eye(rows.shape[1], dtype=rows.dtype)
    weight = torch.linalg.solve(gram, inputs.t() @ (wanted - offset)).t() / spread
    return weight.float(), (offset - weight @ mean).float()


def dice(said: Tensor, true: Tensor) -> Tensor:
    """Compute the overlap of two masks: not a number if both are empty, 0 if one is."""
    total = said.sum() + true.sum()
    return 2 * (said & true).sum() / total


def _enlarge(level: Tensor, size: Size) -> Tensor:
    """Repeat the cells of a map ``(C, d, h, w)`` up to a size."""
    for axis, length in enumerate(size, start=1):
        level = level.repeat_interleave(length // level.shape[axis], dim=axis)
    return level
