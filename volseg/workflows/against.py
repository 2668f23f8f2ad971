"""Say what a network would take of a weights file, without training anything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from volseg.bundle import Bundle
from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.encoder import Encoder
from volseg.networks.foreign.layout import NO_FACTS, Facts
from volseg.networks.opening import read_card
from volseg.networks.receipt import Receipt
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import build_network, fit_encoder


def try_weights(path: Path | str, network: str, facts: Facts = NO_FACTS) -> Receipt:
    """Say what a network would take of a weights file.

    Args:
        path: The weights.
        network: A bundle's name or folder, a weights file with a card, the dotted path of a
            network class or preset of volseg, or a config as JSON.
        facts: What a file of another project does not say of itself.

    Returns:
        The receipt that loading would give.

    Raises:
        WeightsError: If loading would be refused, or there is no such network.
    """
    built, channels = find_network(network)
    if not isinstance(built, Encoder | Segmenter):
        raise WeightsError(f"{network} is a {type(built).__name__}; name an encoder or a segmenter")
    encoder = built if isinstance(built, Encoder) else built.encoder
    known = channels if len(channels) == encoder.spec.in_channels else None
    receipt, _ = fit_encoder(built, path, known, facts=facts)
    return receipt


def find_network(name: str) -> tuple[nn.Module, Sequence[str]]:
    """Build a network that a user names.

    Args:
        name: See `try_weights`.

    Returns:
        The network with random weights, and the names of its channels where they are known.

    Raises:
        WeightsError: If the name is no config.
    """
    if name.lstrip().startswith("{"):
        try:
            return build(json.loads(name)), ()
        except ValueError as error:
            raise WeightsError(f"{name} is no JSON: {error}") from error
    if name.endswith(".safetensors"):
        card = read_card(name)
        return build_network(card), card.channels
    if name.startswith("volseg.networks."):
        return build({"_target_": name}), ()
    config: dict[str, Any] = Bundle.find(name).raw_config("inference")
    key = "network_def" if "network_def" in config else "encoder"
    if key not in config:
        raise WeightsError(f"bundle {name} has neither a network_def nor an encoder")
    return build(config[key]), config.get("channels", ())
