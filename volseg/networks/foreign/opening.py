"""Weights of other projects: recognised by their names, and given a card of their own.

The card's fingerprint is measured here, on the encoder that the file's shapes and the stated facts
describe. A network that would compute something else is refused when it loads, as with volseg's
own files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.card import Card
from volseg.networks.config import build
from volseg.networks.encoder import Encoder
from volseg.networks.fingerprint import fingerprint
from volseg.networks.fitting import require_equal
from volseg.networks.foreign.containers import read_foreign
from volseg.networks.foreign.layout import NO_FACTS, Facts, Layout, Translation
from volseg.networks.foreign.monai_swin import MONAI_SWIN, MONAI_SWIN_NESTED
from volseg.networks.foreign.monai_vit import MONAI_VIT
from volseg.networks.foreign.nnssl_primus import NNSSL_PRIMUS
from volseg.networks.foreign.nnunet_resenc import NNUNET_RESENC
from volseg.networks.foreign.smit import SMIT
from volseg.networks.identity import class_path, merge_order
from volseg.networks.source import Source

LAYOUTS = (MONAI_SWIN, MONAI_SWIN_NESTED, SMIT, MONAI_VIT, NNUNET_RESENC, NNSSL_PRIMUS)
"""Every layout that is recognised."""


@dataclass(frozen=True)
class Reading:
    """What a foreign file was read as.

    Args:
        layout: The layout.
        prefix: What stood before the names.
        translation: The encoder that it makes.
        left_over: Names of tensors without a place in it.
        notes: What was done to read it.
    """

    layout: Layout
    prefix: str
    translation: Translation
    left_over: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Give what was recognised as plain values, without tensors."""
        sizes = [tensor.numel() for tensor in self.translation.tensors.values()]
        return {
            "layout": self.layout.name,
            "prefix": self.prefix,
            "encoder": dict(self.translation.config),
            "encoder parameters": sum(sizes),
            "must be said": dict(self.translation.unsaid),
            "left over": len(self.left_over),
            "notes": list(self.notes),
        }


def read_as_layout(path: Path, facts: Facts = NO_FACTS) -> Reading:
    """Recognise a foreign file.

    Args:
        path: The file.
        facts: What it does not say of itself.

    Returns:
        What it is; facts may still be missing.

    Raises:
        WeightsError: If it is of no known layout, or of several encoders.
    """
    tensors, notes = read_foreign(path)
    found = [(layout, prefix) for layout in LAYOUTS for prefix in layout.find_prefixes(tensors)]
    if facts.prefix is not None:
        found = [pair for pair in found if pair[1] == facts.prefix]
    if len(found) != 1:
        raise WeightsError(_not_one(path, tensors, [prefix for _, prefix in found]))
    ((layout, prefix),) = found
    own = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    try:
        translation = layout.translate(own, facts)
    except WeightsError as error:
        raise WeightsError(f"{path}, read as {layout.name}: {error}") from error
    used = {f"{prefix}{name}" for name in translation.used}
    said = [f"took the prefix {prefix!r} off {len(used)} names"] if prefix else []
    notes = [f"read as {layout.name}", *notes, *said, *translation.notes]
    left_over = tuple(name for name in tensors if name not in used)
    return Reading(layout, prefix, translation, left_over, tuple(notes))


def open_foreign(path: Path, facts: Facts = NO_FACTS) -> Source:
    """Read a foreign file as an encoder of volseg with a card.

    Args:
        path: The file.
        facts: What it does not say of itself.

    Returns:
        What it offers.

    Raises:
        WeightsError: If it is of no known layout, not whole, or a fact is missing.
    """
    reading = read_as_layout(path, facts)
    translation = reading.translation
    if translation.unsaid:
        said = "; ".join(f"{fact}: {what}" for fact, what in translation.unsaid.items())
        raise WeightsError(f"{path}, read as {reading.layout.name}, does not say its {said}")
    encoder = build(translation.config)
    if not isinstance(encoder, Encoder):
        raise WeightsError(f"{path} makes a {class_path(encoder)}, which is no encoder")
    require_equal(path, encoder, translation.tensors)
    count = encoder.spec.in_channels
    if facts.channels and len(facts.channels) != count:
        raise WeightsError(f"{path} has {count} channels, {list(facts.channels)} names others")
    card = Card(
        network={"encoder": dict(translation.config)},
        channels=facts.channels or tuple(f"channel {n}" for n in range(1, count + 1)),
        pretext={"layout": reading.layout.name, "file": path.name, "notes": list(reading.notes)},
        architecture={"encoder": class_path(encoder)},
        merge_order=merge_order(encoder),
        fingerprint=fingerprint(encoder, state=translation.tensors),
    )
    tensors = {f"encoder.{name}": tensor for name, tensor in translation.tensors.items()}
    return Source(card, tensors, reading.left_over, reading.notes)


def _not_one(path: Path, tensors: Mapping[str, Tensor], prefixes: list[str]) -> str:
    if prefixes:
        return f"{path} holds several encoders, under {prefixes}; say the prefix of one of them"
    known = "; ".join(layout.name for layout in LAYOUTS)
    first = ", ".join(list(tensors)[:3])
    return (
        f"{path} has no volseg card, and its names ({first}, ...) are of no layout that is known:"
        f" {known}"
    )
