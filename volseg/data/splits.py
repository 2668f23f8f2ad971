"""Splits by patient: drawn from a hash, so that a new case never moves an old one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from volseg.errors import DataError


class Named(Protocol):
    """What can be split."""

    @property
    def name(self) -> str:
        """Give the name of the case."""

    @property
    def group(self) -> str | None:
        """Give whom the case is of; `None`: nobody else's."""


Member = TypeVar("Member", bound=Named)


def split_cases(
    cases: Sequence[Member], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, list[Member]]:
    """Split cases so that a group stays together.

    The part of a group depends on its name and the seed alone; sizes are therefore near the
    fractions, not equal to them.

    Args:
        cases: The cases; one without a group is its own.
        fractions: Fraction of the groups in each part; they sum to 1.
        seed: Another seed gives another split.

    Returns:
        The cases of each part, in the order given.

    Raises:
        DataError: If the fractions do not sum to 1, or a part is empty.
    """
    if abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values(), default=0) < 0:
        raise DataError(f"fractions are {dict(fractions)}; use numbers from 0 that sum to 1")
    parts: dict[str, list[Member]] = {part: [] for part in fractions}
    for case in cases:
        parts[_part_of(case.group or case.name, fractions, seed)].append(case)
    empty = [part for part in parts if not parts[part] and fractions[part]]
    if empty:
        raise DataError(
            f"no case of {len(cases)} falls into {empty[0]!r}; use another seed or more cases"
        )
    return parts


def write_split(path: Path, parts: Mapping[str, Sequence[Named]]) -> None:
    """Write the names of each part, and their hash.

    Args:
        path: The JSON file.
        parts: The cases of each part.
    """
    names = {part: [case.name for case in cases] for part, cases in parts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**names, "sha256": hash_split(names)}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_split(path: str | Path) -> dict[str, list[str]]:
    """Read a split.

    Args:
        path: The JSON file, written by `write_split` or by hand; the hash may be absent.

    Returns:
        Names of the cases of each part.

    Raises:
        DataError: If it is no split, a case stands in it twice, or the hash does not fit.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"split {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"split {path} is not an object of lists of names")
    wanted = content.pop("sha256", None)
    if not content or not all(_is_names(names) for names in content.values()):
        raise DataError(f"split {path} is not an object of lists of names")
    every = [name for names in content.values() for name in names]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise DataError(f"split {path} has {twice[0]} twice; each case belongs to one part")
    if wanted is not None and wanted != hash_split(content):
        raise DataError(f"split {path} was changed: its names do not fit its sha256")
    return content


def hash_split(parts: Mapping[str, Sequence[str]]) -> str:
    """Hash the names of each part, whatever their order.

    Args:
        parts: Names of the cases of each part.

    Returns:
        The SHA-256, hexadecimal.
    """
    lines = sorted(f"{part}\t{name}" for part, names in parts.items() for name in names)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _part_of(group: str, fractions: Mapping[str, float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed}\t{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    total = 0.0
    for part, fraction in fractions.items():
        total += fraction
        if place < total:
            return part
    return list(fractions)[-1]


def _is_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
