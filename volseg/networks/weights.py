"""Save networks with a card, and load them with a receipt.

One file, ``*.safetensors``, holds the parts of a network under ``encoder.``, ``decoder.`` and
``heads.``, and a card that says what they are. Loading never guesses: what did not fit stands in
the receipt, and a file that is not what the network needs is refused with the reason.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from volseg import __version__
from volseg.errors import WeightsError
from volseg.networks.adaption import channel_mixing
from volseg.networks.card import Card
from volseg.networks.classifier import Classifier
from volseg.networks.config import build
from volseg.networks.detector import Detector
from volseg.networks.encoder import Encoder
from volseg.networks.fingerprint import fingerprint
from volseg.networks.fitting import Fitting, fit_part, require_equal
from volseg.networks.foreign.layout import NO_FACTS, Facts
from volseg.networks.identity import (
    class_path,
    merge_order,
    require_same_answer,
    require_same_kind,
)
from volseg.networks.opening import CARD_KEY, open_source, read_card
from volseg.networks.receipt import Receipt
from volseg.networks.segmenter import Segmenter
from volseg.networks.storage import (
    read_state_dict,
    read_tensors,
    storable,
    strip_wrappers,
    write_atomically,
)

Whole = Segmenter | Classifier | Detector
"""Networks around an encoder."""

PARTS = ("encoder", "decoder", "heads")
MINIMUM_FRACTION = 0.95
"""Below this share of the encoder's parameters a network is not pretrained, only mixed up."""


def segmenter_parts(segmenter: Whole) -> dict[str, nn.Module]:
    """Name the parts of a whole network as a weights file does.

    Args:
        segmenter: The network.

    Returns:
        Its encoder, decoder (if there is one) and heads.
    """
    return {part: module for part, module in segmenter.named_children() if part in PARTS}


def save_weights(
    path: Path | str,
    modules: Mapping[str, nn.Module],
    card: Card,
    *,
    dtype: torch.dtype = torch.float32,
) -> Card:
    """Write parts of a network with their card, whole or not at all.

    Args:
        path: The file, ``*.safetensors``; replaced if it is there.
        modules: ``encoder``, and ``decoder`` and ``heads`` where there are any.
        card: What the author knows; architecture, merge order, versions and fingerprint are
            measured here.
        dtype: How floating tensors are stored; ``torch.float16`` halves the file.

    Returns:
        The card as written.

    Raises:
        WeightsError: If the parts and the card contradict each other, a value is not finite, or
            the disk refuses.
    """
    path, encoder = Path(path), modules.get("encoder")
    if path.suffix != ".safetensors":
        raise WeightsError(f"weights file is {path.name!r}; give it the ending '.safetensors'")
    if not isinstance(encoder, Encoder) or set(modules) - set(PARTS):
        given = {name: class_path(module) for name, module in modules.items()}
        raise WeightsError(f"cannot save {given}; give an encoder, and decoder and heads if any")
    if len(card.channels) != encoder.spec.in_channels:
        raise WeightsError(
            f"card names the channels {list(card.channels)}, the encoder has"
            f" {encoder.spec.in_channels}; name each one"
        )
    stored = {part: storable(module, dtype) for part, module in modules.items()}
    card = dataclasses.replace(
        card,
        architecture={part: class_path(module) for part, module in modules.items()},
        merge_order=merge_order(encoder),
        versions={
            "volseg": __version__,
            "monai": metadata.version("monai"),
            "torch": str(torch.__version__),
        },
        fingerprint=fingerprint(encoder, state=stored["encoder"]),
    )
    tensors = {f"{part}.{name}": t for part, state in stored.items() for name, t in state.items()}
    write_atomically(path, serialise(tensors, {CARD_KEY: card.to_json()}))
    return card


def save_state_dict(
    path: Path | str, network: nn.Module, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write a plain state dict for MONAI, whole or not at all.

    Values that are not finite are refused, as by `save_weights`.

    Args:
        path: The file, ``*.pt``; replaced if it is there.
        network: Any network.
        dtype: How floating tensors are stored.
    """
    buffer = io.BytesIO()
    torch.save(storable(network, dtype), buffer)
    write_atomically(Path(path), buffer.getvalue())


def build_network(card: Card) -> nn.Module:
    """Build the network that a card describes, with random weights.

    Args:
        card: The card; only networks of volseg are built from it.

    Returns:
        The whole network, or the encoder if the card describes no more.

    Raises:
        WeightsError: If the card describes none, or another package's.
    """
    is_whole = "_target_" in card.network
    config = card.network if is_whole else card.network.get("encoder")
    if not isinstance(config, Mapping):
        raise WeightsError(f"card describes no network: {dict(card.network)}; build it yourself")
    return build(config)


def load_encoder(
    network: Encoder | Whole,
    path: Path | str,
    *,
    channels: Sequence[str] | None = None,
    with_decoder: bool = True,
    facts: Facts = NO_FACTS,
) -> Receipt:
    """Load a pretrained encoder, adapted to the network's channels, patch size and window.

    The decoder comes too if the file has one that is equal to the network's. Files of other
    projects are read as `volseg.networks.foreign.opening` says. A file that is damaged or of no
    known layout, holds another architecture or merge order, fills less than 95 % of the encoder's
    parameters or has no place there for more than 5 % of its own, has one of another shape, or
    computes something else, is refused as a `WeightsError`, and nothing is changed.

    Args:
        network: The encoder, or the segmenter around it.
        path: A weights file with a card, or one of another project.
        channels: Names of the network's input channels, to match the file's by name; `None`:
            channels are repeated or summed in turn.
        with_decoder: Whether to take a decoder that fits.
        facts: What a file of another project does not say of itself.

    Returns:
        The account of every tensor.
    """
    receipt, values = fit_encoder(network, path, channels, with_decoder=with_decoder, facts=facts)
    root = _rooted(network)
    root.load_state_dict({**root.state_dict(), **values})
    return receipt


def fit_encoder(
    network: Encoder | Whole,
    path: Path | str,
    channels: Sequence[str] | None = None,
    *,
    with_decoder: bool = True,
    facts: Facts = NO_FACTS,
) -> tuple[Receipt, Mapping[str, Tensor]]:
    """Say what `load_encoder` would do, and change nothing.

    A file that `load_encoder` refuses is refused, as a `WeightsError`.

    Args:
        network: The encoder, or the segmenter around it.
        path: A weights file with a card, or one of another project.
        channels: Names of the network's input channels.
        with_decoder: Whether to take a decoder that fits.
        facts: What a file of another project does not say of itself.

    Returns:
        The account of every tensor, and the tensors that would be loaded.

    Raises:
        WeightsError: If the channels are not as many as the network has.
    """
    path = Path(path)
    source = open_source(path, facts)
    encoder = network if isinstance(network, Encoder) else network.encoder
    root = _rooted(network)
    require_same_kind(path, source.card, {"encoder": encoder})
    wanted: Sequence[str] | int = encoder.spec.in_channels if channels is None else list(channels)
    if channels is not None and len(channels) != encoder.spec.in_channels:
        raise WeightsError(
            f"{list(channels)} names {len(channels)} channels, the encoder has"
            f" {encoder.spec.in_channels}; name each one"
        )
    mixing, notes = channel_mixing(source.card.channels, wanted), source.notes
    fitting = fit_part("encoder", root, source.tensors, mixing)
    _require_enough(path, fitting)
    if fitting.is_comparable:
        require_same_answer(path, source.card, encoder, {**fitting.values, **fitting.tables})
    _require_used(path, fitting)
    if with_decoder and isinstance(network, Segmenter):
        decoder = fit_part("decoder", root, source.tensors, mixing)
        decoder, note = _fit_decoder(network, source.card, decoder)
        fitting, notes = fitting.joined(decoder), (*notes, *note)
    stored = [*source.tensors, *source.left_over]
    return fitting.receipt(str(path), list(root.state_dict()), stored, notes), fitting.values


def load_segmenter(segmenter: Whole, path: Path | str) -> Receipt:
    """Load a whole network, exactly.

    A file that is damaged, holds anything but this network's tensors or computes something else
    is refused as a `WeightsError`, and the network stays as it is.

    Args:
        segmenter: The network.
        path: A weights file with a card, or a plain PyTorch state dict (``*.pt``).

    Returns:
        The account of every tensor.
    """
    path = Path(path)
    card = read_card(path) if path.suffix == ".safetensors" else None
    if card is not None:
        require_same_kind(path, card, segmenter_parts(segmenter))
    tensors, notes = strip_wrappers(read_state_dict(path) if card is None else read_tensors(path))
    require_equal(path, segmenter, tensors)
    if card is not None:
        require_same_answer(path, card, segmenter.encoder, tensors)
    segmenter.load_state_dict(tensors)
    return Receipt(str(path), tuple(tensors), notes=notes)


def _rooted(network: Encoder | Whole) -> nn.Module:
    """Give a module that has the encoder under its name in a file."""
    return nn.ModuleDict({"encoder": network}) if isinstance(network, Encoder) else network


def _require_enough(path: Path, fitting: Fitting) -> None:
    if fitting.fraction < MINIMUM_FRACTION or fitting.misshapen:
        raise WeightsError(
            f"{path} fills {fitting.fraction:.1%} of the encoder's parameters;"
            f" {MINIMUM_FRACTION:.0%} are needed, and none of another shape. {fitting.complaint}"
        )


def _require_used(path: Path, fitting: Fitting) -> None:
    if fitting.used < MINIMUM_FRACTION:
        raise WeightsError(
            f"{path} has an encoder of which the network takes {fitting.used:.1%};"
            f" {MINIMUM_FRACTION:.0%} are needed, for the rest of it would be cut off."
            f" {fitting.complaint}; build the network that the file describes"
        )


def _fit_decoder(
    segmenter: Segmenter, card: Card, fitting: Fitting
) -> tuple[Fitting, tuple[str, ...]]:
    """Take the stored decoder if it is the network's own, whole."""
    stored = card.architecture.get("decoder")
    if stored is None:
        return Fitting(), ()
    if stored != class_path(segmenter.decoder) or not fitting.is_whole:
        note = f"decoder stays fresh: the stored {stored} is not equal to the network's"
        return Fitting(), (note,)
    return fitting, ()
