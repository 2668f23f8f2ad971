"""The card of a weights file: what the weights are, where they come from, what they expect."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from volseg.errors import WeightsError
from volseg.networks.fingerprint import Fingerprint
from volseg.types import Size, Spacing

FORMAT = 1
"""Grows when a reader of today would misread the cards of tomorrow."""


@dataclass(frozen=True)
class Card:
    """The description that travels inside a weights file.

    The first group is the author's to give; `volseg.networks.weights.save_weights` measures the
    second.

    Args:
        network: Config of the network: dotted class path and arguments, the encoder's under
            ``encoder``; a pretrained encoder alone is ``{"encoder": {...}}``.
        channels: Name of each input channel, such as ``T1``.
        orientation: Direction of the axes of the input, such as ``RAS``.
        spacing: Voxel edge of the input along each axis, in mm; `None`: each volume's own.
        patch_size: Voxels of a training crop along each axis.
        normalizer: Config of the intensity normaliser, with its constants.
        pretext: Config of the pretext task; empty for supervised training.
        steps: Optimizer steps done.
        data: What the network was trained on, from `describe_data`.
        architecture: Dotted class path of each stored part.
        merge_order: Order in which the encoder merges patches; `None`: it merges none.
        versions: Versions of volseg, monai and torch that wrote the file.
        fingerprint: What the encoder answers to a fixed input.
    """

    network: Mapping[str, Any]
    channels: tuple[str, ...]
    orientation: str = "RAS"
    spacing: Spacing | None = None
    patch_size: Size | None = None
    normalizer: Mapping[str, Any] = field(default_factory=dict)
    pretext: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)

    architecture: Mapping[str, str] = field(default_factory=dict)
    merge_order: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: Fingerprint | None = None

    def to_json(self) -> str:
        """Write the card as one line of JSON.

        Returns:
            The text, with keys sorted.

        Raises:
            WeightsError: If a value is no plain JSON value, such as an array or a path.
        """
        try:
            text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise WeightsError(f"card holds a value that JSON has no form for: {error}") from error
        return text

    def to_dict(self) -> dict[str, Any]:
        """Give the card as plain values, as `to_json` writes them."""
        plain: dict[str, Any] = json.loads(self.to_json())
        return plain

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read a card.

        Args:
            text: What `to_json` wrote; it is not trusted.

        Returns:
            The card.

        Raises:
            WeightsError: If the text is no card, or one of a later format.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"card is not JSON: {error}") from error
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise WeightsError(f"card is not of format {FORMAT}; a newer volseg may read it")
        _check_fields(values)
        if values.get("fingerprint") is not None:
            values["fingerprint"] = Fingerprint.from_json(values["fingerprint"])
        for key in ("channels", "spacing", "patch_size"):
            if values.get(key) is not None:
                values[key] = tuple(values[key])
        return cls(**values)


def describe_data(names: Iterable[str], licence: str, cases: Iterable[str]) -> dict[str, Any]:
    """Summarise a data set for a card without copying its case list.

    Args:
        names: Names of the data sets.
        licence: Their licences.
        cases: An identifier a case, such as its file name; their order does not matter.

    Returns:
        Names, licence, number of cases, the SHA-256 of the sorted case list, and the beginning of
        that of each case, by which `seen_cases` recognises it.

    Examples:
        >>> summary = describe_data(["IXI"], "CC BY-SA 3.0", ["b.nii", "a.nii"])
        >>> summary["num_cases"], summary["case_hash"][:8]
        (2, '1fda4f68')
    """
    ordered = sorted(cases)
    digest = hashlib.sha256("\n".join(ordered).encode()).hexdigest()
    return {
        "names": list(names),
        "licence": licence,
        "num_cases": len(ordered),
        "case_hash": digest,
        "cases": [hash_case(case) for case in ordered],
    }


def hash_case(case: str) -> str:
    """Give the first 12 hexadecimal digits of the SHA-256 of a case's identifier."""
    return hashlib.sha256(case.encode()).hexdigest()[:12]


def seen_cases(data: Mapping[str, Any], cases: Iterable[str]) -> list[str]:
    """List the cases that a network was trained on.

    Args:
        data: The card's summary, from `describe_data`.
        cases: Identifiers of cases, as `describe_data` took them.

    Returns:
        Those among them that it has seen; none if the summary does not tell.

    Examples:
        >>> seen_cases(describe_data(["IXI"], "CC BY-SA 3.0", ["a", "b"]), ["b", "c"])
        ['b']
    """
    known = set(data.get("cases", ()))
    return [case for case in cases if hash_case(case) in known]


def _check_fields(values: Mapping[str, Any]) -> None:
    known = {item.name for item in fields(Card)}
    unknown, missing = set(values) - known, {"network", "channels"} - set(values)
    if unknown or missing:
        raise WeightsError(f"card has unknown fields {sorted(unknown)}, lacks {sorted(missing)}")
    for key, value in values.items():
        is_absent = value is None and key in OPTIONAL
        if not is_absent and not RULES.get(key, _is_mapping)(value):
            raise WeightsError(f"card field {key} is {value!r}, which it cannot be")


def _is_list(value: Any, kind: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, kind) and not isinstance(item, bool) for item in value
    )


def _is_triple(value: Any, kind: Any) -> bool:
    return _is_list(value, kind) and len(value) == 3 and all(0 < v < math.inf for v in value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_table_of_text(value: Any) -> bool:
    return _is_mapping(value) and _is_list(list(value.values()), str)


OPTIONAL = {"spacing", "patch_size", "merge_order", "fingerprint"}
RULES: dict[str, Callable[[Any], bool]] = {
    "channels": lambda value: _is_list(value, str) and len(value) > 0,
    "spacing": lambda value: _is_triple(value, int | float),
    "patch_size": lambda value: _is_triple(value, int),
    "steps": lambda value: type(value) is int and value >= 0,
    "orientation": _is_text,
    "merge_order": _is_text,
    "architecture": _is_table_of_text,
    "versions": _is_table_of_text,
}
"""What a field read from JSON must be; the others are dictionaries."""
