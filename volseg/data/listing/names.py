"""Names of cases become files: none may leave the output, and no two may become one file.

Two names are the same if they differ in capitals or in how Unicode composes an accent: macOS and
Windows do not tell such files apart, and results may be copied there.
"""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from volseg.data.listing.scan_case import ScanCase
from volseg.errors import DataError


def distinct_cases(cases: Iterable[ScanCase]) -> list[ScanCase]:
    """Refuse names that would collide; of a case that was found twice, keep the first.

    Args:
        cases: The cases.

    Returns:
        The cases, each once.

    Raises:
        DataError: If two cases would have one output, or the output of one lies elsewhere.
    """
    kept: dict[str, ScanCase] = {}
    for case in cases:
        _require_inside(case)
        other = kept.setdefault(_folded(case.name), case)
        if other is not case and _files(other) != _files(case):
            raise DataError(
                f"{_first(other)} and {_first(case)} would both be written as {case.name}"
                f"{_difference(other.name, case.name)}; rename one or segment them into two folders"
            )
    return list(kept.values())


def _folded(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    return unicodedata.normalize("NFC", composed.casefold())


def _difference(first: str, second: str) -> str:
    if first == second:
        return ""
    if unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second):
        return " (the names differ only in how Unicode composes their letters)"
    return f" (it differs from {first} in capitals only, and not every disk keeps them apart)"


def _require_inside(case: ScanCase) -> None:
    path = PurePosixPath(case.name)
    is_inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    if not is_inside or "\\" in case.name or "\0" in case.name:
        raise DataError(
            f"{_first(case)} is named {case.name!r}, which is no path below the output; give"
            " another name"
        )


def _files(case: ScanCase) -> list[object]:
    return [os.path.realpath(file) for each in case.sources.values() for file in each.files]


def _first(case: ScanCase) -> str:
    source = next(iter(case.sources.values()))
    return str(source.files[0])
