"""Which cases train and which validate."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from volseg.bundle import Bundle, is_bundle
from volseg.data.cases import Case
from volseg.data.splits import divide_cases, read_split
from volseg.errors import BundleError, DataError

SPLIT = "configs/split.json"

PARTS = ("training", "validation")

Split = dict[str, list[str]]
"""Names of the cases of each part."""


def fitting_split(
    cases: Sequence[Case], bundle: Bundle, given: str | Path | None = None
) -> Split | None:
    """Find the split that holds for these cases.

    Args:
        cases: The cases.
        bundle: Its split is taken if it is of these cases.
        given: A ``split.json``, or a bundle that has one; it must be of these cases.

    Returns:
        The split; `None` if nothing was given and the bundle's is of other cases.

    Raises:
        DataError: If the given split names other cases or lacks a part.
    """
    path = bundle.root / SPLIT if given is None else _find(given)
    if given is None and not path.is_file():
        return None
    split = read_split(path)
    known = {case.name for case in cases}
    lost = [name for names in split.values() for name in names if name not in known]
    lacking = [part for part in PARTS if not split.get(part)]
    if not lost and not lacking:
        return split
    if given is None:
        return None
    reason = f"names no {lacking[0]} cases" if lacking else f"names {lost[0]}, which is not there"
    raise DataError(f"split {path} {reason}; give the split of these data")


def divide(cases: Sequence[Case]) -> Split:
    """Divide cases by group, so that one in five groups validates.

    Args:
        cases: The cases, of at least two groups.

    Returns:
        The split.
    """
    parts = divide_cases(cases)
    return {part: [case.name for case in members] for part, members in parts.items()}


def choose_cases(
    training: Sequence[str], groups: Mapping[str, str], count: int, seed: int
) -> list[str]:
    """Choose labelled cases: whole groups in random order, until there are enough.

    Args:
        training: Names of the cases to choose from.
        groups: Group of each case.
        count: How many; 0 means all. The last group may be cut.
        seed: Of the order; with one seed fewer cases are among more.

    Returns:
        The cases.

    Examples:
        >>> choose_cases(["a", "b", "c", "d"], {"a": "1", "b": "1", "c": "2", "d": "2"}, 3, seed=0)
        ['a', 'b', 'c']
    """
    names = sorted({groups.get(case, case) for case in training})
    random = np.random.default_rng(seed)
    order = {names[place]: rank for rank, place in enumerate(random.permutation(len(names)))}
    ordered = sorted(training, key=lambda case: order[groups.get(case, case)])
    return ordered[: count or None]


def _find(given: str | Path) -> Path:
    path = Path(given)
    if path.is_file():
        return path
    try:
        found = Bundle(path) if is_bundle(path) else Bundle.find(given)
    except BundleError as error:
        raise DataError(f"split {given} is neither a file nor a bundle") from error
    if not (found.root / SPLIT).is_file():
        raise DataError(f"bundle {found.root} has no {SPLIT}")
    return found.root / SPLIT
