"""Training an encoder without labels: the MONAI trainer that drives every pretext task."""

import logging
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
from volseg.engines.watch import Watch
from volseg.networks.card import Card
from volseg.networks.encoder import Encoder
from volseg.networks.weights import save_weights
from volseg.pretext.task import PretextResult, PretextTask
from volseg.types import Size

logger = logging.getLogger(__name__)


def pretrain_trainer(
    task: PretextTask,
    dataset: Dataset[Any],
    patch_size: Size,
    max_epochs: int,
    optimisation: Optimisation,
    loop: Loop,
    train_handlers: Sequence[Any] = (),
    watch: Watch | None = None,
) -> SupervisedTrainer:
    """Build the trainer of a pretext task.

    After every epoch it writes ``models/encoder.safetensors``, which holds what ``task.trained()``
    names, and a picture of a batch. A second encoder that was trained along, ``partner``, gets a
    file of its own, ``models/partner.safetensors``, to be used like the first. With a probe the
    weights that it scored best are in ``models/best_encoder.safetensors``, and what it makes of the
    untrained encoder is logged.

    Args:
        task: The pretext task, encoder inside.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z)}``.
        patch_size: Voxels of a crop along each axis.
        max_epochs: Epochs in all.
        optimisation: How it learns.
        loop: Where, on what and from which seed it runs.
        train_handlers: More MONAI handlers.
        watch: Guard and probe; `None`: a guard that warns.

    Returns:
        The trainer; ``run()`` starts it.
    """
    place = distributed.device(loop.device)
    distributed.start(place)
    card = begin_card(loop.card, task.encoder, dataset)

    def save(name: str, step: int) -> None:
        stem = "" if name == "last" else f"{name}_"
        parts = dict(task.trained())
        partner = parts.pop("partner", None)
        path = loop.models_dir / f"{stem}encoder.safetensors"
        save_weights(path, parts, replace(card, steps=step))
        if isinstance(partner, Encoder):
            own = _partner_card(card, partner, dataset)
            path = loop.models_dir / f"{stem}partner.safetensors"
            save_weights(path, {"encoder": partner}, replace(own, steps=step))

    draws = Draws(dataset, task.views(_size(patch_size)), loop.seed)
    watch = watch or Watch()
    training = Training(task.to(place), _compute, draws, save, watch.probe, watch.guard)
    if watch.probe is not None and not loop.resume:
        watch.probe.run()
        logger.info("the probe of the untrained encoder gives %s", watch.probe.state.metrics)
    return build_trainer(training, max_epochs, optimisation, loop, train_handlers)


def _partner_card(card: Card, partner: Encoder, dataset: Dataset[Any]) -> Card:
    """Make the card of a second encoder, whose config stands in the task's, or in one of a sum."""
    tasks = card.pretext.get("tasks")
    places: list[Any] = [card.pretext, *(tasks.values() if isinstance(tasks, Mapping) else ())]
    configs = [place.get("partner") for place in places if isinstance(place, Mapping)]
    # an autoencoder's partner is no encoder, and its config no network but a way to make one
    found = [c for c in configs if isinstance(c, Mapping) and "_mode_" not in c]
    network = {"encoder": found[0]} if found else {}
    return begin_card(replace(card, network=network), partner, dataset)


def _compute(task: nn.Module, batch: Mapping[str, Any], *, panels: bool) -> PretextResult:
    result: PretextResult = task(batch, panels=panels)
    return result


def _size(values: Sequence[int]) -> Size:
    depth, height, width = values  # JSON gives a list
    return depth, height, width
