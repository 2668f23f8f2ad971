"""Turn the weights of another project into a file of volseg."""

from pathlib import Path

import torch

from volseg.networks.card import Card
from volseg.networks.source import Source
from volseg.networks.weights import build_network, save_weights


def save_source(source: Source, path: Path | str, *, dtype: torch.dtype = torch.float32) -> Card:
    """Write the encoder of a foreign file with a card.

    Args:
        source: What `volseg.networks.opening.open_source` gave.
        path: The file, ``*.safetensors``; replaced if it is there.
        dtype: How floating tensors are stored.

    Returns:
        The card as written.

    Examples:
        >>> from volseg.networks.opening import open_source
        >>> from volseg.networks.foreign.layout import Facts
        >>> facts = Facts(octants="monai_before_1_5")
        >>> source = open_source(Path("model_swinvit.pt"), facts)  # doctest: +SKIP
        >>> save_source(source, "encoder.safetensors")  # doctest: +SKIP
    """
    encoder = build_network(source.card)
    own = {name.removeprefix("encoder."): tensor for name, tensor in source.tensors.items()}
    encoder.load_state_dict(own)
    return save_weights(path, {"encoder": encoder}, source.card, dtype=dtype)
