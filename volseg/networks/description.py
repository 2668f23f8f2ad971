"""What a weights file is, without building anything."""

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from volseg.errors import WeightsError
from volseg.networks.card import Card
from volseg.networks.foreign.containers import read_foreign
from volseg.networks.foreign.layout import NO_FACTS, Facts
from volseg.networks.foreign.opening import read_as_layout
from volseg.networks.opening import CARD_KEY
from volseg.networks.storage import read_metadata


def describe_weights(path: Path | str, facts: Facts = NO_FACTS) -> dict[str, Any]:
    """Say what a weights file is, as plain values; refuse a damaged one as a `WeightsError`.

    Args:
        path: A safetensors file, or one that PyTorch saved.
        facts: What a file of another project does not say of itself.

    Returns:
        Its format, bytes, number of tensors and parameters, parameters by part, data types, the
        card, and for a file of another project what it was read as; `None` where there is none.
    """
    path, card = Path(path), None
    if path.suffix == ".safetensors":
        entries, shapes = read_metadata(path)
        card = Card.from_json(entries[CARD_KEY]) if CARD_KEY in entries else None
    else:
        state, _ = read_foreign(path)
        shapes = {name: (tuple(t.shape), str(t.dtype)) for name, t in state.items()}
    parts: Counter[str] = Counter()
    for name, (shape, _) in shapes.items():
        parts[name.partition(".")[0]] += prod(shape)
    return {
        "format": "safetensors" if path.suffix == ".safetensors" else "state dict",
        "bytes": path.stat().st_size,
        "tensors": len(shapes),
        "parameters": sum(parts.values()),
        "parts": dict(parts),
        "dtypes": sorted({dtype for _, dtype in shapes.values()}),
        "card": None if card is None else card.to_dict(),
        "foreign": _describe_foreign(path, facts) if card is None else None,
    }


def _describe_foreign(path: Path, facts: Facts) -> dict[str, Any] | None:
    """Say which encoder a file without a card makes; nothing for a whole network of volseg."""
    try:
        return read_as_layout(path, facts).to_json()
    except WeightsError as error:
        return {"layout": None, "why not": str(error)}
