"""Is a weights file one of this network: the same classes, merge order and answers?"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from volseg.errors import WeightsError
from volseg.networks.card import Card
from volseg.networks.encoder import Encoder
from volseg.networks.fingerprint import TOLERANCE, fingerprint


def class_path(module: nn.Module) -> str:
    """Give the dotted path of a module's class."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def merge_order(encoder: Encoder) -> str | None:
    """Ask an encoder in which order it merges patches, if it does."""
    order = getattr(encoder, "merge_order", None)
    return None if order is None else str(order)


def require_same_kind(path: Path, card: Card, modules: Mapping[str, nn.Module]) -> None:
    """Refuse weights of another class, or with patches merged in another order.

    Args:
        path: The file, for the message.
        card: Its card.
        modules: The network's parts that the file must hold; one is the encoder.

    Raises:
        WeightsError: If the card tells of something else.
    """
    for part, module in modules.items():
        given, own = card.architecture.get(part, "nothing"), class_path(module)
        if given != own:
            raise WeightsError(
                f"{path} holds {given} as {part}, the network has {own}; use weights of the same"
                " architecture, or build the network that the card describes"
            )
    encoder = modules["encoder"]
    order = merge_order(encoder) if isinstance(encoder, Encoder) else None
    if card.merge_order != order:
        raise WeightsError(
            f"{path} merges patches in the order {card.merge_order!r}, the network in {order!r};"
            " the weights would compute something else"
        )


def require_same_answer(
    path: Path, card: Card, encoder: Encoder, tensors: Mapping[str, Tensor]
) -> None:
    """Refuse weights that give other features than their card says.

    Args:
        path: The file, for the message.
        card: Its card.
        encoder: The encoder, whose own weights do not matter.
        tensors: The weights to judge, under ``encoder.``; others are passed over.

    Raises:
        WeightsError: If the fingerprint differs or is not there.
    """
    if card.fingerprint is None:
        raise WeightsError(f"{path} has a card without a fingerprint; save it with save_weights")
    prefix = "encoder."
    state = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    found = fingerprint(encoder, card.fingerprint.size, state)
    difference = card.fingerprint.difference(found)
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"{path} fits in shape, but its features differ by {difference:.2g} spreads from those"
            " on its card; the network is set up otherwise, or the file was changed"
        )
