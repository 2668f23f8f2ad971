"""Whether the names that a data set gives its labels are those of the classes they become."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from volseg.data.cases import label_values
from volseg.errors import DataError

SPELLINGS = {
    "edema": "oedema",
    "necrotic": "necrosis",
    "ncr": "necrosis",
    "ed": "oedema",
    "et": "enhancing",
    "rc": "cavity",
    "resection cavity": "cavity",
}
"""Other names of the classes that the bundles have."""

PARTS_OF_NAMES = re.compile(r"\b(?:tumou?r|peritumou?ral)\b|[^a-z0-9]+")
"""What two names of one class may differ in."""


def require_same_names(
    source: str | Path, label_map: Mapping[str, int], classes: Sequence[str]
) -> None:
    """Refuse labels whose name is that of another class than the one they would become.

    The Decathlon and BraTS number the same tissues differently, with the same values, so that only
    names can tell them apart. A name that no class has says nothing.

    Args:
        source: What `volseg.data.cases.find_cases` takes.
        label_map: Class of each label value.
        classes: Name of each class, background first.

    Raises:
        DataError: If a label has the name of another class.
    """
    plain = [_plain(name) for name in classes]
    known = {name: index for index, name in enumerate(plain) if plain.count(name) == 1}
    for value, name in (label_values(source) or {}).items():
        own = known.get(_plain(name))
        given = label_map.get(str(value), value if value == 0 else None)
        if own is None or given is None or own == given:
            continue
        raise DataError(
            f"{source} calls label {value} {name!r}, but the bundle takes it for"
            f" {classes[given]!r}; choose the preset of the data set with --preset, or"
            f" --set label_map='{{\"{value}\": {own}, ...}}'"
        )


def _plain(name: str) -> str:
    """Give a name without case, marks and the words that say little."""
    words = " ".join(PARTS_OF_NAMES.sub(" ", name.lower()).split()) or name.lower()
    return SPELLINGS.get(words, words)
