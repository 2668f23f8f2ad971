"""Heads in a CSV with a column for each sequence and one for a label map of the anatomy."""

from collections.abc import Sequence
from pathlib import Path

from volseg.data.case import Case, stem
from volseg.data.listing.sequences import canonical
from volseg.data.tables import read_rows
from volseg.errors import DataError

ANATOMY = "anatomy"
"""The column that makes a list one of heads."""


def is_list_of_heads(path: Path) -> bool:
    """Tell whether a file is a CSV with a column for label maps of the anatomy.

    Args:
        path: A source of cases.

    Returns:
        Whether it is; a file that cannot be read is none.
    """
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8-sig") as file:
            return ANATOMY in [name.strip() for name in file.readline().split(",")]
    except (OSError, UnicodeDecodeError):
        return False


def listed_heads(path: Path, channels: Sequence[str]) -> list[Case]:
    """Read a list of heads.

    Args:
        path: A CSV with the column ``anatomy``, one for each sequence in any spelling, and, as
            there are, ``label``, ``brain``, ``name`` and ``group``. Paths are relative to it, and
            cells may be empty.
        channels: What a network takes, in its order.

    Returns:
        The cases, with their images in the order of the channels; those that have a label map and
        no image are synthesised in training.

    Raises:
        DataError: If a row names neither an image nor a label map.
    """
    wanted = [canonical(name) for name in channels]
    cases = []
    for row in read_rows(path, (ANATOMY, *_columns(path, wanted))):
        own = {canonical(key): value for key, value in row.items() if key and value}
        shown = [name for name in wanted if name in own]
        images = tuple(path.parent / own[name] for name in shown)
        label, anatomy, brain = (
            path.parent / row[key] if row.get(key) else None for key in ("label", ANATOMY, "brain")
        )
        if not images and anatomy is None:
            raise DataError(f"{path}: a row names no sequence and no anatomy: {row}")
        first = row[ANATOMY] if not images else own[shown[0]]
        name, group = row.get("name") or stem(first), row.get("group") or None
        cases.append(Case(name, images, label, group, anatomy, brain, channels=tuple(shown)))
    return cases


def _columns(path: Path, wanted: Sequence[str]) -> list[str]:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline().strip().split(",")
    return [name for name in header if canonical(name) in wanted]
