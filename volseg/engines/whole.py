"""What the trainers and evaluators of whole networks share, whatever these predict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from ignite.metrics import Metric
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.utils.data import Dataset

from volseg.engines import distributed
from volseg.engines.loop import Loop
from volseg.engines.optimisation import autocast
from volseg.engines.run import Save
from volseg.networks.card import Card
from volseg.networks.weights import Whole, save_state_dict, save_weights, segmenter_parts


def saving(network: Whole, card: Card, loop: Loop) -> Save:
    """Make what writes the weights of a network.

    Args:
        network: The network.
        card: What its author knows.
        loop: Where a run writes.

    Returns:
        Writes the last weights as ``model.pt`` (a plain state dict, for MONAI) and
        ``model.safetensors`` (with the card), others under their name.
    """

    def save(name: str, step: int) -> None:
        if name == "last":
            save_state_dict(loop.models_dir / "model.pt", network)
        stem = "model" if name == "last" else name
        path = loop.models_dir / f"{stem}.safetensors"
        save_weights(path, segmenter_parts(network), replace(card, steps=step))

    return save


@dataclass(frozen=True)
class Judgement:
    """How an evaluator judges what a network gives.

    Args:
        pair: From a batch and what the network gave for it to what the metrics compare.
        key: The metric that decides which weights are best, by its name.
        others: More metrics, by name.
        handlers: MONAI handlers.
    """

    pair: Callable[[Mapping[str, Any], Any], dict[str, Any]]
    key: Mapping[str, Metric]
    others: Mapping[str, Metric] = field(default_factory=dict)
    handlers: Sequence[Any] = ()


def build_evaluator(
    network: nn.Module,
    dataset: Dataset[Any],
    inferer: Inferer,
    device: str | torch.device,
    precision: str,
    judgement: Judgement,
) -> SupervisedEvaluator:
    """Build a MONAI evaluator: whole volumes, one by one.

    Args:
        network: The network to validate, often one in training.
        dataset: Preprocessed cases; each has an ``image``.
        inferer: Applies the network to a volume.
        device: Where to compute.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``auto``.
        judgement: What is made of the result.

    Returns:
        The evaluator.
    """
    place = distributed.device(device)
    distributed.start(place)

    def evaluate(engine: Any, batch: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
        image = batch["image"].as_subclass(Tensor).to(place)
        network.eval()
        with torch.no_grad(), autocast(place, precision):
            found = inferer(image, network)
        return judgement.pair(batch, found)

    return SupervisedEvaluator(
        device=place,
        val_data_loader=DataLoader(dataset, batch_size=1),
        network=network.to(place),
        inferer=inferer,
        iteration_update=evaluate,
        key_val_metric=dict(judgement.key),
        additional_metrics=dict(judgement.others) or None,
        val_handlers=list(judgement.handlers),
        decollate=False,
    )
