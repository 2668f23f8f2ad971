"""Training an encoder without labels: the MONAI trainer that drives every pretext task."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai.engines import SupervisedTrainer
from torch import nn
from torch.utils.data import Dataset

from volseg.data.draws import Draws
from volseg.engines import distributed
from volseg.engines.build import Training, build_trainer
from volseg.engines.card import begin_card
from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.networks.weights import save_weights
from volseg.pretext.task import PretextResult, PretextTask
from volseg.types import Size


def pretrain_trainer(
    task: PretextTask,
    dataset: Dataset[Any],
    patch_size: Size,
    max_epochs: int,
    optimisation: Optimisation,
    loop: Loop,
    train_handlers: Sequence[Any] = (),
) -> SupervisedTrainer:
    """Build the trainer of a pretext task.

    After every epoch it writes ``models/encoder.safetensors``, which holds what ``task.trained()``
    names, and a picture of a batch.

    Args:
        task: The pretext task, encoder inside.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z)}``.
        patch_size: Voxels of a crop along each axis.
        max_epochs: Epochs in all.
        optimisation: How it learns.
        loop: Where, on what and from which seed it runs.
        train_handlers: More MONAI handlers.

    Returns:
        The trainer; ``run()`` starts it.
    """
    place = distributed.device(loop.device)
    distributed.start(place)
    card = begin_card(loop.card, task.encoder, dataset)

    def save(name: str, step: int) -> None:
        if name == "last":
            path = loop.models_dir / "encoder.safetensors"
            save_weights(path, task.trained(), replace(card, steps=step))

    draws = Draws(dataset, task.views(_size(patch_size)), loop.seed)
    training = Training(task.to(place), _compute, draws, save)
    return build_trainer(training, max_epochs, optimisation, loop, train_handlers)


def _compute(task: nn.Module, batch: Mapping[str, Any], *, panels: bool) -> PretextResult:
    result: PretextResult = task(batch, panels=panels)
    return result


def _size(values: Sequence[int]) -> Size:
    depth, height, width = values  # JSON gives a list
    return depth, height, width
