"""Splits by patient: drawn from a hash, so that a new case never moves an old one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from volseg.errors import DataError

VALIDATION = 0.2
"""Fraction of the groups that validates where nobody has said which."""

ATTEMPTS = 20
"""Seeds to try until both parts have a case; few groups may all fall into one."""


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


def divide_cases(cases: Sequence[Member]) -> dict[str, list[Member]]:
    """Divide cases by group, so that one in five groups validates.

    A group's place is decided by its name, so that new cases do not move old ones.

    Args:
        cases: The cases.

    Returns:
        The cases of ``training`` and ``validation``.

    Raises:
        DataError: If there are fewer than two groups.
    """
    if len({case.group or case.name for case in cases}) < 2:
        raise DataError(
            f"{len(cases)} labelled case(s) of one group cannot be divided into training and"
            " validation; give cases of at least two"
        )
    fractions = {"training": 1 - VALIDATION, "validation": VALIDATION}
    for seed in range(ATTEMPTS):
        try:
            return split_cases(cases, fractions, seed)
        except DataError:
            continue
    raise DataError(f"{len(cases)} cases do not fall into two parts; give a split of your own")


def select_cases(
    cases: Sequence[Member], split: Path, part: str | None, *, divides: bool = False
) -> list[Member]:
    """Take the cases of one part of a split.

    Args:
        cases: All cases.
        split: The file of the split.
        part: The part, such as ``training``.
        divides: Whether the cases are divided by group if there is no such file.

    Returns:
        Its cases, in its order.

    Raises:
        DataError: If there is no such part, or a case of it is not there.
    """
    if divides and not split.is_file():
        return divide_cases(cases)[str(part)]
    parts = read_split(split)
    if part not in parts:
        raise DataError(f"{split} has no part {part!r}; it has {', '.join(parts)}")
    known = {case.name: case for case in cases}
    lost = [name for name in parts[part] if name not in known]
    if lost:
        raise DataError(
            f"{split} names {lost[0]} ({len(lost)} of {len(parts[part])} cases), which the data"
            " lacks; give the data that was split"
        )
    return [known[name] for name in parts[part]]


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
