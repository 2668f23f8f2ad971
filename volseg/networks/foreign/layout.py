"""The contract of a layout: how it is recognised, and how its tensors become those of an encoder.

Names and shapes do not tell everything. What they leave open is a fact that the user states, and
without which the file is refused, since two networks with equal shapes may compute otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from volseg.errors import WeightsError
from volseg.types import Size


@dataclass(frozen=True)
class Facts:
    """What a foreign file does not say of itself.

    Args:
        octants: Order in which a Swin merges patches, one of `volseg.networks.swin.MERGE_ORDERS`.
        heads: Attention heads of a plain transformer.
        size: Voxels along each axis for which positions were learned; `None`: a cube.
        channels: Names of the input channels.
        downsampling: Factors by which the levels of a convolutional encoder shrink the grid;
            `None`: two along each axis.
        prefix: What stands before the names of the encoder, if the file holds several.
    """

    octants: str | None = None
    heads: int | None = None
    size: Size | None = None
    channels: tuple[str, ...] = ()
    downsampling: tuple[Size, ...] | None = None
    prefix: str | None = None

    @property
    def stated(self) -> list[str]:
        """Names of the facts that are stated."""
        return [name for name in RULES if getattr(self, name) != getattr(NO_FACTS, name)]

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Facts":
        """Check facts that come from outside.

        Args:
            values: Plain values by the names of the facts.

        Returns:
            The facts.

        Raises:
            WeightsError: If a name is not known, or a value cannot be.

        Examples:
            >>> Facts.from_values({"octants": "v2", "size": [96, 96, 64]}).size
            (96, 96, 64)
        """
        checked: dict[str, Any] = {}
        for name, value in values.items():
            if name not in RULES:
                raise WeightsError(f"no fact is called {name!r}; there are {list(RULES)}")
            what, check = RULES[name]
            if not check(value):
                raise WeightsError(f"fact {name} is {value!r}; it must be {what}")
            checked[name] = value
        for name in ("size", "channels"):
            if name in checked:
                checked[name] = tuple(checked[name])
        if "downsampling" in checked:
            checked["downsampling"] = tuple(tuple(step) for step in checked["downsampling"])
        return cls(**checked)


def _is_triple(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_count, value))


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(check, value))


RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "octants": ("the name of an order, such as v2", _is_text),
    "heads": ("a number", _is_count),
    "size": ("three numbers of voxels, such as [96, 96, 96]", _is_triple),
    "channels": ('names, such as ["T1"]', lambda value: _is_list(value, _is_text)),
    "downsampling": (
        "triples of factors, such as [[1, 2, 2], [2, 2, 2]]",
        lambda value: _is_list(value, _is_triple),
    ),
    "prefix": ("what stands before the names, such as 'teacher.'", _is_text),
}
"""What each fact must be, in words and as a check."""

NO_FACTS = Facts()


@dataclass(frozen=True)
class Translation:
    """An encoder of volseg that computes what the foreign one does.

    Args:
        config: Its config, as a bundle has it.
        tensors: Its tensors by name.
        used: Names that they came from, without the prefix.
        notes: What was done.
        unsaid: Facts that the user must state first, and what they may be.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    used: frozenset[str]
    notes: tuple[str, ...] = ()
    unsaid: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """One way to lay out the weights of an encoder.

    Args:
        name: What writes such files.
        anchors: Names that every such file has, behind one prefix.
        translate: Turns tensors, named without the prefix, into those of an encoder.
    """

    name: str
    anchors: tuple[str, ...]
    translate: Callable[[Mapping[str, Tensor], Facts], Translation]

    def find_prefixes(self, names: Mapping[str, Any]) -> list[str]:
        """Find what stands before the anchors.

        Args:
            names: The names of a file.

        Returns:
            Prefixes, such as ``swinViT.``; copies within a decoder are passed over.
        """
        first, *others = self.anchors
        ends = [name for name in names if f".{name}".endswith(f".{first}")]
        found = [name[: len(name) - len(first)] for name in ends]
        whole = [p for p in found if all(f"{p}{other}" in names for other in others)]
        return [prefix for prefix in whole if "decoder." not in prefix]


class Taker:
    """Hands out the tensors of a file and remembers which.

    Args:
        tensors: Tensors by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.used: set[str] = set()

    def take(self, name: str) -> Tensor:
        """Give a tensor.

        Args:
            name: Its name.

        Returns:
            The tensor.

        Raises:
            WeightsError: If the file does not have it.
        """
        if name not in self.tensors:
            raise WeightsError(f"file lacks {name}, which its layout needs; it is not whole")
        self.used.add(name)
        return self.tensors[name]

    def take_pair(self, name: str, ours: str) -> dict[str, Tensor]:
        """Give weight and bias of a layer under another name.

        Args:
            name: The layer's name in the file.
            ours: Its name in the encoder.

        Returns:
            Both tensors.
        """
        return {f"{ours}.{part}": self.take(f"{name}.{part}") for part in ("weight", "bias")}


def count_blocks(tensors: Mapping[str, Any], pattern: str) -> int:
    """Count how far numbered names go.

    Args:
        tensors: Tensors by name.
        pattern: A name with ``{}`` for the number.

    Returns:
        How many there are from 0 without a gap.

    Examples:
        >>> count_blocks({"a.0.w": 1, "a.1.w": 1, "a.3.w": 1}, "a.{}.w")
        2
    """
    number = 0
    while pattern.format(number) in tensors:
        number += 1
    return number


def cube_root(value: int) -> int | None:
    """Give the whole cube root of a number, if there is one.

    Args:
        value: The number.

    Returns:
        Its root, or `None`.

    Examples:
        >>> cube_root(2197), cube_root(2196)
        (13, None)
    """
    root = round(value ** (1 / 3))
    return root if root**3 == value else None
