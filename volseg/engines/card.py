"""Cards for the weights that a training writes."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.errors import BundleError
from volseg.networks.card import Card
from volseg.networks.encoder import Encoder


def complete_card(given: Mapping[str, Any] | Card, encoder: Encoder, steps: int) -> Card:
    """Add what only the training knows.

    Args:
        given: Fields of the card, as many as are known.
        encoder: The encoder that is saved.
        steps: Steps done.

    Returns:
        The card; input channels without a name are numbered.
    """
    facts = dataclasses.asdict(given) if isinstance(given, Card) else dict(given)
    numbered = tuple(f"channel {index}" for index in range(encoder.spec.in_channels))
    return Card(**{"network": {}, "channels": numbered, **facts, "steps": steps})


def card_of_config(path: str | Path) -> dict[str, Any]:
    """Collect a card's fields from a bundle's training config, where they stand as plain facts.

    Args:
        path: ``train.json``; its ids ``network_def`` or ``encoder``, ``channels``, ``spacing``,
            ``patch_size``, ``normalizer`` and ``task`` are read, as far as they are there.

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
    if "network_def" in config:
        card["network"] = config["network_def"]
    elif "encoder" in config:
        card["network"] = {"encoder": config["encoder"]}
    if "task" in config:
        card["pretext"] = {k: v for k, v in config["task"].items() if k != "encoder"}
    return card
