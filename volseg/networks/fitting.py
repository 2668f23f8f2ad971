"""Fit stored tensors to the places that a network has for them, and keep count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from volseg.errors import WeightsError
from volseg.networks.adaption import declared_adaptions, fit_parameter
from volseg.networks.receipt import Receipt


@dataclass(frozen=True)
class Fitting:
    """The outcome of fitting stored tensors to a part of a network.

    Args:
        values: What to load, by name.
        adapted: How a tensor was changed to fit, by name: ``channels``, ``patches``,
            ``positions`` or ``bias``.
        complaints: Why a place stays empty, or a stored tensor unused, by name.
        unknown: Those of the names that the network does not have.
        misshapen: Those of the names that it has in a shape that nothing makes equal.
        fraction: Parameters of the part that are filled, from 0 to 1.
        tables: Tables of positions that were interpolated, as they are in the file.
        used: Values of the file's part that the network has a place for, from 0 to 1.
    """

    values: Mapping[str, Tensor] = field(default_factory=dict)
    adapted: Mapping[str, str] = field(default_factory=dict)
    complaints: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    fraction: float = 1.0
    tables: Mapping[str, Tensor] = field(default_factory=dict)
    used: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether every place is filled and every stored tensor used."""
        return not self.complaints

    @property
    def is_comparable(self) -> bool:
        """Whether the answer to the fixed input must be the stored one.

        Mixed channels do not change it, for every channel of that input holds the same image; nor
        may stored tensors that the network does not have. Tables of positions are put back to the
        stored grid for it.
        """
        is_filled = set(self.complaints) <= set(self.unknown)
        return is_filled and set(self.adapted.values()) <= {"channels", "positions"}

    @property
    def complaint(self) -> str:
        """The first reasons why something does not fit."""
        order = sorted(self.complaints, key=lambda name: name not in self.misshapen)
        first = [f"{name}: {self.complaints[name]}" for name in order[:3]]
        return "; ".join(first)

    def joined(self, other: "Fitting") -> "Fitting":
        """Add the values of another part; the fraction stays that of this one."""
        return Fitting(
            {**self.values, **other.values},
            {**self.adapted, **other.adapted},
            {**self.complaints, **other.complaints},
            (*self.unknown, *other.unknown),
            (*self.misshapen, *other.misshapen),
            self.fraction,
            self.tables,
            self.used,
        )

    def receipt(
        self, source: str, wanted: Sequence[str], stored: Sequence[str], notes: Sequence[str]
    ) -> Receipt:
        """Account for every tensor of the network and of the file.

        Args:
            source: The file.
            wanted: Names of the network's tensors.
            stored: Names of the file's tensors.
            notes: What else was done.

        Returns:
            The receipt.
        """
        inflated = [name for name, kind in self.adapted.items() if kind == "channels"]
        return Receipt(
            source=source,
            loaded=tuple(name for name in self.values if name not in self.adapted),
            resized=tuple(name for name in self.adapted if name not in inflated),
            inflated=tuple(inflated),
            fresh=tuple(name for name in wanted if name not in self.values),
            left_over=tuple(name for name in stored if name not in self.values),
            fraction=self.fraction,
            notes=tuple(notes),
        )


def fit_part(
    part: str, network: nn.Module, tensors: Mapping[str, Tensor], mixing: Tensor | None
) -> Fitting:
    """Fit stored tensors to one part of a network.

    Args:
        part: ``encoder`` or ``decoder``.
        network: The network that has the part under this name.
        tensors: Stored tensors by full name.
        mixing: How input channels are made of the stored ones; `None`: they are the same.

    Returns:
        What fits, how it was changed, and what does not.
    """
    values: dict[str, Tensor] = {}
    misshapen: list[str] = []
    adapted: dict[str, str] = {}
    complaints: dict[str, str] = {}
    kinds = declared_adaptions(network)
    places = {name: t for name, t in network.state_dict().items() if name.startswith(f"{part}.")}
    stored = {name: t for name, t in tensors.items() if name.startswith(f"{part}.")}
    for name, place in places.items():
        if name not in stored:
            complaints[name] = "not in the file"
            continue
        kind = kinds.get(name)
        fitted = fit_parameter(stored[name], place.shape, kind, mixing)
        if fitted is None:
            shapes = f"{tuple(stored[name].shape)} in the file, {tuple(place.shape)} here"
            complaints[name] = shapes
            misshapen.append(name)
            continue
        values[name] = fitted
        if fitted is not stored[name]:
            is_mixed = kind == "patches" and fitted.shape[2:] == stored[name].shape[2:]
            adapted[name] = "channels" if is_mixed else str(kind)
    unknown = [name for name in stored if name not in places]
    complaints.update(dict.fromkeys(unknown, "not in the network"))
    fraction = _fraction(part, network, values)
    sizes = {name: tensor.numel() for name, tensor in stored.items()}
    used = 1 - sum(sizes[name] for name in unknown) / max(1, sum(sizes.values()))
    tables = {name: stored[name] for name, kind in adapted.items() if kind == "positions"}
    names = tuple(unknown), tuple(misshapen)
    return Fitting(values, adapted, complaints, *names, fraction, tables, used)


def require_equal(path: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not the network's, name by name and shape by shape.

    Args:
        path: The file, for the message.
        network: The network.
        tensors: Stored tensors by name.

    Raises:
        WeightsError: If a name or a shape differs.
    """
    places = network.state_dict()
    absent = [name for name in places if name not in tensors]
    unknown = [name for name in tensors if name not in places]
    other = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(place.shape)}"
        for name, place in places.items()
        if name in tensors and tensors[name].shape != place.shape
    ]
    kinds = {"lacks": absent, "has besides": unknown, "has in another shape": other}
    found = [f"{kind} {len(names)} ({names[0]})" for kind, names in kinds.items() if names]
    if found:
        raise WeightsError(
            f"{path} does not hold this network: it {', '.join(found)}; build the network it was"
            " saved from, or load its encoder alone with load_encoder"
        )


def _fraction(part: str, network: nn.Module, values: Mapping[str, Tensor]) -> float:
    sizes = {
        name: parameter.numel()
        for name, parameter in network.named_parameters()
        if name.startswith(f"{part}.")
    }
    return sum(size for name, size in sizes.items() if name in values) / max(1, sum(sizes.values()))
