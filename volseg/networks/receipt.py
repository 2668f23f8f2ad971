"""What happened when weights were loaded, tensor by tensor."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

LISTED = 4
"""Names that a printed line spells out; more are counted part by part."""


@dataclass(frozen=True)
class Receipt:
    """The account of one loading of weights.

    Args:
        source: The file.
        loaded: Tensors taken as they are.
        resized: Tensors interpolated to another grid of tokens or another window.
        inflated: Kernels mixed to other input channels.
        fresh: Tensors of the network that keep the values they had.
        left_over: Tensors of the file that the network has no place for.
        fraction: Parameters of the encoder that came from the file, from 0 to 1.
        notes: What else was done, such as prefixes taken off.
    """

    source: str
    loaded: tuple[str, ...]
    resized: tuple[str, ...] = ()
    inflated: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    fraction: float = 1.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Give the receipt as plain values for a log or ``run.json``."""
        plain = asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}

    def __str__(self) -> str:
        """Print one line a kind, with the names where they are few."""
        lines = [f"{self.source}: {self.fraction:.1%} of the encoder's parameters"]
        for kind in ("loaded", "resized", "inflated", "fresh", "left_over"):
            names = getattr(self, kind)
            if kind == "loaded" or names:
                shown = "" if kind == "loaded" else f": {_shorten(names)}"
                lines.append(f"  {kind.replace('_', ' '):<9} {len(names):>4}{shown}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def _shorten(names: tuple[str, ...]) -> str:
    if len(names) <= LISTED:
        return ", ".join(names)
    parts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{count} in {part}" for part, count in parts.items())
