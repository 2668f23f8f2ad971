"""What a weights file offers a network, whoever wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from volseg.networks.card import Card


@dataclass(frozen=True)
class Source:
    """The content of a weights file in volseg's names.

    Args:
        card: What the weights are.
        tensors: Tensors by name, the encoder's under ``encoder.``.
        left_over: Names of the file's tensors that volseg has no name for.
        notes: What was done to read it.
    """

    card: Card
    tensors: Mapping[str, Tensor]
    left_over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
