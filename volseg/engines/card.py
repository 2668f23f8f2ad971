"""Cards for the weights that a training writes."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.engines.checkpoint import hash_module, list_cases
from volseg.errors import BundleError, WeightsError
from volseg.networks.card import Card, describe_data
from volseg.networks.config import build
from volseg.networks.encoder import Encoder
from volseg.networks.opening import read_card
from volseg.networks.weights import Whole

logger = logging.getLogger(__name__)


def begin_card(given: Mapping[str, Any] | Card, network: Encoder | Whole, dataset: Any) -> Card:
    """Make the card of a network in training.

    Args:
        given: Fields of the card, as many as are known.
        network: What is trained.
        dataset: What it is trained on; its cases are counted and hashed unless ``data`` is given.

    Returns:
        The card. Input channels without a name are numbered; a network config that does not build
        this network is left out, with a warning, for it would mislead whoever loads the weights.
    """
    facts = dataclasses.asdict(given) if isinstance(given, Card) else dict(given)
    encoder = network if isinstance(network, Encoder) else network.encoder
    facts.setdefault("channels", [f"channel {i}" for i in range(encoder.spec.in_channels)])
    facts["data"] = facts.get("data") or describe_data([], "", list_cases(dataset))
    config = facts.get("network") or {}
    if config and not _builds(config, network):
        logger.warning("the card's network config %s is not the network in training", config)
        config = {}
    return Card(**{**facts, "network": config, "channels": tuple(facts["channels"])})


def _builds(config: Mapping[str, Any], network: Encoder | Whole) -> bool:
    own = config.get("encoder", config) if isinstance(network, Encoder) else config
    try:
        twin = build(own)
    except WeightsError:
        return False
    return hash_module(twin) == hash_module(network)


def card_of_config(
    path: str | Path,
    data: Mapping[str, Any] | None = None,
    encoder: str | Path | None = None,
) -> dict[str, Any]:
    """Collect a card's fields from a bundle's training config, where they stand as plain facts.

    Args:
        path: ``train.json``; its ids ``network_def`` or ``encoder``, ``channels``, ``spacing``,
            ``patch_size``, ``normalizer`` and ``task`` are read, as far as they are there.
        data: What the network is trained on, from `volseg.networks.card.describe_data`.
        encoder: Pretrained weights that the training starts from, whose pretext task, steps and
            data the new card repeats; `None`: none.

    Returns:
        Fields of the card.

    Raises:
        BundleError: If the file cannot be read.
    """
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as a training config: {error}") from error
    card = {
        key: config[key]
        for key in ("channels", "spacing", "patch_size", "normalizer")
        if key in config
    }
    if data:
        card["data"] = dict(data)
    if "network_def" in config:
        card["network"] = config["network_def"]
    elif "encoder" in config:
        card["network"] = {"encoder": config["encoder"]}
    if "task" in config:
        task = {k: v for k, v in config["task"].items() if k != "encoder"}
        card["pretext"] = _look_up(task, config)
    if encoder is not None:
        start = read_card(encoder)
        card["pretext"] = {**start.pretext, "steps": start.steps, "data": dict(start.data)}
    return card


def _look_up(value: Any, config: Mapping[str, Any]) -> Any:
    """Put plain facts in the place of references to them, such as ``@patch_size``."""
    if isinstance(value, Mapping):
        return {key: _look_up(item, config) for key, item in value.items()}
    if isinstance(value, list):
        return [_look_up(item, config) for item in value]
    if isinstance(value, str) and value[:1] == "@":
        found = config.get(value[1:], value)
        return value if isinstance(found, Mapping) else found
    return value
