"""The weights that a training or an evaluation starts from."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from monai.engines import SupervisedEvaluator

from volseg.engines import distributed
from volseg.networks.classifier import Classifier
from volseg.networks.detector import Detector
from volseg.networks.opening import read_card
from volseg.networks.segmenter import Segmenter
from volseg.networks.storage import read_tensors
from volseg.networks.weights import Whole, load_encoder, load_segmenter

logger = logging.getLogger(__name__)

Network = TypeVar("Network", Segmenter, Classifier, Detector)


def initial_network(
    network: Network,
    encoder: str | Path | None = None,
    device: str | torch.device = "auto",
    channels: Sequence[str] | None = None,
) -> Network:
    """Give a network its starting weights and its place.

    Args:
        network: The network, with random weights.
        encoder: Weights of a pretrained encoder, and of its decoder if it fits; if they are those
            of a whole network like this one, its heads are taken too. `None` trains from scratch.
        device: Where to put it.
        channels: Names of the network's input channels: those that the file knows keep their
            weights, and a new one starts at zero; `None`: channels are repeated or summed in turn.

    Returns:
        The same network.
    """
    if encoder is not None:
        if _is_whole(network, encoder):
            receipt = load_segmenter(network, encoder)
        else:
            receipt = load_encoder(network, encoder, channels=channels)
        logger.info("%s: %s", encoder, receipt)
    return network.to(distributed.device(device))


def _is_whole(network: Whole, path: str | Path) -> bool:
    """Tell whether a file holds every tensor of a network, and no other."""
    read_card(path)  # refuses what is no weights file
    own = {name: value.shape for name, value in network.state_dict().items()}
    return own == {name: value.shape for name, value in read_tensors(Path(path)).items()}


def evaluate_weights(
    evaluator: SupervisedEvaluator, network: Whole, weights: str | Path
) -> dict[str, Any]:
    """Validate saved weights.

    Args:
        evaluator: Validates ``network``.
        network: The network that takes the weights.
        weights: ``model.pt`` or ``*.safetensors`` of the whole network.

    Returns:
        The metrics.
    """
    load_segmenter(network, weights)
    evaluator.run()
    metrics: dict[str, Any] = dict(evaluator.state.metrics)
    logger.info("%s: %s", weights, metrics)
    return metrics
